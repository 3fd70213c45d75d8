"""Any text goes in and comes out; any text can be searched for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local_store import Session, Store, StorePaths, new_id, open_store
from local_store.ids import ALPHABET
from local_store.text import storable

T = TypeVar("T")
any_text = st.text(st.characters(codec=None), max_size=200)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Bench:
    """One store and one loop for many examples."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.store: Store = self.run(open_store(StorePaths(folder / "s", folder / "d"), allow_keyring=False))
        self.session: Session = self.run(self.store.sessions.create())

    def run(self, work: Coroutine[None, None, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self.store.close())
        self._runner.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module", autouse=True)
def closing(bench: Bench) -> object:
    yield
    bench.close()


@quick
@given(any_text)
@example("nul \0 inside")
@example("\ud800 lone, \udfff lone, \ud83d\ude00 a pair")
@example("\r\n\t\x1b[31m 👩‍👩‍👧 \u202e \ufdd0\ufdd1 \uffff")
def test_question_and_answer_come_back_as_they_went_in(bench: Bench, text: str) -> None:
    store = bench.store
    turn = bench.run(store.turns.begin(bench.session.id, None, text, request_id="r"))
    answer = bench.run(
        store.turns.finish(turn.answer.id, text=text, reasoning=text, status="failed", error=text, provider=text)
    )
    assert turn.question.text == answer.text == answer.reasoning == answer.error == answer.provider == storable(text)
    bench.run(store.drafts.save(text, text))
    assert bench.run(store.drafts.load(text)) == storable(text)


@quick
@given(any_text)
def test_storable_changes_only_surrogates(text: str) -> None:
    kept = storable(text)
    kept.encode("utf-8")
    assert storable(kept) == kept
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert kept == text


@quick
@given(st.lists(st.text(max_size=20), max_size=12), st.lists(st.text(max_size=20), max_size=12))
def test_any_split_of_a_journal_gives_the_same_text(bench: Bench, texts: list[str], thoughts: list[str]) -> None:
    store = bench.store

    async def interrupted() -> tuple[str, str]:
        other = await open_store(store.paths, allow_keyring=False)
        turn = await other.turns.begin(bench.session.id, None, "q", request_id="r")
        for text in texts:
            await other.turns.journal(turn.answer.id, text=text)
        for thought in thoughts:
            await other.turns.journal(turn.answer.id, reasoning=thought)
        await other.close()
        assert await store.turns.recover() == 1
        message = await store.messages.get(turn.answer.id)
        assert message.status == "interrupted"
        return message.text, message.reasoning

    assert bench.run(interrupted()) == ("".join(texts), "".join(thoughts))


typed = st.one_of(
    any_text,
    st.text(st.sampled_from("\"*^():+-.{}'%_ \0\\aAND"), max_size=30),
    st.lists(st.sampled_from(["AND", "OR", "NOT", "NEAR", "text:", '"', "*", "c++", "検索", "^"])).map(" ".join),
)


@quick
@given(typed)
@example("C++")
@example("foo-bar don't a.b AND")
@example('"unclosed')
@example("2026-11-22 *")
@example("NEAR(a b, 5)")
@example("word " * 5000)
@example("x" * 100_000)
@example("検" * 60_000)
def test_no_typed_text_is_an_invalid_query(bench: Bench, query: str) -> None:
    for hit in bench.run(bench.store.search.messages(query, limit=3)):
        assert all(0 <= start <= end <= len(hit.snippet) for start, end in hit.matches)
    bench.run(bench.store.search.sessions(query, limit=3))


async def told(store: Store, *texts: str) -> list[str]:
    session = await store.sessions.create("Über Crème brûlée")
    return [(await store.turns.begin(session.id, None, text, request_id="r")).question.id for text in texts]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("crème", [0, 2]),
        ("CREME", [0, 2]),
        ("caram", [2]),
        ("caram creme", []),
        ("creme caram", [2]),
        ("run_tests", [1]),
        ("run_tests.py", [1]),
        ("C++", [3]),
        ("c", [0, 1, 2, 3]),
        ("->", [1]),
        ("検索", [4]),
        ("索エ", [4]),
        ("エンジン fast", [4]),
        ("   ", []),
        ("", []),
        ("absent", []),
        ("100%", [5]),
    ],
)
async def test_what_is_found(store: Store, query: str, found: list[int]) -> None:
    ids = await told(
        store,
        "Crème fraîche",
        "call run_tests.py -> ok",
        "creme caramel",
        "c++ and rust",
        "全文検索エンジン is Fast",
        "100% sure_ly",
    )
    hits = await store.search.messages(query)
    assert [hit.message_id for hit in hits] == [ids[index] for index in reversed(found)]
    for hit in hits:
        assert hit.matches, "a hit shows where it matches"


async def test_a_snippet_is_short_and_marks_the_words(store: Store) -> None:
    await told(store, "lorem " * 500 + "the needle here " + "ipsum " * 500, "x" * 500 + "針" + "y" * 500)
    (hit,) = await store.search.messages("needle")
    assert len(hit.snippet) < 200
    assert [hit.snippet[start:end] for start, end in hit.matches] == ["needle"]
    assert hit.snippet.startswith("…") and hit.snippet.endswith("…")
    (hit,) = await store.search.messages("針")
    assert [hit.snippet[start:end] for start, end in hit.matches] == ["針"]
    assert len(hit.snippet) < 200
    assert hit.session_title == "Über Crème brûlée"


async def test_search_follows_an_answer_as_it_is_finished(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "question", request_id="r")
    await store.turns.journal(turn.answer.id, text="zebra")
    assert await store.search.messages("zebra") == []
    await store.turns.finish(turn.answer.id, text="zebra", status="complete")
    assert [hit.role for hit in await store.search.messages("zebra")] == ["assistant"]
    await store.turns.finish(turn.answer.id, text="giraffe", status="complete")
    assert await store.search.messages("zebra") == []
    await store.search.rebuild()
    assert len(await store.search.messages("giraffe")) == 1


async def test_sessions_are_found_by_title(store: Store) -> None:
    wanted = await store.sessions.create("Über Crème brûlée")
    await store.sessions.create("other")
    assert [session.id for session in await store.search.sessions("brulee uber")] == [wanted.id]
    await store.sessions.rename(wanted.id, "Pudding")
    assert await store.search.sessions("creme") == []
    assert [session.id for session in await store.search.sessions("UDD")] == [wanted.id]


def test_ids_are_ulids_and_sort_by_time() -> None:
    made = [new_id() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(one) == 26 and set(one) <= set(ALPHABET) and one[0] <= "7" for one in made)
    assert [one[:10] for one in made] == sorted(one[:10] for one in made)
