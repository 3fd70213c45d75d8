"""Spans and numbers for a collector, over OTLP/HTTP. A thread encodes and sends them, so that nobody waits for it.

The official libraries are loaded by that thread when the first of them comes; without the `otlp` extra one sentence
says so, and nothing else happens.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from backend_client.address import is_loopback, origin
from sophia_core.metrics import semconv
from sophia_core.metrics.ports import Span
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

Tell = Callable[[str, str], object]
Send = Callable[[Sequence[Any]], str]
"""Sends spans, or what else is told; returns why it could not, or nothing."""
MOST_WAITING: Final = 4096
"""Spans that wait for a collector; what is beyond them is dropped."""
MOST_AT_ONCE: Final = 512
TIMEOUT_S: Final = 10.0
PLAIN_HEADERS: Final = frozenset(
    ("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent")
)
"""What every request says."""
LEAVING_S: Final = 1.0
"""How long the end of the app waits for the collector."""
REST_S: Final = 30.0
"""How long a collector that fails is left alone."""
INSTANCE: Final = os.urandom(16).hex()
"""Tells apps apart that run beside each other; chance, and another one each time."""
MISSING: Final = "pip install 'sophia[otlp]' adds what it takes."


@dataclass(frozen=True, slots=True)
class Signal:
    """What a collector is told of."""

    what: str
    path: str
    setting: str
    most_waiting: int = MOST_WAITING
    most_at_once: int = MOST_AT_ONCE


TRACES: Final = Signal("traces", "/v1/traces", "traces.otlp_endpoint")


class Exporter:
    """Takes spans at once and sends them later. What cannot be sent is dropped, and said once until it works again."""

    def __init__(
        self,
        endpoint: str,
        headers: str = "",
        *,
        old_names: bool = False,
        tell: Tell,
        clock: Callable[[], float] = time.monotonic,
        make: Callable[[str, Mapping[str, str], bool], Send] | None = None,
        signal: Signal = TRACES,
    ) -> None:
        """`headers` is `name=value,name=value`; `tell` is called from the thread."""
        self._signal, self._old_names = signal, old_names
        self._address, self._headers = address_of(endpoint, signal.path), headers_of(headers)
        self._tell, self._clock, self._make = tell, clock, make or sender
        self._waiting: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failing = self._closed = False
        self._rest_until = 0.0
        self._held = 0
        self._lock = threading.Lock()
        self.dropped = 0
        """Spans that nobody got."""

    def put(self, spans: Sequence[Any]) -> None:
        """Takes the spans of one turn, or what else is told; returns at once."""
        with self._lock:
            if self._closed or self._held + len(spans) > self._signal.most_waiting or self._clock() < self._rest_until:
                self.dropped += len(spans)
                return
            self._held += len(spans)
        self._waiting.put(tuple(spans))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Sends what waits, for a short while, and ends the thread."""
        with self._lock:
            self._closed = True
        if self._thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join, LEAVING_S)

    def _run(self) -> None:
        try:
            send = self._make(self._address, self._headers, self._old_names)
        except ImportError:
            what = self._signal.what.capitalize()
            self._fail(f"{what} cannot be sent: the library for it is not installed.", MISSING)
            self._rest_until = float("inf")
            return
        over = False
        while not over:
            batch, over = self._gathered()
            if batch:
                self._send(send, batch)

    def _gathered(self) -> tuple[list[Any], bool]:
        """What waits, up to one message of it; and whether it was the last."""
        batch: list[Any] = []
        while True:
            try:
                spans = self._waiting.get(block=not batch)
            except queue.Empty:
                return batch, False
            if spans is None:
                return batch, True
            batch += spans
            if len(batch) >= self._signal.most_at_once:
                return batch, False

    def _send(self, send: Send, batch: Sequence[Any]) -> None:
        try:
            trouble = send(batch)
        except Exception as error:  # a library's mistake ends no app
            trouble = type(error).__name__
        with self._lock:
            self._held -= len(batch)
            self.dropped += len(batch) if trouble else 0
        if not trouble:
            self._failing, self._rest_until = False, 0.0
            return
        self._rest_until = self._clock() + REST_S
        what = self._signal.what
        self._fail(
            f"The collector at {origin(self._address)} takes no {what}: {one_line(trouble, 120)}.",
            f"Look at `{self._signal.setting}`; the {what} of this machine are kept all the same.",
        )

    def _fail(self, text: str, hint: str) -> None:
        if not self._failing and not self._closed:
            self._failing = True
            self._tell(text, hint)


def address_of(endpoint: str, path: str = TRACES.path) -> str:
    """Where spans go: the endpoint's own path, or the usual one below it."""
    endpoint = endpoint.strip()
    own = urlsplit(endpoint).path.rstrip("/")
    return endpoint if own.endswith(path) else f"{endpoint.rstrip('/')}{path}"


def headers_of(text: str) -> dict[str, str]:
    """The headers of `name=value,name=value`; what cannot stand in a request is left out."""
    found = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        sound = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if equals and sound and value.isascii() and value.isprintable():
            found[name] = value
    return found


def sender(address: str, headers: Mapping[str, str], old_names: bool) -> Send:
    """A function that sends spans with the official exporter. Raises ImportError where that is not installed."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    session, said = session_for(address, headers)
    exporter = OTLPSpanExporter(
        endpoint=address, headers=dict(headers), timeout=TIMEOUT_S, compression=Compression.Gzip, session=session
    )
    convert = converter(old_names)

    def send(spans: Sequence[Span]) -> str:
        said.clear()
        result = exporter.export([convert(span) for span in spans])
        if result is SpanExportResult.SUCCESS and not said:
            return ""
        return said[-1] if said else "nobody answers"

    return send


def session_for(address: str, headers: Mapping[str, str]) -> tuple[Any, list[str]]:
    """What speaks HTTP for the exporter, and what it has to say: redirects are not followed, so that no header goes
    to another host, a password file of this machine is not asked, and the library adds no headers from variables of
    its own: those are for whatever collector they were set for."""
    import logging

    import requests

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would write to the screen
    session, said = requests.Session(), list[str]()
    session.max_redirects = 0
    session.trust_env = not is_loopback(address)
    own = PLAIN_HEADERS | {name.lower() for name in headers}

    def bare(request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name in [name for name in request.headers if name.lower() not in own]:
            del request.headers[name]
        return request

    session.auth = bare

    def noted(response: requests.Response, *_: object, **__: object) -> None:
        if not 200 <= response.status_code < 300:
            said.append(f"HTTP {response.status_code}")

    session.hooks["response"].append(noted)
    return session, said


def this_app() -> Any:
    """Who tells, in the words of the SDK."""
    from opentelemetry.sdk.resources import Resource

    return Resource({"service.name": "sophia", "service.instance.id": INSTANCE, "process.pid": os.getpid()})


def converter(old_names: bool) -> Callable[[Span], ReadableSpan]:
    """A function that makes our spans those of the SDK."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    resource = this_app()
    scope, sampled = InstrumentationScope("sophia"), TraceFlags(TraceFlags.SAMPLED)
    # What a server told us is not the server's own span: that one it sends itself, where it is told to.
    kinds = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "server": SpanKind.INTERNAL}

    def context(span: Span, span_id: str) -> SpanContext:
        return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=sampled)

    def convert(span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            context(span, span.span_id),
            parent=context(span, span.parent_id) if span.parent_id else None,
            resource=resource,
            attributes=told(span, old=old_names),
            kind=kinds[span.kind],
            status=Status(StatusCode.UNSET if span.ok else StatusCode.ERROR),
            start_time=int(span.start * 1e9),
            end_time=int(span.end * 1e9),
            instrumentation_scope=scope,
        )

    return convert


def told(span: Span, *, old: bool = False) -> dict[str, Any]:
    """A span's attributes as a collector gets them: by the names it knows, lists as lists."""
    found: dict[str, Any] = {semconv.named(name, old=old): value for name, value in span.attributes.items()}
    if isinstance(reason := found.get(semconv.FINISH_REASONS), str):
        found[semconv.FINISH_REASONS] = (reason,)
    return found
