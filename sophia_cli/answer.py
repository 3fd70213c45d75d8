"""Writes one answer as it arrives: as text for people and pipes, or as one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, UNANSWERED
from sophia_cli.progress import ProgressLine
from sophia_core.events import (
    AttemptFailed,
    ComparisonStarted,
    EmbeddedProgressed,
    Event,
    FailedOver,
    Notice,
    ReasoningDelta,
    RouteChosen,
    StoreStateChanged,
    TextDelta,
    ToolCalled,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from sophia_core.present import when
from sophia_core.sanitize import StreamSanitizer

QUEUED: Final = "It waits: the app asks it by itself when it is next open. `sophia run outbox.list` lists what waits."

_TOOL_SAYS: Final[Mapping[str, str]] = {
    "asking": "the model wants to use the tool {}; `sophia approvals` tells how to allow it",
    "running": "the model uses the tool {}",
    "refused": "the tool was not run: {}",
    "failed": "the tool failed: {}",
}


def exit_code(finished: TurnFinished) -> int:
    """0 for a whole answer; 4 when no provider began one; 1 for one that stopped short."""
    if finished.status == "complete":
        return OK
    return UNANSWERED if finished.status in ("failed", "queued") and finished.provider is None else FAILED


class Compared:
    """Knows which answers stream beside one another: mixed up piece by piece nobody could read them. What the command
    returns has both."""

    def __init__(self) -> None:
        self._ids: frozenset[str] = frozenset()

    def hides(self, event: Event) -> bool:
        """Whether it is about one of two answers that are compared."""
        if isinstance(event, ComparisonStarted):
            self._ids = frozenset((event.left_id, event.right_id))
        return bool(self._ids) and getattr(event, "answer_id", None) in self._ids


class TextAnswer:
    """The answer on stdout as it comes; everything else on stderr."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self.finished: TurnFinished | None = None
        self._console = console
        self._chatty = verbose or console.err_stream.terminal
        self._progress = ProgressLine(console)
        self._safe, self._thoughts = StreamSanitizer(), StreamSanitizer()
        self._written = 0
        self._line_open = self._reasoning = False
        self._compared = Compared()

    def __call__(self, event: Event) -> None:
        if self._compared.hides(event):
            return
        match event:
            case TurnStarted(prefix=prefix):
                self.finished, self._written = None, 0
                self._safe, self._thoughts = StreamSanitizer(), StreamSanitizer()
                self._write(prefix)
            case TextDelta(text=text):
                self._write(text)
            case ReasoningDelta(text=text) if self._chatty:
                self._think(text)
            case EmbeddedProgressed(stage, fraction, detail) if self._chatty:
                self._progress.show(stage, fraction, detail)
            case AttemptFailed(retrying=True) if self._chatty and event.wait_s > 0:
                self._say(f"{event.error}; trying again in {event.wait_s:.1f} s")
            case RouteChosen(cached_at=int(at)) if self._chatty:
                self._say(f"this answer is from {when(at)}", "`--fresh` asks again.")
            case FailedOver() if self._chatty:
                self._say(f"{event.failed} cannot answer ({event.reason}); {event.provider} is asked instead")
            case ToolCalled() if words := _TOOL_SAYS.get(event.status):
                self._say(words.format(f"{event.name} {event.arguments}".strip()))
            case Notice() if self._chatty or event.level != "info":
                self._say(event.text, event.hint)
            case StoreStateChanged(state="full"):
                self._say(f"the answer cannot be saved: {event.detail}", event.hint)
            case TurnFinished():
                self._finish(event)

    def failed(self, message: str, hint: str) -> None:
        """Says why there is no answer."""
        self._say(message, hint)

    def cancelled(self) -> None:
        """Leaves the screen tidy when everything was stopped."""
        self.tidy()

    def tidy(self) -> None:
        """Takes away what is only there for the moment."""
        self._progress.clear()

    def _write(self, text: str) -> None:
        if not text:
            return
        self._progress.clear()
        self._end_reasoning()
        self._written += len(text)
        shown = self._safe.feed(text) if self._console.out_stream.terminal else text
        self._console.out_raw(shown)
        self._line_open = not text.endswith("\n")

    def _think(self, text: str) -> None:
        self._progress.clear()
        self._reasoning = True
        self._console.err_raw(self._console.dim(self._thoughts.feed(text)))

    def _end_reasoning(self) -> None:
        if self._reasoning:
            self._reasoning = False
            self._console.err_raw("\n\n")

    def _say(self, message: str, hint: str = "") -> None:
        self._progress.clear()
        self._end_reasoning()
        if self._line_open and self._console.out_stream.terminal:
            self._console.out_raw("\n")
            self._line_open = False
        self._console.say(message, hint)

    def _finish(self, event: TurnFinished) -> None:
        self.finished = event
        self._write(event.text[self._written :])
        self._progress.clear()
        self._end_reasoning()
        if self._line_open:
            self._console.out_raw("\n")
            self._line_open = False
        if event.error:
            short = "the answer stopped short: " if event.status == "partial" else ""
            self._say(f"{short}{event.error}", _hint(event))


def _hint(finished: TurnFinished) -> str:
    return QUEUED if finished.status == "queued" else finished.hint or ""


class JsonAnswer:
    """Everything that happens on stdout, one JSON object a line; the last one of a turn is `finished`."""

    def __init__(self, console: Console) -> None:
        self.finished: TurnFinished | None = None
        self.unsaved = False
        """Set when the store is not the lasting one, so that no session id is given out that nobody can open."""
        self._console = console
        self._written = 0
        self._compared = Compared()

    def __call__(self, event: Event) -> None:
        if self._compared.hides(event):
            return
        if self.finished is not None and not isinstance(event, TurnStarted):
            self._afterwards(event)
            return
        match event:
            case TurnStarted(prefix=prefix):
                self.finished, self._written = None, 0
                self._delta(prefix)
            case TextDelta(text=text):
                self._delta(text)
            case ReasoningDelta(text=text):
                self._line("reasoning", text=text)
            case ToolCalled() if event.status != "waiting":
                told = {"name": event.name, "arguments": event.arguments, "status": event.status}
                self._line("tool", index=event.index, **told)
            case RouteChosen():
                self._line("route", provider=event.provider, model=event.model, attempt=event.attempt)
            case EmbeddedProgressed():
                self._line("progress", stage=event.stage, fraction=event.fraction, detail=event.detail)
            case FailedOver():
                self._line("failover", failed=event.failed, provider=event.provider, reason=event.reason)
            case AttemptFailed(retrying=True) if event.wait_s > 0:
                self._line("notice", level="info", text=event.error, hint=f"Trying again in {event.wait_s:.1f} s.")
            case Notice():
                self._line("notice", level=event.level, text=event.text, hint=event.hint)
            case StoreStateChanged(state="full"):
                self._line("notice", level="error", text=f"The answer cannot be saved: {event.detail}", hint=event.hint)
            case TurnFinished():
                self._finish(event)

    def _afterwards(self, event: Event) -> None:
        """`finished` is the last line of a turn; what still has to be said goes to stderr."""
        if isinstance(event, Notice) and event.level != "info":
            self._console.say(event.text, event.hint)

    def failed(self, message: str, hint: str) -> None:
        """Says why there is no answer, here and on stderr."""
        self._console.say(message, hint)
        self._end("failed", message, hint)

    def cancelled(self) -> None:
        """Ends the lines with `finished`, also when it was stopped before a turn began."""
        self._end("cancelled", None, None)

    def tidy(self) -> None:
        """Nothing is only there for the moment here."""

    def _end(self, status: TurnStatus, error: str | None, hint: str | None) -> None:
        if self.finished is None:
            self._finish(TurnFinished("", "", "", "", status, error=error, hint=hint))

    def _delta(self, text: str) -> None:
        if text:
            self._written += len(text)
            self._line("delta", text=text)

    def _finish(self, event: TurnFinished) -> None:
        self.finished = event
        self._delta(event.text[self._written :])
        usage = {
            "prompt_tokens": event.prompt_tokens,
            "completion_tokens": event.completion_tokens,
            "cost_usd": event.cost_usd,
        }
        trouble = {"error": event.error, "hint": _hint(event)} if event.error else {}
        self._line(
            "finished",
            text=event.text,
            status=event.status,
            provider=event.provider,
            model=event.model,
            request_id=event.request_id or None,
            session=None if self.unsaved else event.session_id or None,
            cached_at=event.cached_at,
            usage=usage,
            **trouble,
        )

    def _line(self, kind: str, **values: object) -> None:
        # ASCII only: safe on any terminal, in any locale, and for readers that split lines at U+2028 or U+0085.
        self._console.out_raw(json.dumps({"type": kind, **values}) + "\n")
