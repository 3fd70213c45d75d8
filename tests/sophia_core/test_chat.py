"""Conversations, end to end but for the wire: lines in, events and rows out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from backend_client import Unreachable
from sophia_core.commands import CommandDisabled, CommandError
from sophia_core.events import (
    DegradationChanged,
    Level,
    Notice,
    ReasoningDelta,
    SessionChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from tests.scripted import DONE, ScriptedReply, chat, delta, refusal
from tests.sophia_core.conftest import Bench, OpenBench


async def until(bench: Bench, kind: type[TextDelta | TurnStarted | TurnFinished], count: int = 1) -> None:
    """Waits for the bus to have said something so many times."""
    if len(bench.heard(kind)) >= count:
        return
    arrived = asyncio.Event()

    def listen(_: object) -> None:
        if len(bench.heard(kind)) >= count:
            arrived.set()

    unsubscribe = bench.runtime.bus.subscribe(listen)
    async with asyncio.timeout(10):
        await arrived.wait()
    unsubscribe()


async def test_a_question_is_answered_stored_and_told(bench: OpenBench) -> None:
    made = await bench(chat("Hel", "lo", reasoning=["hm"], tokens=(7, 3)))
    finished = await made.runtime.dispatch('chat.send "hi there"')
    assert isinstance(finished, TurnFinished)
    assert (finished.text, finished.status, finished.prompt_tokens, finished.completion_tokens) == (
        "Hello",
        "complete",
        7,
        3,
    )
    kinds = [type(event) for event in made.events]
    assert kinds.index(SessionChanged) < kinds.index(TurnStarted) < kinds.index(ReasoningDelta) < kinds.index(TextDelta)
    assert kinds.count(TurnFinished) == kinds.count(TurnStarted) == 1
    rows = await made.runtime.sessions.messages()
    assert [(row.role, row.text, row.status) for row in rows] == [
        ("user", "hi there", "complete"),
        ("assistant", "Hello", "complete"),
    ]
    assert rows[1].usage is not None
    assert rows[1].request_id == finished.request_id


async def test_the_action_id_travels_to_the_server_and_into_the_log(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("ok"))
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    asked = next(call for call in made.wire.calls if call.method == "POST")
    headers = {key.lower(): value for key, value in asked.headers.items()}
    assert headers["x-request-id"].startswith(finished.request_id)
    assert headers["traceparent"].split("-")[1] == finished.request_id
    lines = [json.loads(line) for line in (tmp_path / "logs/sophia.log").read_text("utf-8").splitlines()]
    ended = next(line for line in lines if line["event"] == "TurnFinished")
    assert ended["request_id"] == finished.request_id


async def test_what_was_said_is_not_in_the_log(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("a very private answer"))
    await made.runtime.dispatch("chat.send a very private question")
    assert "very private" not in (tmp_path / "logs/sophia.log").read_text("utf-8")


async def test_the_history_of_the_branch_is_sent(bench: OpenBench) -> None:
    made = await bench(chat("one"), chat("two"))
    await made.runtime.dispatch("chat.send first")
    await made.runtime.dispatch("chat.send second")
    messages = made.wire.bodies[1]["messages"]
    assert isinstance(messages, list)
    assert [(m["role"], m["content"]) for m in messages][1:] == [
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
    ]


async def test_stopping_keeps_what_has_arrived(bench: OpenBench) -> None:
    made = await bench(ScriptedReply((delta(content="so far"), asyncio.Event())))
    turn = asyncio.create_task(made.runtime.dispatch("chat.send hi"))
    await until(made, TextDelta)
    await made.runtime.run("chat.stop")
    finished = await turn
    assert isinstance(finished, TurnFinished)
    assert (finished.status, finished.text) == ("cancelled", "so far")
    assert (await made.runtime.sessions.messages())[-1].status == "cancelled"
    assert made.wire.replies[0].closed.is_set()


async def test_only_one_answer_at_a_time(bench: OpenBench) -> None:
    made = await bench(ScriptedReply((delta(content="x"), asyncio.Event())))
    turn = asyncio.create_task(made.runtime.dispatch("chat.send hi"))
    await until(made, TextDelta)
    with pytest.raises(CommandDisabled, match="streaming"):
        await made.runtime.dispatch("chat.send again")
    await made.runtime.run("chat.stop")
    await turn


async def test_closing_keeps_what_has_arrived(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(ScriptedReply((delta(content="so far"), asyncio.Event())))
    turn = asyncio.create_task(made.runtime.dispatch("chat.send hi"))
    await until(made, TextDelta)
    await made.runtime.close()
    await turn
    again = await bench(home=tmp_path)
    await again.runtime.run("session.latest")
    assert [row.text for row in await again.runtime.sessions.messages()] == ["hi", "so far"]


async def test_half_a_stream_is_partial_never_complete(bench: OpenBench) -> None:
    made = await bench(ScriptedReply((delta(content="half"), DONE)))
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert (finished.status, finished.text) == ("partial", "half")
    assert finished.error
    assert finished.hint


async def test_nothing_reachable_is_a_failed_answer_and_a_kept_question(bench: OpenBench) -> None:
    down = [Unreachable("Nothing answers.", provider="scripted") for _ in range(3)]
    made = await bench(*down)
    made.runtime.client._sleep = _no_wait  # the pause between attempts is the client's own test
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert finished.status == "failed"
    assert [row.text for row in await made.runtime.sessions.messages()] == ["hi", ""]
    assert made.heard(DegradationChanged)[-1].level is Level.OFFLINE  # type: ignore[union-attr]


async def test_what_waited_in_the_outbox_is_answered_when_the_server_is_back(bench: OpenBench) -> None:
    down = [Unreachable("Nothing answers.", provider="scripted") for _ in range(3)]
    made = await bench(*down, chat("here I am"))
    made.runtime.client._sleep = _no_wait
    made.runtime.chat.queue_when_offline = True
    waiting = await made.runtime.dispatch("chat.send hi")
    assert isinstance(waiting, TurnFinished)
    assert waiting.status == "queued"
    assert made.heard(DegradationChanged)[-1].level is Level.OFFLINE  # type: ignore[union-attr]
    assert await made.runtime.outbox.deliver_due() is None
    assert [row.text for row in await made.runtime.sessions.messages()] == ["hi", "here I am"]
    keys = {call.headers["idempotency-key"] for call in made.wire.calls if call.method == "POST"}
    assert keys == {waiting.answer_id}


async def _no_wait(_: float) -> None:
    return


async def test_regenerate_makes_a_branch_and_branches_can_be_walked(bench: OpenBench) -> None:
    made = await bench(chat("first answer"), chat("second answer"))
    await made.runtime.dispatch("chat.send hi")
    await made.runtime.dispatch("/again")
    session = made.runtime.current.session_id
    assert session is not None
    shown = await made.runtime.sessions.shown(session)
    assert (shown[-1][0].text, shown[-1][1]) == ("second answer", (2, 2))
    await made.runtime.dispatch("branch.previous")
    shown = await made.runtime.sessions.shown(session)
    assert (shown[-1][0].text, shown[-1][1]) == ("first answer", (1, 2))
    with pytest.raises(CommandError, match="no other version"):
        await made.runtime.dispatch("branch.previous")


async def test_editing_a_question_keeps_the_old_one(bench: OpenBench) -> None:
    made = await bench(chat("to the first"), chat("to the second"))
    await made.runtime.dispatch("chat.send first words")
    question = (await made.runtime.sessions.messages())[0]
    await made.runtime.run("chat.edit", question.id, "other words")
    assert [row.text for row in await made.runtime.sessions.messages()] == ["other words", "to the second"]
    session = made.runtime.current.session_id
    assert session is not None
    assert (await made.runtime.sessions.shown(session))[0][1] == (2, 2)


async def test_an_answer_that_stopped_short_can_be_continued(bench: OpenBench) -> None:
    made = await bench(ScriptedReply((delta(content="Once upon"), DONE)), chat(" a time."))
    await made.runtime.dispatch("chat.send tell")
    finished = await made.runtime.dispatch("/continue")
    assert isinstance(finished, TurnFinished)
    assert finished.text == "Once upon a time."
    messages = made.wire.bodies[1]["messages"]
    assert isinstance(messages, list)
    assert [m["role"] for m in messages][-3:] == ["user", "assistant", "user"]


async def test_a_tool_call_is_shown_not_run(bench: OpenBench) -> None:
    call = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "rm", "arguments": '{"path": "/"}'}}]
    made = await bench(ScriptedReply((delta(tool_calls=call), delta("tool_calls"), DONE)))
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert finished.text == ""
    assert [each.text for each in (await made.runtime.sessions.messages())[-1].parts] == ['{"path": "/"}']
    assert any("not run" in event.text for event in made.heard(Notice))  # type: ignore[union-attr]


async def test_a_refused_key_says_what_to_do(bench: OpenBench) -> None:
    made = await bench(refusal(401), SOPHIA_API_KEY="sk-secret-key")
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert finished.status == "failed"
    assert finished.hint
    assert "sk-secret-key" not in repr(made.events)


async def test_sessions_are_listed_searched_renamed_and_deleted(bench: OpenBench) -> None:
    made = await bench(chat("about walruses"), chat("about otters"))
    await made.runtime.dispatch("chat.send one")
    first = made.runtime.current.session_id
    await made.runtime.dispatch("/new")
    await made.runtime.dispatch("chat.send two")
    await made.runtime.dispatch("/rename sea animals")
    assert [each.title for each in await made.runtime.sessions.list()] == ["sea animals", "one"]
    hits = await made.runtime.sessions.search("walrus")
    assert [hit.session_id for hit in hits] == [first]
    await made.runtime.run("session.delete", first, confirmed=True)
    assert [each.title for each in await made.runtime.sessions.list()] == ["sea animals"]


async def test_a_locked_store_is_unlocked_by_its_passphrase(bench: OpenBench, tmp_path: Path) -> None:
    first = await bench(chat("kept"), SOPHIA_PASSPHRASE="correct horse")
    await first.runtime.dispatch("chat.send hi")
    await first.runtime.close()
    locked = await bench()
    assert locked.runtime.vault.state == "locked"
    with pytest.raises(CommandError, match="locked"):
        await locked.runtime.dispatch("chat.send hi")
    assert not await locked.runtime.vault.unlock("wrong")
    assert await locked.runtime.vault.unlock("correct horse")
    assert len(await locked.runtime.sessions.list()) == 1


async def test_an_unsaved_store_answers_and_leaves_nothing_behind(bench: OpenBench, tmp_path: Path) -> None:
    first = await bench(SOPHIA_PASSPHRASE="correct horse")
    await first.runtime.close()
    made = await bench(chat("said"))
    await made.runtime.vault.open_unsaved()
    temporary = made.runtime.vault._temporary
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert finished.text == "said"
    await made.runtime.close()
    assert temporary is not None
    assert not temporary.exists()


async def test_a_configured_price_gives_each_answer_a_cost(bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        "[[providers]]\nname = 'paid'\nbase_url = 'http://scripted/v1'\nmodel = 'm'\n"
        "price_prompt = 2.0\nprice_completion = 10.0\n",
        "utf-8",
    )
    made = await bench(chat("ok", tokens=(1000, 100)), SOPHIA_BASE_URL="")
    finished = await made.runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    assert finished.cost_usd == pytest.approx(0.003)
    store = await made.runtime.vault.get()
    assert (await store.usage.totals()).cost_usd == pytest.approx(0.003)
