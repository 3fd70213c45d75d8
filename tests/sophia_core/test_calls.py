"""Calls of tools in an answer: stored while they arrive, told as they grow, and never run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from backend_client.types import FinishChunk, TextChunk, ToolCallChunk
from local_store.errors import StoreFull
from sophia_core.events import TextDelta, ToolCalled
from tests.sophia_core.desk import ROUTED, Desk, said

OpenDesk = Callable[..., Awaitable[Desk]]
WAIT_S = 30


def called(made: Desk) -> list[tuple[str, str, str]]:
    return [(each.name, each.arguments, each.status) for each in made.heard(ToolCalled)]


async def stored(made: Desk) -> list[tuple[str, str, str]]:
    return [(part.name, part.text, part.status) for part in (await made.path())[-1].parts]


async def test_a_call_is_a_part_of_the_answer_from_its_first_piece_on(desk: OpenDesk) -> None:
    more = asyncio.Event()
    first, second = ToolCallChunk(0, "c1", "rm", '{"path"'), ToolCallChunk(0, None, None, ': "/"}')
    made = await desk([ROUTED, TextChunk("Let me see."), first, more, second, FinishChunk("tool_calls")])
    turn = asyncio.create_task(made.turn("chat.send hi"))
    async with asyncio.timeout(WAIT_S):
        await made.until(ToolCalled)
        while not await stored(made):  # noqa: ASYNC110 - nothing tells what the store has
            await asyncio.sleep(0)
    assert await stored(made) == [("rm", '{"path"', "waiting")]
    more.set()
    finished = await turn
    assert finished.text == "Let me see."
    assert finished.finish_reason == "tool_calls"
    assert await stored(made) == [("rm", '{"path": "/"}', "refused")]
    assert called(made)[0] == ("rm", '{"path"', "waiting")
    assert called(made)[-1] == ("rm", '{"path": "/"}', "refused")


async def test_several_calls_keep_their_order_and_their_pieces_apart(desk: OpenDesk) -> None:
    pieces = [
        ToolCallChunk(1, "b", "second", '{"n":'),
        ToolCallChunk(0, "a", "first", "{}"),
        ToolCallChunk(1, None, None, "2}"),
    ]
    made = await desk([ROUTED, *pieces, FinishChunk("stop")])
    finished = await made.turn("chat.send hi")
    assert finished.text == ""
    parts = (await made.path())[-1].parts
    assert [(part.name, part.call_id, part.text) for part in parts] == [
        ("second", "b", '{"n":2}'),
        ("first", "a", "{}"),
    ]


async def test_a_call_that_is_cut_off_stands_as_failed(desk: OpenDesk) -> None:
    never = asyncio.Event()
    made = await desk([ROUTED, TextChunk("Well"), ToolCallChunk(0, "c", "rm", '{"pa'), never])
    turn = asyncio.create_task(made.turn("chat.send hi"))
    await made.until(ToolCalled)
    await made.run("chat.stop")
    assert (await turn).status == "cancelled"
    assert await stored(made) == [("rm", '{"pa', "failed")]
    assert called(made)[-1][2] == "failed"


async def test_the_next_question_tells_the_model_that_nothing_was_run(desk: OpenDesk) -> None:
    made = await desk([ROUTED, ToolCallChunk(0, "c", "look", "{}"), FinishChunk("stop")], said("so"))
    await made.turn("chat.send hi")
    await made.turn("chat.send and")
    sent = [(each.role, each.content) for each in made.backend.requests[1].messages]
    assert sent[1] == ("assistant", "[I asked for the tool look {}, which was not run.]")


async def test_a_call_without_end_is_cut_and_calls_without_number_are_let_go(desk: OpenDesk) -> None:
    many = [ToolCallChunk(number, "c", "f", "") for number in range(200)]
    made = await desk([ROUTED, *many, *[ToolCallChunk(0, None, None, "x" * 400_000)] * 4, FinishChunk("stop")])
    await made.turn("chat.send hi")
    parts = (await made.path())[-1].parts
    assert len(parts) == 64
    assert len(parts[0].text) == 1_000_000


async def test_what_the_store_refused_is_written_with_the_end(desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await desk([ROUTED, TextChunk("a"), ToolCallChunk(0, "c", "f", "{}"), FinishChunk("stop")])
    add, refused = made.store.parts.add, list[str]()

    async def full(message_id: str, parts: object) -> object:
        if len(refused) < 1:
            refused.append(message_id)
            raise StoreFull("no room")
        return await add(message_id, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(type(made.store.parts), "add", lambda self, *args: full(*args))
    finished = await made.turn("chat.send hi")
    async with asyncio.timeout(WAIT_S):
        while made.vault.unwritten:
            await made.vault.settled()
            await asyncio.sleep(0.01)
    assert refused
    assert finished.status == "complete"
    assert await stored(made) == [("f", "{}", "refused")]


async def test_a_process_that_dies_leaves_a_call_that_failed(desk: OpenDesk, tmp_path: Path) -> None:
    never = asyncio.Event()
    made = await desk([ROUTED, ToolCallChunk(0, "c", "f", "{}"), TextChunk("x"), never])
    turn = asyncio.create_task(made.turn("chat.send hi"))
    await made.until(TextDelta)
    async with asyncio.timeout(WAIT_S):
        while not await stored(made):  # noqa: ASYNC110 - nothing tells what the store has
            await asyncio.sleep(0)
    answer = (await made.path())[-1].id

    def die(connection: object) -> None:
        connection.execute("UPDATE message SET owner = 'gone' WHERE id = ?", [answer])  # type: ignore[attr-defined]

    await made.store.turns._database.write(die)
    await made.store.turns.recover()
    assert await stored(made) == [("f", "{}", "failed")]
    never.set()
    turn.cancel()
    await asyncio.wait([turn])
