"""Going on with an answer that stopped short: prose only, and one seam at most."""

from __future__ import annotations

import asyncio

import pytest

from backend_client import StreamFailed, StreamTruncated
from backend_client.types import ChatMessage, FinishChunk, TextChunk, ToolCallChunk
from sophia_core.chat.history import fit
from sophia_core.commands import CommandError
from sophia_core.events import Notice, TextDelta, TurnStarted
from tests.sophia_core.conftest import OpenDesk
from tests.sophia_core.desk import ROUTED, Piece, said

CUT = StreamTruncated("the stream ended without a finish reason")


def cut(text: str) -> list[Piece]:
    return [ROUTED, TextChunk(text), CUT]


async def test_the_partial_answer_is_sent_as_the_message_to_go_on_with(desk: OpenDesk) -> None:
    made = await desk(cut("Once upon"), said(" a time."))
    first = await made.turn("chat.send tell")
    second = await made.turn("/continue")
    assert (first.status, second.status, second.text) == ("partial", "complete", "Once upon a time.")
    request = made.backend.requests[1]
    assert request.continuing
    assert request.messages == (ChatMessage("user", "tell"), ChatMessage("assistant", "Once upon"))
    assert request.flow == first.session_id
    assert made.heard(TurnStarted)[1].prefix == "Once upon"
    assert [event.text for event in made.heard(TextDelta)] == ["Once upon", " a time."]


async def test_each_part_keeps_its_own_provider_and_usage(desk: OpenDesk) -> None:
    made = await desk(cut("Once upon"), said(" a time."))
    first = await made.turn("chat.send tell")
    second = await made.turn("/continue")
    rows = {row.id: row for row in await made.store.messages.all(first.session_id)}
    old, new = rows[first.answer_id], rows[second.answer_id]
    assert (old.status, old.text, old.provider, old.usage) == ("partial", "Once upon", "here", None)
    assert (new.continues, new.provider) == (old.id, "here")
    assert new.usage is not None
    assert (new.usage.prompt_tokens, new.usage.completion_tokens) == (7, 3)


async def test_an_answer_that_broke_off_is_put_together_once(desk: OpenDesk) -> None:
    made = await desk(cut("Once"), cut(" upon"))
    await made.turn("chat.send tell")
    await made.turn("/continue")
    with pytest.raises(CommandError, match="second time") as refused:
        await made.run("/continue")
    assert "Ctrl+R" in refused.value.hint
    assert len(made.backend.requests) == 2


async def test_a_length_limit_is_gone_on_with_any_number_of_times(desk: OpenDesk) -> None:
    made = await desk(*(said(f"{n} ", finish="length") for n in range(4)), cut("broken"), said("!"))
    await made.turn("chat.send count")
    for _ in range(4):
        await made.turn("/continue")
    assert (await made.turn("/continue")).text == "0 1 2 3 broken!"


async def test_an_answer_put_together_may_still_go_on_after_a_length_limit(desk: OpenDesk) -> None:
    made = await desk(cut("Once"), said(" upon", finish="length"), cut(" a"))
    await made.turn("chat.send tell")
    await made.turn("/continue")
    assert (await made.turn("/continue")).text == "Once upon a"
    with pytest.raises(CommandError, match="second time"):
        await made.run("/continue")


async def test_going_on_that_brought_nothing_may_be_tried_again(desk: OpenDesk) -> None:
    made = await desk(cut("Once"), StreamFailed("no"), StreamFailed("no"), said(" upon"))
    first = await made.turn("chat.send tell")
    assert (await made.turn("/continue")).status == "failed"
    assert (await made.turn("/continue")).status == "failed"
    last = await made.turn("/continue")
    assert last.text == "Once upon"
    assert (await made.store.messages.get(last.answer_id)).continues == first.answer_id


async def test_a_stopped_answer_is_gone_on_with_as_often_as_one_likes(desk: OpenDesk) -> None:
    never = asyncio.Event()
    made = await desk(*([ROUTED, TextChunk(f"{n}"), never] for n in range(3)), said("."))
    for n, line in enumerate(["chat.send count", "/continue", "/continue"]):
        turn = asyncio.create_task(made.turn(line))
        await made.until(TextDelta, n + 1)
        await made.run("chat.stop")
        assert (await turn).status == "cancelled"
    assert (await made.turn("/continue")).text == "012."
    assert not made.heard(Notice)


async def test_a_tool_call_is_not_gone_on_with(desk: OpenDesk) -> None:
    call = ToolCallChunk(0, "c", "rm", '{"path"')
    made = await desk([ROUTED, TextChunk("Let me see."), call, CUT], [ROUTED, call, FinishChunk("stop")])
    for line in ("chat.send look", "/again"):
        finished = await made.turn(line)
        assert finished.finish_reason == "tool_calls"
        with pytest.raises(CommandError, match=r"tool|whole"):
            await made.run("/continue")


async def test_a_whole_answer_is_left_alone(desk: OpenDesk) -> None:
    made = await desk(said("all of it"))
    await made.turn("chat.send tell")
    with pytest.raises(CommandError, match="whole"):
        await made.run("/continue")


async def test_where_nothing_had_arrived_it_is_asked_again(desk: OpenDesk) -> None:
    made = await desk(cut(" \n"), said("Once"))
    await made.turn("chat.send tell")
    finished = await made.turn("/continue")
    assert finished.text == "Once"
    assert not made.backend.requests[1].continuing


async def test_a_partial_answer_is_offered_to_be_gone_on_with_once(desk: OpenDesk) -> None:
    made = await desk(cut("Once"), cut(" upon"))
    await made.turn("chat.send tell")
    (offer,) = made.heard(Notice)
    assert offer.text == "The answer broke off: the stream ended without a finish reason."
    assert offer.hint == "/continue goes on with it, Ctrl+R asks again."
    await made.turn("/continue")
    assert [each.hint for each in made.heard(Notice)[1:]] == ["Ctrl+R asks again."]


def test_the_question_stays_with_the_answer_that_is_gone_on_with() -> None:
    long = [ChatMessage("user", "q" * 300), ChatMessage("assistant", "a" * 300)]
    kept, dropped = fit([*long, ChatMessage("user", "Why?"), ChatMessage("assistant", "x" * 900)], 100, 0, keep=2)
    assert ([each.content[0] for each in kept], dropped) == (["W", "x"], 2)


async def test_with_a_window_that_is_too_small_the_question_and_its_half_answer_still_go_together(
    desk: OpenDesk,
) -> None:
    made = await desk(said("a" * 3000), cut("Once" + "x" * 3000), said(" a time."), window=64)
    await made.turn("chat.send " + "q" * 3000)
    await made.turn("chat.send tell")
    assert (await made.turn("/continue")).status == "complete"
    assert [each.content[:4] for each in made.backend.requests[2].messages] == ["tell", "Once"]


async def test_another_provider_and_model_may_go_on_with_it(desk: OpenDesk) -> None:
    made = await desk(cut("Once"), said(" a time."))
    await made.turn("chat.send tell")
    made.current.provider, made.current.model = "there", "n"
    finished = await made.turn("/continue")
    assert (finished.text, finished.begun_by) == ("Once a time.", "here")
    assert (made.backend.asked[1], made.backend.requests[1].model) == ("there", "n")
    assert made.backend.requests[1].avoid == {"here"}


async def test_an_answer_that_a_crash_cut_short_is_gone_on_with(desk: OpenDesk) -> None:
    killed = await desk(cut("Once"))
    session = (await killed.store.sessions.create(title="t")).id
    turn = await killed.store.turns.begin(session, None, "tell", request_id="r")
    await killed.store.turns.journal(turn.answer.id, text="Once")
    await killed.store.close()
    killed.vault.store = None
    made = await desk(said(" upon"))
    made.current.session_id = session
    assert (await made.turn("/continue")).text == "Once upon"
