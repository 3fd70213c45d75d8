"""Every turn leaves spans: what waited, what was tried, what came; and none of what was said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backend_client import BackendError, Unreachable
from sophia_core.commands import CommandError
from sophia_core.events import AttemptSent, TextDelta, TurnFinished
from sophia_core.metrics import semconv
from sophia_core.metrics.ports import Span
from sophia_core.metrics.tracing import Waterfall, spans_of
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import DONE, ScriptedReply, ScriptedTransport, chat, delta, refusal, sse

ENV = {"SOPHIA_BASE_URL": "http://near.example:8000/v1", "SOPHIA_MODEL": "m", "SOPHIA_NO_KEYRING": "1"}
PATIENCE_S = 30.0
Open = Callable[..., Awaitable[tuple[Runtime, ScriptedTransport]]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Starts a runtime that gets these answers; closed at the end."""
    started: list[Runtime] = []

    async def start(*script: ScriptedReply | BackendError, **env: str) -> tuple[Runtime, ScriptedTransport]:
        variables = {**ENV, "SOPHIA_HOME": str(tmp_path), **env}
        wire = ScriptedTransport(*script)
        runtime = Runtime(load_settings(variables), transport=wire, env=variables)
        started.append(runtime)
        await runtime.start()
        return runtime, wire

    yield start
    for runtime in started:
        await runtime.close()


async def shown(runtime: Runtime, answer: str = "last") -> Waterfall:
    found = await runtime.run("trace.show", answer)
    assert isinstance(found, Waterfall)
    return found


def below(spans: tuple[Span, ...], parent: Span) -> list[str]:
    return [each.name for each in spans if each.parent_id == parent.span_id]


async def test_a_turn_is_one_trace_that_its_server_was_told(opened: Open) -> None:
    runtime, wire = await opened(chat("Hel", "lo", reasoning=["hm"]))
    finished = await runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    found = await shown(runtime)
    whole, *rest = found.spans
    assert (found.answer, found.status, whole.name) == (finished.answer_id, "complete", "chat m")
    assert whole.attributes[semconv.INPUT_TOKENS] == 7
    assert whole.attributes[semconv.CONVERSATION] == finished.session_id
    assert whole.attributes[semconv.FINISH_REASONS] == "stop"
    attempt = next(each for each in rest if each.kind == "client")
    assert below(found.spans, attempt) == ["first token", "stream"]
    assert attempt.attributes[semconv.SERVER_ADDRESS] == "near.example"
    assert attempt.attributes[semconv.SERVER_PORT] == 8000
    sent = next(call for call in wire.calls if call.method == "POST").headers["traceparent"]
    assert sent == f"00-{finished.request_id}-{attempt.span_id}-01"
    assert {each.trace_id for each in found.spans} == {finished.request_id} == {found.trace}
    assert all(whole.start <= each.start <= each.end <= whole.end for each in rest)


async def test_nothing_that_was_said_is_in_it(opened: Open) -> None:
    runtime, _ = await opened(chat("a private answer", reasoning=["a private thought"]))
    await runtime.dispatch("chat.send 'a private question'")
    await runtime.traces.written()
    store = await runtime.vault.get()
    kept = await store.traces.get((await store.traces.list())[0].answer_id)
    assert "private" not in repr(kept)


async def test_each_try_has_its_span_and_says_why_it_failed(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend_client.retry.BACKOFF_BASE_S", 0.1)
    runtime, _ = await opened(refusal(503, "busy"), Unreachable("gone"), chat("ok"))
    await runtime.dispatch("chat.send hi")
    found = await shown(runtime)
    tries = [each for each in found.spans[1:] if each.kind == "client"]
    assert [each.ok for each in tries] == [False, False, True]
    assert tries[0].attributes[semconv.HTTP_STATUS] == 503
    assert [each.attributes[semconv.HTTP_RESENDS] for each in tries] == [0, 1, 2]
    assert tries[1].attributes[semconv.ERROR_TYPE] == Unreachable("x").error_type
    assert [each.name for each in found.spans].count("pause") == 2
    assert found.spans[0].ok


async def test_a_turn_that_failed_says_so(opened: Open) -> None:
    runtime, _ = await opened(refusal(400, "no such parameter"))
    await runtime.dispatch("chat.send hi")
    found = await shown(runtime)
    assert (found.status, found.spans[0].ok) == ("failed", False)
    assert semconv.ERROR_TYPE in found.spans[0].attributes
    assert any(line.endswith("✗") for line in found.lines(80))


async def test_an_answer_that_was_stopped_ends_its_attempt(opened: Open) -> None:
    hang = ScriptedReply((delta(content="be"), asyncio.Event()))
    runtime, _ = await opened(hang)
    came = asyncio.Event()
    runtime.bus.subscribe(lambda event: came.set() if isinstance(event, TextDelta) else None)
    asking = asyncio.create_task(runtime.dispatch("chat.send hi"))
    async with asyncio.timeout(PATIENCE_S):
        await came.wait()
        await runtime.chat.stop()
        await asking
    found = await shown(runtime)
    assert found.status == "cancelled"
    assert found.spans[0].ok
    assert [each.name for each in found.spans if each.kind == "client"][1:] == ["attempt near.example:8000"]


async def test_one_that_was_stopped_before_anything_came_has_an_attempt_too(opened: Open) -> None:
    held, sent = asyncio.Event(), asyncio.Event()
    runtime, _ = await opened(ScriptedReply(before=(held,)))
    runtime.bus.subscribe(lambda event: sent.set() if isinstance(event, AttemptSent) else None)
    asking = asyncio.create_task(runtime.dispatch("chat.send hi"))
    async with asyncio.timeout(PATIENCE_S):
        await sent.wait()
        await runtime.chat.stop()
        await asking
    found = await shown(runtime)
    attempt = next(each for each in found.spans[1:] if each.kind == "client")
    assert attempt.attributes[semconv.STATUS] == "cancelled"


async def test_what_the_server_told_lies_within_what_we_saw(opened: Open) -> None:
    metrics = {"queue_time_ms": 1e6, "time_to_first_token_ms": 1e6, "generation_time_ms": 1e6}
    last = sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}, "metrics": metrics})
    runtime, _ = await opened(ScriptedReply((delta(content="ok"), delta("stop"), last, DONE)))
    await runtime.dispatch("chat.send hi")
    spans = (await shown(runtime)).spans
    attempt = next(each for each in spans[1:] if each.kind == "client")
    told = [each for each in spans if each.kind == "server"]
    assert told
    assert all(attempt.start <= each.start <= each.end <= attempt.end for each in told)


async def test_a_tool_that_is_asked_for_is_a_step_without_what_it_was_given(opened: Open) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "weather", "arguments": '{"private": 1}'}}
    runtime, _ = await opened(ScriptedReply((delta(tool_calls=[call]), delta("tool_calls"), DONE)))
    await runtime.dispatch("chat.send hi")
    found = await shown(runtime)
    tool = next(each for each in found.spans if each.attributes.get(semconv.OPERATION) == semconv.EXECUTE_TOOL)
    assert tool.name == "execute_tool weather"
    assert "private" not in repr(found)


async def test_the_log_names_trace_and_span_of_a_turn_and_of_nothing_else(opened: Open, tmp_path: Path) -> None:
    runtime, _ = await opened(chat("ok"))
    finished = await runtime.dispatch("chat.send hi")
    assert isinstance(finished, TurnFinished)
    await runtime.dispatch("session.new")
    whole = (await shown(runtime)).spans[0]
    lines = [json.loads(line) for line in (tmp_path / "logs/sophia.log").read_text("utf-8").splitlines()]
    ids = {line["event"]: (line.get("trace_id"), line.get("span_id")) for line in lines}
    assert ids["TurnStarted"] == ids["TurnFinished"] == (finished.request_id, whole.span_id)
    attempt = next(line for line in lines if line["event"] == "AttemptSent")
    assert (attempt["trace_id"], attempt["span_id"]) != (attempt["trace_id"], whole.span_id)
    assert lines[-1].get("trace_id") is None


async def test_the_slowest_come_first_and_forgetting_leaves_none(opened: Open) -> None:
    runtime, _ = await opened(chat("a"), chat("b"), chat("c"))
    for _ in range(3):
        await runtime.dispatch("chat.send hi")
    slow = await runtime.traces.list("slowest")
    assert [each.seconds for each in slow] == sorted((each.seconds for each in slow), reverse=True)
    assert len(await runtime.traces.list(limit=2)) == 2
    await runtime.run("trace.clear", confirmed=True)
    with pytest.raises(CommandError, match="No answer was traced"):
        await runtime.run("trace.show")
    with pytest.raises(CommandError, match="nothing is kept"):
        await runtime.run("trace.show", "01ABC")


async def test_off_keeps_nothing_and_tells_no_server(opened: Open) -> None:
    off = {"SOPHIA_TRACES__ENABLED": "false", "SOPHIA_TRACES__PROPAGATE": "false"}
    runtime, wire = await opened(chat("ok"), **off)
    await runtime.dispatch("chat.send hi")
    with pytest.raises(CommandError):
        await runtime.run("trace.show")
    assert all("traceparent" not in call.headers for call in wire.calls)
    assert not (runtime.paths.store_dir / "traces.db").exists()


async def test_locking_writes_what_waits_and_forgets_it(opened: Open) -> None:
    runtime, _ = await opened(chat("ok"))
    await runtime.dispatch("chat.send hi")
    await runtime.traces.forget()
    assert not runtime.traces._waiting
    assert len(await runtime.traces.list()) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[]]", '[["a"]]', "null", "[" * 5000])
def test_what_is_no_trace_is_none(text: str) -> None:
    assert spans_of(text) == ()
