"""Vectors of messages: what is missing is found without reading everything, and nothing outlives its message."""

from __future__ import annotations

import random

from local_store import Message, Store, StorePaths
from local_store.query import parse
from local_store.vector_search import Place
from local_store.vectors import Batch, Stretch

from .conftest import OpenStore
from .test_migrations import raw

MODEL = "m"
DICE = random.Random(7)  # noqa: S311 - the same bytes each time


def made(text: str, count: int = 1) -> list[Stretch]:
    """Return stretches as a model would make them, zero bytes and bad UTF-8 included."""
    return [Stretch(0, len(text), bytes([0, 255, each]) * 16, DICE.randbytes(384)) for each in range(count)]


async def ask(store: Store, session_id: str, question: str, answer: str) -> tuple[Message, Message]:
    turn = await store.turns.begin(session_id, None, question, request_id="r")
    return turn.question, await store.turns.finish(turn.answer.id, text=answer, status="complete")


async def look(store: Store, limit: int = 16) -> list[str]:
    """Look at one batch; return the texts in it."""
    batch = await store.vectors.missing(MODEL, limit)
    if batch is None:
        return []
    await store.vectors.add(MODEL, batch, {each.seq: made(each.text) for each in batch.messages})
    return [each.text for each in batch.messages]


async def everything(store: Store, limit: int = 16) -> list[str]:
    seen: list[str] = []
    while await store.vectors.missing(MODEL, limit) is not None:
        seen += await look(store, limit)
    return seen


async def test_old_messages_come_newest_first_and_the_work_goes_on_where_it_was(
    opening: OpenStore, paths: StorePaths
) -> None:
    store = await opening()
    session = await store.sessions.create()
    for number in range(3):
        await ask(store, session.id, f"q{number}", f"a{number}")
    assert await look(store, 2) == ["a2", "q2"]
    await store.close()
    store = await opening()
    assert await look(store, 2) == ["a1", "q1"]
    await ask(store, session.id, "q3", "a3")
    assert await look(store, 3) == ["q3", "a3"], "what was said just now comes before what is old"
    assert await everything(store) == ["a0", "q0"]
    coverage = await store.vectors.coverage(MODEL)
    assert (coverage.done, coverage.total) == (8, 8)
    assert await store.vectors.missing("another", 1) is not None


async def test_an_answer_is_looked_at_when_it_is_finished(store: Store) -> None:
    session = await store.sessions.create()
    await everything(store)
    turn = await store.turns.begin(session.id, None, "why?", request_id="r")
    assert await everything(store) == ["why?"]
    await store.turns.journal(turn.answer.id, text="bec")
    assert await everything(store) == []
    await store.turns.finish(turn.answer.id, text="because", status="complete")
    assert await everything(store) == ["because"]


async def test_what_changed_while_it_was_looked_at_is_offered_again(store: Store, paths: StorePaths) -> None:
    session = await store.sessions.create()
    await ask(store, session.id, "before", "answer")
    batch = await store.vectors.missing(MODEL)
    assert batch is not None
    await store._database.write(lambda db: db.execute("UPDATE message SET text = 'after' WHERE text = 'before'"))
    count = await store.vectors.add(MODEL, batch, {each.seq: made(each.text) for each in batch.messages})
    assert count == 1
    assert await everything(store) == ["after"]
    near = await store.vectors.near(MODEL, list(range(10)))
    assert sorted(each.text for each in near.values()) == ["after", "answer"]


async def test_deleting_a_session_deletes_its_vectors_without_any_extension(store: Store, paths: StorePaths) -> None:
    kept, gone = await store.sessions.create("kept"), await store.sessions.create("gone")
    await ask(store, kept.id, "q", "a")
    await ask(store, gone.id, "q", "a")
    await everything(store)
    await store.sessions.delete(gone.id)
    connection = raw(paths)
    assert connection.execute("SELECT count(*) FROM embedding").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


async def test_a_message_that_takes_over_a_number_is_looked_at(store: Store) -> None:
    session = await store.sessions.create()
    await ask(store, session.id, "q", "a")
    await everything(store)
    first = await store.vectors.newest(MODEL)
    await store.sessions.delete(session.id)
    session = await store.sessions.create()
    await ask(store, session.id, "Q", "A")
    assert sorted(await everything(store)) == ["A", "Q"]
    assert set(await store.vectors.near(MODEL, range(20))) == {first + 1, first + 2}, "no number is used twice"


async def test_codes_come_back_as_they_were_in_pages_and_by_number(store: Store) -> None:
    session = await store.sessions.create()
    await ask(store, session.id, "q", "a")
    batch = await store.vectors.missing(MODEL)
    assert batch is not None
    # Both have more stretches than one and any bytes at all: the engine puts them together as if they were text.
    wanted = {each.seq: [Stretch(0, 1, DICE.randbytes(48), b"v" * 384) for _ in range(3)] for each in batch.messages}
    await store.vectors.add(MODEL, batch, wanted)
    page = await store.vectors.codes(MODEL, Place())
    expected = [each.code for message in sorted(wanted) for each in wanted[message]]
    assert [page.codes[at : at + 48] for at in range(0, len(page.codes), 48)] == expected
    assert len(page.seqs) == 8 * len(expected)
    assert (await store.vectors.codes(MODEL, page.last)).seqs == ""
    newer = await store.vectors.newer_codes(MODEL, 4)
    assert (newer.seqs, newer.last.seq) == ("0000000500000006", 6)


async def test_vectors_are_asked_for_by_number_and_session(store: Store) -> None:
    one, two = await store.sessions.create(), await store.sessions.create()
    await ask(store, one.id, "q1", "a1")
    await ask(store, two.id, "q2", "a2")
    await everything(store)
    assert set(await store.vectors.vectors(MODEL, [1, 2, 3, 4, 99])) == {1, 2, 3, 4}
    inside = await store.vectors.in_session(MODEL, one.id, 10)
    assert set(await store.vectors.vectors(MODEL, [1, 2, 3, 4], parse(f"in:{one.id}"))) == set(inside)
    assert {each.session_id for each in (await store.vectors.near(MODEL, inside)).values()} == {one.id}
    assert await store.vectors.vectors("another", [1, 2]) == {}


async def test_what_another_model_made_goes_bit_by_bit(store: Store) -> None:
    session = await store.sessions.create()
    await ask(store, session.id, "q", "a")
    await everything(store)
    assert await store.vectors.missing("new") is not None
    assert await store.vectors.forget_others("new") == 2
    assert await store.vectors.forget_others("new") == 0
    assert await store.vectors.vectors(MODEL, [1, 2]) == {}


async def test_looking_again_finds_what_was_left_out(store: Store) -> None:
    session = await store.sessions.create()
    await ask(store, session.id, "q", "a")
    batch = await store.vectors.missing(MODEL)
    assert batch is not None
    await store.vectors.add(MODEL, Batch((), batch.low, batch.high), {})
    assert await everything(store) == []
    assert await store.vectors.look_again(MODEL) == 2
    assert sorted(await everything(store)) == ["a", "q"]


async def test_the_work_is_found_without_reading_the_store(store: Store) -> None:
    statements = {
        "SELECT seq FROM embedding WHERE message_seq = 1": "SEARCH",
        "SELECT code FROM embedding INDEXED BY embedding_by_message "
        "WHERE (message_seq, seq) > (1, 1) AND model = 1 ORDER BY message_seq, seq": "COVERING INDEX",
    }
    for statement, expected in statements.items():
        plan = await store._database.read(
            lambda db, asked=statement: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked}")]  # type: ignore[misc]
        )
        assert expected in plan[0] and not any("TEMP" in line for line in plan), plan


async def test_a_number_that_is_used_again_is_offered_again(store: Store) -> None:
    kept, gone = await store.sessions.create(), await store.sessions.create()
    await ask(store, kept.id, "kept", "a")
    await ask(store, gone.id, "gone", "b")
    batch = await store.vectors.missing(MODEL)
    assert batch is not None
    await store.sessions.delete(gone.id)
    await store.vectors.add(MODEL, batch, {})
    await ask(store, kept.id, "new", "c")
    assert sorted(await everything(store)) == ["c", "new"]
    await store.sessions.delete(kept.id)
    again = await store.sessions.create()
    await ask(store, again.id, "newest", "d")
    assert sorted(await everything(store)) == ["d", "newest"]
