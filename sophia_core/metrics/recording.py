"""One turn as spans, from what is told of it: waiting, attempts, the first token, the stream, tools. No IO.

What is told comes when it happens, so the time of hearing it is the time of it; durations that are told with it place
what went before. Nothing that was asked or answered is ever taken down.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from sophia_core.metrics import semconv
from sophia_core.metrics.ports import Span
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.types import ServerTimes
    from sophia_core.events import AnswerEnded, AttemptFailed, AttemptSent, ToolCalled, TurnFinished, TurnStarted

Value: TypeAlias = str | int | float | bool
SpanKind: TypeAlias = Literal["internal", "client", "server"]
MOST_SPANS: Final = 200
"""Of one turn: one that is tried again without an end fills no store."""
LONGEST: Final = 120
"""Characters of a name that came from outside."""
SHOWN_S: Final = 0.001
"""Waiting that was shorter has no span of its own."""
TOOL_OVER: Final = frozenset({"complete", "failed", "refused"})
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


@dataclass(slots=True)
class _Open:
    """A span that has begun."""

    span_id: str
    name: str
    start: float
    attributes: dict[str, Value] = field(default_factory=dict)


class Recording:
    """The spans of one turn so far. `clock` tells seconds since the epoch and never goes back."""

    def __init__(self, started: TurnStarted, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.session_id, self.answer_id, self.request_id = started.session_id, started.answer_id, started.request_id
        self.trace_id = started.request_id if _TRACE_ID.fullmatch(started.request_id) else os.urandom(16).hex()
        self.span_id = os.urandom(8).hex()
        """Of the whole turn."""
        self.start = self._mark = clock()
        self._persona = started.persona
        self._spans: list[Span] = []
        self._attempt: _Open | None = None
        self._attempt_request = ""
        self._tools: dict[int, _Open] = {}
        self._asking: dict[int, float] = {}
        """Since when a person is waited for, by call."""
        self._cached_tokens: int | None = None
        self.dropped = 0
        """Spans that were too many."""

    def sent(self, event: AttemptSent) -> None:
        """An attempt goes out."""
        now = self._clock()
        ready_at = now - event.readied_s
        provider = one_line(event.provider, LONGEST)
        self._waited(f"queue {provider}", ready_at - event.queued_s, ready_at, provider)
        self._waited(f"make ready {provider}", ready_at, now, provider)
        attributes = _where(event.address) | {semconv.PROVIDER: provider, semconv.HTTP_RESENDS: event.attempt - 1}
        if event.model:
            attributes[semconv.REQUEST_MODEL] = one_line(event.model, LONGEST)
        self._attempt = _Open(event.span_id, f"attempt {provider}", now, attributes)
        self._attempt_request = event.request_id

    def failed(self, event: AttemptFailed) -> None:
        """It came to nothing, before any content."""
        now, attempt = self._clock(), self._attempt
        if attempt is None or self._attempt_request != event.request_id:
            provider = one_line(event.provider, LONGEST)
            attempt = _Open(os.urandom(8).hex(), f"attempt {provider}".strip(), self._mark)
            attempt.attributes |= {semconv.PROVIDER: provider} if provider else {}
        if event.error_type:
            attempt.attributes[semconv.ERROR_TYPE] = event.error_type
        if event.status is not None:
            attempt.attributes[semconv.HTTP_STATUS] = event.status
        self._close_attempt(attempt, now, ok=False)
        if event.retrying and event.wait_s >= SHOWN_S:
            self._add("pause", now, now + event.wait_s)

    def ended(self, event: AnswerEnded) -> None:
        """The answer of this attempt is over."""
        now, attempt = self._clock(), self._attempt
        if attempt is None or self._attempt_request != event.request_id:
            return
        first = min(attempt.start + event.first_token_s, now)
        parent = attempt.span_id
        self._add("first token", attempt.start, first, parent=parent)
        for name, begin, end in server_stretches(event.times, attempt.start, first, now):
            self._add(name, begin, end, {semconv.TOLD_BY: "server"}, parent=parent, kind="server")
        self._add("stream", first, now, parent=parent)
        attempt.attributes[semconv.TIME_TO_FIRST_CHUNK] = round(event.first_token_s, 6)
        if event.accepted_s is not None:
            attempt.attributes[semconv.ACCEPTED_S] = round(event.accepted_s, 6)
        if event.error_type:
            attempt.attributes[semconv.ERROR_TYPE] = event.error_type
        if event.times is not None and event.times.cached_tokens is not None:
            self._cached_tokens = event.times.cached_tokens
        self._close_attempt(attempt, now, ok=event.outcome != "failed")

    def tool(self, event: ToolCalled) -> None:
        """A tool is asked for; heard again as more of it arrives."""
        tool = self._tools.get(event.index)
        if tool is None:
            if len(self._tools) + len(self._spans) >= MOST_SPANS:
                return
            tool = self._tools[event.index] = _Open(os.urandom(8).hex(), "", self._clock())
        if not tool.name and event.name:
            name = one_line(event.name, LONGEST)
            tool.name = f"{semconv.EXECUTE_TOOL} {name}"
            tool.attributes = {semconv.OPERATION: semconv.EXECUTE_TOOL, semconv.TOOL_NAME: name}
        self._asks(event, tool)
        if event.status in TOOL_OVER:
            del self._tools[event.index]
            self._close_tool(tool, event.status, ok=event.status != "failed")

    def _asks(self, event: ToolCalled, tool: _Open) -> None:
        """How long a person was waited for is a stretch of its own within the call."""
        if event.status == "asking":
            self._asking.setdefault(event.index, self._clock())
        elif (since := self._asking.pop(event.index, None)) is not None:
            self._add("waits for a person", since, self._clock(), parent=tool.span_id)

    def finish(self, event: TurnFinished) -> tuple[Span, ...]:
        """The turn is over: all its spans, the whole turn first."""
        now = self._clock()
        if self._attempt is not None:  # it was given up before anything came of it
            self._attempt.attributes[semconv.STATUS] = event.status
            self._close_attempt(self._attempt, now, ok=event.status != "failed")
        for tool in self._tools.values():
            self._close_tool(tool, event.status, ok=event.status == "complete")
        self._tools.clear()
        model = one_line(event.model or "", LONGEST)
        ok = event.status not in ("failed", "interrupted", "partial")
        name = f"{semconv.CHAT} {model}".strip()
        whole = Span(self.trace_id, self.span_id, "", name, self.start, now, ok, self._about(event, model), "client")
        spans = sorted(self._spans, key=lambda span: span.start)
        return (whole, *(_within(each, now) for each in spans))

    def _about(self, event: TurnFinished, model: str) -> dict[str, Value]:
        told: dict[str, Value | None] = {
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: one_line(event.provider or "", LONGEST) or None,
            semconv.RESPONSE_MODEL: model or None,
            semconv.REQUEST_STREAM: True,
            semconv.CONVERSATION: self.session_id,
            semconv.AGENT_NAME: self._persona,
            semconv.ANSWER: self.answer_id,
            semconv.REQUEST_ID: self.request_id,
            semconv.STATUS: event.status,
            semconv.FINISH_REASONS: event.finish_reason,
            semconv.TIME_TO_FIRST_CHUNK: None if event.first_token_s is None else round(event.first_token_s, 6),
            semconv.INPUT_TOKENS: event.prompt_tokens,
            semconv.OUTPUT_TOKENS: event.completion_tokens,
            semconv.CACHE_READ_TOKENS: self._cached_tokens,
            semconv.COST_USD: event.cost_usd,
            semconv.CACHED: True if event.cached_at is not None else None,
            semconv.ERROR_TYPE: event.error_type,
        }
        return {name: value for name, value in told.items() if value is not None}

    def _waited(self, name: str, start: float, end: float, provider: str) -> None:
        if end - start >= SHOWN_S:
            self._add(name, max(start, self.start), end, {semconv.PROVIDER: provider})

    def _close_attempt(self, attempt: _Open, now: float, *, ok: bool) -> None:
        self._keep(attempt.span_id, self.span_id, attempt.name, attempt.start, now, ok, attempt.attributes, "client")
        self._attempt, self._mark = None, now

    def _close_tool(self, tool: _Open, status: str, *, ok: bool) -> None:
        tool.attributes[semconv.STATUS] = status
        name = tool.name or semconv.EXECUTE_TOOL
        self._keep(tool.span_id, self.span_id, name, tool.start, self._clock(), ok, tool.attributes, "internal")

    def _add(
        self,
        name: str,
        start: float,
        end: float,
        attributes: dict[str, Value] | None = None,
        *,
        parent: str = "",
        kind: SpanKind = "internal",
    ) -> None:
        self._keep(os.urandom(8).hex(), parent or self.span_id, name, start, end, True, attributes or {}, kind)

    def _keep(
        self,
        span_id: str,
        parent: str,
        name: str,
        start: float,
        end: float,
        ok: bool,
        attributes: dict[str, Value],
        kind: SpanKind,
    ) -> None:
        if len(self._spans) >= MOST_SPANS:
            self.dropped += 1
            return
        self._spans.append(Span(self.trace_id, span_id, parent, name, start, max(start, end), ok, attributes, kind))


def server_stretches(
    times: ServerTimes | None, start: float, first: float, end: float
) -> list[tuple[str, float, float]]:
    """What a server told of its own time, placed between sending, first token and end as we saw them.

    Its clock is not ours: what it took until the first token lies in the middle of what we waited for it, as the way
    there and the way back are about as long. Nothing is placed outside of what we saw.
    """
    if times is None:
        return []
    before = [("server queue", times.queue_s or 0.0), ("server prompt", _prompt_s(times))]
    at = start + max(0.0, first - start - sum(took for _, took in before)) / 2
    found = []
    for name, took in [*before, ("server generation", times.generation_s or 0.0)]:
        if name == "server generation":
            at = max(at, min(first, end - took))
        until = min(at + took, end)
        if until > at:
            found.append((name, at, until))
        at = until
    return found


def _prompt_s(times: ServerTimes) -> float:
    if times.prompt_s is not None:
        return times.prompt_s
    return 0.0 if times.first_token_s is None else max(0.0, times.first_token_s - (times.queue_s or 0.0))


def _within(span: Span, end: float) -> Span:
    """A pause that was cut short ends with the turn."""
    if span.end <= end:
        return span
    return Span(
        span.trace_id, span.span_id, span.parent_id, span.name, span.start, end, span.ok, span.attributes, span.kind
    )


def _where(address: str) -> dict[str, Value]:
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    host = one_line(parts.hostname or "", LONGEST)
    return {semconv.SERVER_ADDRESS: host, semconv.SERVER_PORT: port} if host else {}
