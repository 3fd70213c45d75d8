"""A persona that may remember: what earlier conversations say to a question goes along, as a file that can be seen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from local_store.errors import StoreError
from sophia_core.chat.remembering import LONGEST, NAME, Remembering, anew
from sophia_core.events import TurnStarted
from sophia_core.memory.embedder import is_installed
from sophia_core.memory.recall import By, Recalled
from tests.scripted import chat
from tests.sophia_core.conftest import Bench, OpenBench

BREAD = "How do I bake bread with a sourdough starter?"
ANSWER = "Feed it the evening before; bake at 230 degrees."


async def said(bench: Bench, question: str, answer: str) -> tuple[str, str]:
    """A conversation that is over: its session, and the id of its answer."""
    store = await bench.runtime.vault.get()
    session = await store.sessions.create("An earlier one")
    turn = await store.turns.begin(session.id, None, question, request_id="r")
    await store.turns.finish(turn.answer.id, text=answer, status="complete")
    return session.id, turn.answer.id


def found(session: str, message: str, by: By = "both") -> Recalled:
    return Recalled(
        message, session, "An earlier\n\x1b[2Jone", "assistant", "Feed it the evening", 1_700_000_000_000, by
    )


@pytest.mark.skipif(not is_installed(), reason="the extra `memory` is not installed")
async def test_it_goes_along_with_the_question_and_is_seen(
    bench: OpenBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "personas").mkdir()
    (tmp_path / "personas" / "elephant.toml").write_text('prompt = "You never forget."\nmemory = true\n')
    b = await bench(chat("Yes."), chat("Yes again."))
    await said(b, BREAD, ANSWER)
    await b.runtime.run("memory.index")
    await b.runtime.run("chat.send", "making a loaf")
    assert "230 degrees" not in str(b.wire.calls[-1].body), "nobody in particular remembers nothing"
    await b.runtime.run("session.new")
    await b.runtime.run("persona.use", "elephant")
    await b.runtime.run("chat.send", "making a loaf")
    asked = json.loads(b.wire.calls[-1].body or b"")["messages"][-1]["content"]
    assert "230 degrees" in asked and asked.endswith("making a loaf"), asked
    started = b.heard(TurnStarted)[-1]
    assert isinstance(started, TurnStarted) and [each.name for each in started.attached] == [NAME], (
        "the person sees what went along"
    )


async def test_only_what_means_something_and_comes_from_elsewhere_is_taken(bench: OpenBench) -> None:
    b = await bench()
    store = await b.runtime.vault.get()
    session, answer = await said(b, BREAD, "x" * 3 * LONGEST)

    async def search(question: str, *, limit: int) -> list[Recalled]:
        return [found(session, answer), found(session, answer, "words"), found(session, "gone")]

    remembering = Remembering(search)
    (part,) = await remembering.parts(store, None, "bread?")
    assert part.blob and part.text == "1 passage"
    told = (await store.blobs.get(part.blob.id)).decode()
    assert len(told) < 2 * LONGEST and "\x1b" not in told and told.count("##") == 1
    assert await remembering.parts(store, session, "bread?") == (), "a session needs no reminder of itself"
    assert anew([part]) == []


@pytest.mark.parametrize("error", [TimeoutError(), StoreError("the disk is gone")])
async def test_a_question_is_worth_more_than_what_is_remembered(bench: OpenBench, error: Exception) -> None:
    async def search(question: str, *, limit: int) -> list[Recalled]:
        raise error

    async def forever(question: str, *, limit: int) -> list[Recalled]:
        await asyncio.Event().wait()
        return []

    b = await bench()
    store = await b.runtime.vault.get()
    assert await Remembering(search).parts(store, None, "bread?") == ()
    assert await Remembering(forever, patience_s=0).parts(store, None, "bread?") == ()
