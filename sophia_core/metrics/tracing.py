"""Traces: listens to what happens, keeps the spans of each turn, and shows where its time went."""

from __future__ import annotations

import asyncio
import builtins
import json
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from local_store.errors import NotFound, StoreError
from sophia_core.commands import CommandError, command
from sophia_core.events import (
    AnswerEnded,
    AttemptFailed,
    AttemptSent,
    Bus,
    Event,
    Notice,
    SettingChanged,
    StoreStateChanged,
    ToolCalled,
    TurnFinished,
    TurnStarted,
)
from sophia_core.logs import Here, here, turn_of
from sophia_core.metrics import waterfall
from sophia_core.metrics.ports import Span
from sophia_core.metrics.recording import Recording
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store.traces import KeptTrace
    from sophia_core.metrics.otlp import Exporter
    from sophia_core.metrics.trace_settings import TraceSettings
    from sophia_core.vault import Vault

MOST_OPEN: Final = 64
"""Turns at once; what is beyond them was never ended by whoever began it."""
MOST_WAITING: Final = 50
"""Traces that wait in memory for a store that takes nothing now."""
TOGETHER_S: Final = 1.0
"""How long a trace waits for others to be written with, and for the screen to be done with the answer."""
DAY_MS: Final = 86_400_000
MOST_LISTED: Final = 100_000
LAST: Final = "last"
Order = Literal["latest", "slowest"]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Where the time of one turn went."""

    answer: str
    name: str
    """Who answered."""
    status: str
    started_at: int
    trace: str
    """The trace's id, as servers and collectors know it."""
    spans: tuple[Span, ...]

    def lines(self, width: int, *, ascii_only: bool = False) -> builtins.list[str]:
        """A line for each span, cut to this many cells."""
        return waterfall.text(self.spans, width, ascii_only=ascii_only)

    def in_words(self) -> str:
        """A sentence for each span, for who does not see bars."""
        return "\n".join(waterfall.spoken(self.spans))

    def __str__(self) -> str:
        return "\n".join(self.lines(shutil.get_terminal_size((100, 24)).columns))


@dataclass(frozen=True, slots=True)
class Timing:
    """A turn in the list of traces."""

    answer: str
    name: str
    status: str
    started_at: int
    seconds: float
    first_token: float | None
    """Seconds until the first token."""


def wall_clock() -> Callable[[], float]:
    """A clock of seconds since the epoch that goes on evenly from now, whatever is done to the machine's."""
    since = time.time() - time.perf_counter()
    return lambda: since + time.perf_counter()


class Traces:
    """Hears the bus; costs nothing per token, and one small write per turn, after it."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        settings: TraceSettings,
        env: Mapping[str, str],
        clock: Callable[[], Callable[[], float]] = wall_clock,
    ) -> None:
        """`clock` gives the clock of one turn."""
        self._vault, self._bus, self._settings, self._env, self._new_clock = vault, bus, settings, env, clock
        self.enabled = settings.enabled
        self._open: OrderedDict[str, Recording] = OrderedDict()
        """The turns that go on, by request."""
        self._answers: dict[str, Recording] = {}
        self._here: dict[str, Here] = {}
        self._waiting: OrderedDict[str, KeptTrace] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._exporter: Exporter | None = None
        self._heard: dict[type, Callable[[Any], None]] = {
            TurnStarted: self._started,
            AttemptSent: self._sent,
            AttemptFailed: self._failed,
            AnswerEnded: self._ended,
            ToolCalled: self._tool,
            TurnFinished: self._finished,
            SettingChanged: self._set,
            StoreStateChanged: self._store_changed,
        }

    def __call__(self, event: Event) -> None:
        if (hear := self._heard.get(type(event))) is not None:
            hear(event)

    # What is told

    def _started(self, event: TurnStarted) -> None:
        if not self.enabled and not self._settings.otlp_endpoint:
            return
        while len(self._open) >= MOST_OPEN:
            self._forget(next(iter(self._open.values())))
        recording = Recording(event, self._new_clock())
        self._open[event.request_id] = self._answers[event.answer_id] = recording
        place = self._here[event.answer_id] = Here(recording.trace_id, recording.span_id)
        here.set(place)

    def _sent(self, event: AttemptSent) -> None:
        if recording := self._of(event.request_id):
            recording.sent(event)

    def _failed(self, event: AttemptFailed) -> None:
        if recording := self._of(event.request_id):
            recording.failed(event)

    def _ended(self, event: AnswerEnded) -> None:
        if recording := self._of(event.request_id):
            recording.ended(event)

    def _tool(self, event: ToolCalled) -> None:
        if recording := self._answers.get(event.answer_id):
            recording.tool(event)

    def _finished(self, event: TurnFinished) -> None:
        recording = self._answers.get(event.answer_id)
        if recording is None:
            return
        self._forget(recording)
        spans = recording.finish(event)
        if self._settings.otlp_endpoint:
            self._export(spans)
        if self.enabled:
            self._keep(kept(recording, event, spans))

    def _set(self, event: SettingChanged) -> None:
        if event.name == "traces.enabled":
            self.enabled = event.after != "false"

    def _store_changed(self, event: StoreStateChanged) -> None:
        if event.state == "open":
            self._write_soon()

    def _of(self, request_id: str) -> Recording | None:
        """The turn of an attempt: its request's id with a suffix."""
        return self._open.get(turn_of(request_id))

    def _forget(self, recording: Recording) -> None:
        self._open.pop(recording.request_id, None)
        self._answers.pop(recording.answer_id, None)
        if place := self._here.pop(recording.answer_id, None):
            asyncio.get_running_loop().call_soon(place.leave)  # after those who listen behind us

    # Keeping

    def _keep(self, trace: KeptTrace) -> None:
        self._waiting[trace.answer_id] = trace
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_S, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="traces")

    async def _write(self) -> None:
        """Writes what waits, together; a store that takes nothing now gets it another time."""
        while self._waiting and (store := self._vault.store) is not None:
            if store.read_only:
                return
            traces = dict(self._waiting)
            self._waiting.clear()
            try:
                await store.traces.add(*traces.values(), turns=self._settings.keep_turns, days=self._settings.keep_days)
            except StoreError:
                self._waiting = OrderedDict(traces | self._waiting)
                return

    async def written(self) -> None:
        """Waits until the store has everything, or takes no more now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._write()

    async def forget(self) -> None:
        """Lets go of what is in memory: the store is being locked."""
        await self.written()
        self._waiting.clear()

    async def close(self) -> None:
        """Writes and tells what waits. Before the store is closed."""
        await self.written()
        if self._exporter is not None:
            await self._exporter.close()

    # Telling a collector

    def _export(self, spans: Sequence[Span]) -> None:
        if self._exporter is None:
            from sophia_core.metrics.otlp import Exporter

            settings, loop = self._settings, asyncio.get_running_loop()
            headers = self._env.get(settings.otlp_headers_env or "", "")
            self._exporter = Exporter(
                settings.otlp_endpoint or "",
                headers,
                old_names=settings.names == "old",
                tell=lambda text, hint: loop.call_soon_threadsafe(self._bus.publish, Notice("warning", text, hint)),
            )
        self._exporter.put(spans)

    # Commands

    @command("trace.show", slash="trace")
    async def show(self, answer: str = LAST) -> Waterfall:
        """Show where the time of an answer went: waiting, attempts, the first token, the stream, the server's part."""
        found = await self.get(answer)
        return Waterfall(
            found.answer_id, found.name, found.status, found.started_at, found.trace_id, spans_of(found.spans)
        )

    async def get(self, answer: str = LAST) -> KeptTrace:
        """What is kept of an answer, or of the last one. Raises CommandError, StoreError."""
        await self.written()
        traces = (await self._vault.get()).traces
        if answer == LAST:
            latest = await traces.list(limit=1)
            if not latest:
                raise CommandError("No answer was traced yet.", self._why_none())
            answer = latest[0].answer_id
        try:
            return await traces.get(answer)
        except NotFound as error:
            raise CommandError(f"{error.message}.", error.hint or self._why_none()) from None

    @command("trace.list")
    async def list(self, order: Order = "latest", *, limit: int = 20, days: int = 30) -> builtins.list[Timing]:
        """List the answers of the last days by when they began, or the slowest first."""
        await self.written()
        traces = (await self._vault.get()).traces
        since = time.time_ns() // 1_000_000 - max(0, days) * DAY_MS
        return [_timing(each) for each in await traces.list(order, min(limit, MOST_LISTED), max(0, since))]

    async def _any_kept(self) -> None:
        await self.written()
        if not await (await self._vault.get()).traces.list("latest", 1):
            raise CommandError("No traces are kept.", self._why_none())

    @command("trace.clear", dangerous=True, check=_any_kept)
    async def clear(self) -> str:
        """Forget how long the steps of every answer took."""
        await self.written()
        count = await (await self._vault.get()).traces.clear()
        self._waiting.clear()
        return f"The traces of {count} answer{'' if count == 1 else 's'} are gone."

    def _why_none(self) -> str:
        return "Ask something first." if self.enabled else "`settings.set traces.enabled true` begins it."


def kept(recording: Recording, event: TurnFinished, spans: Sequence[Span]) -> KeptTrace:
    """A turn's spans as the store keeps them."""
    from local_store.traces import LONGEST, KeptTrace

    model, provider = one_line(event.model or "", 120), one_line(event.provider or "", 120)
    name = f"{model}@{provider}" if model and provider else model or provider
    return KeptTrace(
        recording.answer_id,
        recording.session_id,
        recording.trace_id,
        name,
        event.status,
        int(recording.start * 1000),
        round(spans[0].end - spans[0].start, 6),
        None if event.first_token_s is None else round(event.first_token_s, 6),
        _fitting(spans, LONGEST),
    )


def _fitting(spans: Sequence[Span], longest: int) -> str:
    """The text of as many of them as may be kept: names that servers give to tools may be long, and many."""
    text = as_text(spans)
    while len(text) > longest and len(spans) > 1:
        spans = spans[: len(spans) // 2]
        text = as_text(spans)
    return text


def as_text(spans: Sequence[Span]) -> str:
    """Spans as a text that `spans_of` reads."""
    rows = [
        (s.trace_id, s.span_id, s.parent_id, s.name, round(s.start, 6), round(s.end, 6), s.ok, s.attributes, s.kind)
        for s in spans
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def spans_of(text: str) -> tuple[Span, ...]:
    """The spans of a text; none where it is not one of ours."""
    try:
        return tuple(Span(*row) for row in json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return ()


def _timing(each: KeptTrace) -> Timing:
    first = None if each.first_token_s is None else round(each.first_token_s, 3)
    return Timing(each.answer_id, each.name, each.status, each.started_at, round(each.duration_s, 3), first)
