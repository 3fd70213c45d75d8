"""The JSON log: one object a line, with the id of the user action it belongs to, and no secret in it.

The log is a listener like any other: it turns events into lines, so that no other module knows about logging.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import logging
import logging.handlers
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sophia_core.events import (
    AnswerGrew,
    AttemptFailed,
    BreakerChanged,
    ChangedElsewhere,
    Event,
    FailedOver,
    LevelMeasured,
    LoginNeeded,
    Notice,
    ReasoningDelta,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
)

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

REDACTED = "•••"
_LOOKS_SECRET = re.compile(r"(?i)\b(bearer\s+)\S+|\b(sk|xi|pk|hf|gh[pousr])[-_][A-Za-z0-9_-]{8,}")
_OF_A_REQUEST = re.compile(r"(?:-r\d+)?(?:-a\d+)?\Z")
_NEVER_LOGGED = frozenset({"text", "question", "prefix", "arguments", "attached", "sentence", "partial"})
correlation: contextvars.ContextVar[str] = contextvars.ContextVar("correlation", default="")


class Here:
    """The trace and the span that what is logged belongs to, until it is over."""

    __slots__ = ("span_id", "trace_id")

    def __init__(self, trace_id: str, span_id: str) -> None:
        self.trace_id, self.span_id = trace_id, span_id

    def leave(self) -> None:
        """It is over: what is logged later in the same context belongs to none."""
        self.trace_id = self.span_id = ""


here: contextvars.ContextVar[Here | None] = contextvars.ContextVar("here", default=None)


def new_request_id() -> str:
    """A random id for one user action: 32 hex digits, so that it is a W3C trace id as well."""
    return secrets.token_hex(16)


def turn_of(request_id: str) -> str:
    """The action's id, of a request that was made for it: without the numbers of the round and of the attempt."""
    return _OF_A_REQUEST.sub("", request_id)


def traceparent(request_id: str) -> str:
    """The W3C `traceparent` header that carries this action's id to a server."""
    return f"00-{request_id}-{secrets.token_hex(8)}-01"


def redact(value: object) -> object:
    """The value with every secret in it replaced: by type first, by look as a second belt."""
    if hasattr(value, "get_secret_value") or hasattr(value, "reveal"):
        return REDACTED
    if isinstance(value, str):
        return _LOOKS_SECRET.sub(lambda match: (match[1] or "") + REDACTED, value)
    if isinstance(value, dict):
        return {str(key): redact(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(each) for each in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return redact(str(value))


def _redact_all(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: redact(value) for key, value in line.items()}


def _add_correlation(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := correlation.get():
        line.setdefault("request_id", request_id)
    if (place := here.get()) is not None and place.trace_id:
        line.setdefault("trace_id", place.trace_id)
        line.setdefault("span_id", place.span_id)
    return line


class _PrivateFile(logging.handlers.RotatingFileHandler):
    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A full disk must not reach the screen through the log: the line is lost, the app goes on."""


class Log:
    """Writes events and lines of its own to the log file. Constructing it never fails: a log that cannot be
    written is reported through `problem` and its lines are dropped."""

    def __init__(self, path: Path, level: str = "info", max_bytes: int = 5_000_000) -> None:
        self.problem: str | None = None
        self._handler: logging.Handler = logging.NullHandler()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handler = _PrivateFile(path, maxBytes=max_bytes, backupCount=3, delay=False)
        except OSError as error:
            self.problem = f"The log {str(path)!r} cannot be written: {error.strerror}."
        self._logger = _structured(self._handler, getattr(logging, level.upper()))

    def line(self, name: str, values: Mapping[str, object], level: str = "info") -> None:
        """Writes one line of its own."""
        renamed = {("service_level" if key == "level" else key): value for key, value in values.items()}
        self._logger.log(getattr(logging, level.upper()), name, **renamed)

    def __call__(self, event: Event) -> None:
        """Listens to the bus. Deltas are not logged, and nothing a person or a model said is."""
        if isinstance(event, TextDelta | ReasoningDelta | AnswerGrew | ChangedElsewhere | LevelMeasured):
            return
        values = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name not in _NEVER_LOGGED}
        level = "info"
        if isinstance(event, Notice):
            level = values.pop("level")
            values["text"] = event.text
        elif (
            isinstance(event, AttemptFailed | FailedOver | LoginNeeded)
            or (isinstance(event, TurnFinished) and event.error)
            or (isinstance(event, BreakerChanged) and event.state == "open")
        ):
            level = "warning"
        elif isinstance(event, StoreStateChanged) and event.state in ("full", "failed"):
            level = "error"
        self.line(type(event).__name__, values, level)

    def close(self) -> None:
        self._handler.close()


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Imports inside do not bring this module along."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # an import of it fails
    try:
        yield
    finally:
        del sys.modules[module]


def _structured(handler: logging.Handler, level: int) -> FilteringBoundLogger:
    # structlog's pretty tracebacks: 20 ms and 3 MB for what JSON lines do not have.
    with _without("rich.traceback"), _without("rich.pretty"):
        import structlog

    sink = logging.Logger("sophia", level)
    sink.addHandler(handler)
    logger: FilteringBoundLogger = structlog.wrap_logger(
        sink,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            _add_correlation,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact_all,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        context_class=dict,
    )
    return logger
