"""Comparing on a real store: two answers at once, each with its own end, and a choice afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from backend_client import BackendError, Unreachable
from backend_client.types import ChatRequest, Chunk, FinishChunk, Routed, TextChunk, UsageChunk
from sophia_core.chat.comparing import Compared, Comparing
from sophia_core.commands import BadArguments, CommandDisabled, CommandError
from sophia_core.events import ComparisonEnded, ComparisonStarted, SessionChanged, TextDelta, TurnFinished, TurnStarted
from sophia_core.undoing import Undoing
from tests.scripted import JSON, ScriptedReply, chat
from tests.sophia_core.conftest import OpenBench, OpenDesk
from tests.sophia_core.desk import Desk

Piece = Chunk | asyncio.Event | BackendError


class Two:
    """Answers by the model asked for: each plays its own pieces."""

    def __init__(self, **plays: list[Piece]) -> None:
        self.plays = plays
        self.requests: list[ChatRequest] = []
        self.asked: list[str | None] = []

    async def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]:
        self.requests.append(request)
        self.asked.append(provider)
        yield Routed(provider or "here", request.model, request.request_id, 1)
        for piece in self.plays[request.model or ""]:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, BackendError):
                raise piece
            else:
                yield piece


def says(text: str) -> list[Piece]:
    return [TextChunk(text), FinishChunk("stop"), UsageChunk(7, 3)]


async def naming(name: str) -> tuple[str | None, str | None]:
    model, _, provider = name.partition("@")
    return provider or None, model


def comparing(desk: Desk, **plays: list[Piece]) -> tuple[Comparing, Two]:
    """The commands on this desk, whose models answer so."""
    backend = Two(**plays)
    desk.chat.asking._backend = backend  # the desk's own plays one script for whoever asks next
    made = Comparing(desk.chat, desk.vault, desk.bus, desk.current, desk.chat._settings, naming)
    desk.registry.collect(made)
    return made, backend


async def until(desk: Desk, kind: type[TextDelta | TurnFinished], count: int) -> None:
    await desk.until(kind, count)


async def versions(desk: Desk) -> list[tuple[str, str]]:
    answers = [
        each for each in await desk.store.messages.all(desk.current.session_id or "") if each.role == "assistant"
    ]
    return [(each.text, each.status) for each in answers]


async def test_both_answer_one_question_and_are_kept_as_versions(desk: OpenDesk) -> None:
    made = await desk()
    _, backend = comparing(made, a=says("from a"), b=says("from b"))
    compared = await made.run('chat.compare a@x b "which one?"')
    assert isinstance(compared, Compared)
    assert (compared.left.text, compared.left.provider, compared.right.text) == ("from a", "x", "from b")
    assert str(compared) == "## a@x\n\nfrom a\n\n## b\n\nfrom b"
    assert backend.asked == ["x", None]
    assert [each.role for each in await made.path()] == ["user", "assistant"]
    assert await versions(made) == [("from a", "complete"), ("from b", "complete")]
    answers = [each for each in await made.store.messages.all(made.current.session_id or "") if each.usage]
    assert len(answers) == 2
    assert len({each.request_id for each in answers}) == 2
    session = await made.store.sessions.get(made.current.session_id or "")
    assert (session.message_count, session.active_leaf) == (3, compared.left.answer_id)


async def test_every_start_has_its_end_and_the_comparison_stands_around_them(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made, a=says("x"), b=says("y"))
    await made.run('chat.compare a b "hi"')
    told = [each for each in made.events if not isinstance(each, TextDelta)]
    kinds = [type(each) for each in told]
    first, last = kinds.index(ComparisonStarted), kinds.index(ComparisonEnded)
    assert kinds[first + 1 : first + 3] == [TurnStarted, TurnStarted]
    assert kinds[first:last].count(TurnFinished) == 2
    started = made.heard(TurnStarted)
    assert [each.beside for each in started] == ["", started[0].answer_id]
    assert not made.chat.busy


async def test_without_words_the_last_question_is_asked_and_its_answers_stay(desk: OpenDesk) -> None:
    made = await desk()
    _, backend = comparing(made, a=says("from a"), b=says("from b"), **{"": says("first")})
    await made.run("chat.send hello")
    await made.run("chat.compare a b")
    assert [(m.role, m.content) for m in backend.requests[1].messages] == [("user", "hello")]
    assert await versions(made) == [("first", "complete"), ("from a", "complete"), ("from b", "complete")]


async def test_what_stands_in_the_prompt_goes_before_the_last_question(desk: OpenDesk) -> None:
    made = await desk()
    commands, backend = comparing(made, a=says("x"), b=says("y"), **{"": says("first")})
    await made.run("chat.send hello")
    commands.typed = lambda: " typed "
    await made.run("chat.compare a b")
    assert [m.content for m in backend.requests[-1].messages] == ["hello", "first", "typed"]


async def test_there_has_to_be_a_question(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made)
    with pytest.raises(CommandError, match="no question"):
        await made.run("chat.compare a b")
    assert not made.chat.busy
    assert not made.heard(TurnStarted)


async def test_one_side_fails_and_the_other_goes_on(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made, a=[Unreachable("Nobody is there.", provider="x")], b=says("from b"))
    compared = await made.run('chat.compare a b "hi"')
    assert isinstance(compared, Compared)
    assert (compared.left.status, compared.right.status) == ("failed", "complete")
    assert str(compared).startswith("## a (failed: ")
    assert await versions(made) == [("", "failed"), ("from b", "complete")]
    assert not await made.letters(), "a comparison is about now: it does not wait in the outbox"


async def test_one_side_is_stopped_and_the_other_goes_on(desk: OpenDesk) -> None:
    made, gate = await desk(), asyncio.Event()
    comparing(made, a=[TextChunk("so far"), asyncio.Event()], b=[TextChunk("and "), gate, TextChunk("on")])
    asking = asyncio.create_task(made.run('chat.compare a b "hi"'))
    await until(made, TextDelta, 2)
    await made.run("compare.stop left")
    assert [each.status for each in made.heard(TurnFinished)] == ["cancelled"]
    assert made.chat.busy
    with pytest.raises(CommandDisabled):
        await made.run("chat.send more")
    gate.set()
    await asking
    assert await versions(made) == [("so far", "cancelled"), ("and on", "complete")]


async def test_stopping_the_chat_stops_both(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made, a=[TextChunk("x"), asyncio.Event()], b=[TextChunk("y"), asyncio.Event()])
    asking = asyncio.create_task(made.run('chat.compare a b "hi"'))
    await until(made, TextDelta, 2)
    await made.run("chat.stop")
    await asking
    assert await versions(made) == [("x", "cancelled"), ("y", "cancelled")]


async def test_locking_keeps_what_both_have_said(desk: OpenDesk) -> None:
    made = await desk()
    made.vault.before_lock.append(made.chat.close)
    comparing(made, a=[TextChunk("x"), asyncio.Event()], b=[TextChunk("y"), asyncio.Event()])
    asking = asyncio.create_task(made.run('chat.compare a b "hi"'))
    await until(made, TextDelta, 2)
    await made.chat.close()
    assert asking.done() or [each.status for each in made.heard(TurnFinished)] == ["cancelled"] * 2
    await asking
    assert await versions(made) == [("x", "cancelled"), ("y", "cancelled")]


async def test_giving_up_the_command_stops_both(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made, a=[TextChunk("x"), asyncio.Event()], b=[TextChunk("y"), asyncio.Event()])
    asking = asyncio.create_task(made.run('chat.compare a b "hi"'))
    await until(made, TextDelta, 2)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    assert await versions(made) == [("x", "cancelled"), ("y", "cancelled")]
    assert len(made.heard(ComparisonEnded)) == 1


async def test_the_conversation_goes_on_with_the_one_that_is_kept(desk: OpenDesk) -> None:
    made = await desk()
    _, backend = comparing(made, a=says("from a"), b=says("from b"), **{"": says("more")})
    with pytest.raises(CommandDisabled, match="nothing was compared"):
        await made.run("compare.keep left")
    await made.run('chat.compare a b "hi"')
    assert "b" in str(await made.run("compare.keep right"))
    assert [each.text for each in await made.path()] == ["hi", "from b"]
    assert isinstance(made.events[-1], SessionChanged)
    await made.run("chat.send on")
    assert [m.content for m in backend.requests[-1].messages] == ["hi", "from b", "on"]
    await made.run("compare.keep left")
    assert [each.text for each in await made.path()] == ["hi", "from a"]
    with pytest.raises(BadArguments):
        await made.run("compare.keep middle")


async def test_what_was_kept_can_be_taken_back(desk: OpenDesk) -> None:
    made, undoing = await desk(), Undoing()
    asked, _ = comparing(made, a=says("from a"), b=says("from b"))
    asked._undoing = undoing
    await made.run('chat.compare a b "hi"')
    await made.run("compare.keep left")
    assert undoing._can_undo() is not None  # nothing else is shown than before
    await made.run("compare.keep right")
    assert "answer of b was kept" in await undoing.undo()
    assert [each.text for each in await made.path()] == ["hi", "from a"]
    await undoing.redo()
    assert [each.text for each in await made.path()] == ["hi", "from b"]


async def test_what_cannot_be_taken_back_just_now_can_be_later(desk: OpenDesk) -> None:
    made, undoing = await desk(), Undoing()
    asked, _ = comparing(made, a=says("from a"), b=says("from b"), c=[TextChunk("x"), asyncio.Event()])
    asked._undoing = undoing
    await made.run('chat.compare a b "hi"')
    await made.run("compare.keep right")
    asking = asyncio.create_task(made.run('chat.compare a c "more"'))
    await until(made, TextDelta, 3)
    with pytest.raises(CommandDisabled, match="streaming"):
        await undoing.undo()
    await made.run("compare.stop")
    await asking
    await undoing.undo()
    assert [each.text for each in await made.path()] == ["hi", "from a"]


async def test_keeping_one_while_both_stream_stops_the_other(desk: OpenDesk) -> None:
    made, gate = await desk(), asyncio.Event()
    comparing(made, a=[TextChunk("x"), asyncio.Event()], b=[TextChunk("y"), gate, FinishChunk("stop")])
    asking = asyncio.create_task(made.run('chat.compare a b "hi"'))
    await until(made, TextDelta, 2)
    await made.run("compare.keep right")
    assert await versions(made) == [("x", "cancelled"), ("y", "streaming")] or made.chat.busy
    gate.set()
    await asking
    assert await versions(made) == [("x", "cancelled"), ("y", "complete")]
    assert [each.text for each in await made.path()] == ["hi", "y"]


async def test_one_model_asked_twice_is_asked_twice(desk: OpenDesk) -> None:
    made = await desk(cache=True)
    _, backend = comparing(made, a=says("same"))
    await made.run('chat.compare a a "hi"')
    assert len(backend.requests) == 2


async def test_a_deleted_session_is_told(desk: OpenDesk) -> None:
    made = await desk()
    comparing(made, a=says("x"), b=says("y"))
    await made.run('chat.compare a b "hi"')
    await made.store.sessions.delete(made.current.session_id or "")
    with pytest.raises(CommandError, match="not there any more"):
        await made.run("compare.keep left")


KILLED = """
import asyncio, sys
from pathlib import Path
from backend_client.types import TextChunk
from tests.sophia_core.desk import Desk
from tests.sophia_core.test_comparing import comparing

async def main():
    made = await Desk(Path(sys.argv[1])).open()
    comparing(made, a=[TextChunk("left half"), asyncio.Event()], b=[TextChunk("right half"), asyncio.Event()])
    journal, written = made.store.turns.journal, []

    async def noting(answer_id, **said):
        await journal(answer_id, **said)
        written.append(answer_id)
        if len(written) == 2:
            print("written", flush=True)

    made.store.turns.journal = noting
    await made.run('chat.compare a b "hi"')

asyncio.run(main())
"""


async def test_a_kill_loses_neither_answer(desk: OpenDesk, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(tmp_path)), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).strip() == b"written"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    made = await desk()
    session = (await made.store.sessions.list(limit=1))[0]
    found = [each for each in await made.store.messages.all(session.id) if each.role == "assistant"]
    assert [(each.text, each.status) for each in found] == [
        ("left half", "interrupted"),
        ("right half", "interrupted"),
    ]


async def test_the_macro_asks_both_at_once_and_then_for_a_verdict(bench: OpenBench) -> None:
    made = await bench(chat("from one"), chat("from two"), chat("both are right"))
    provider = made.runtime.providers[0].name
    await made.runtime.macros.refresh()
    await made.runtime.dispatch(f'macro.compare question="why so?" one=a@{provider} other=b@{provider}')
    asked = [str(body["messages"][-1]["content"]) for body in made.wire.bodies]  # type: ignore[index]
    assert asked[:2] == ["why so?", "why so?"]
    assert [body["model"] for body in made.wire.bodies[:2]] == ["a", "b"]
    assert "from one" in asked[2] and "from two" in asked[2]
    assert len(await made.runtime.sessions.list()) == 2


# -- who is meant


async def test_models_are_named_in_every_way(bench: OpenBench) -> None:
    made = await bench(SOPHIA_MODEL="configured")
    named = made.runtime.server_side.models.named
    provider = made.runtime.providers[0].name
    assert await named("auto") == (None, None)
    assert await named(provider) == (provider, None)
    assert await named(f"some/model@{provider}") == (provider, "some/model")
    assert await named("m@auto") == (None, "m")
    assert await named("configured") == (provider, "configured")
    assert await named("who@knows") == (None, "who@knows"), "the server does not say what it has: it may have this one"


async def test_a_model_that_nobody_offers_is_told_before_anything_is_asked(bench: OpenBench) -> None:
    made = await bench()
    listed = b'{"object": "list", "data": [{"id": "offered", "object": "model"}]}'
    made.wire.pages["/models"] = ScriptedReply((listed,), headers=JSON)
    named = made.runtime.server_side.models.named
    assert await named("offered") == (made.runtime.providers[0].name, "offered")
    with pytest.raises(CommandError, match="Nobody offers"):
        await made.runtime.dispatch('chat.compare offered unheard-of "hi"')
    assert not made.heard(TurnStarted)
