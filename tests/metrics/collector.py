"""A collector of traces and metrics on loopback: it speaks OTLP/HTTP with the official messages, compressed or not."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collector:
    """Keeps what it gets. `status` is what it answers with; `hold` makes it wait before it answers."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.status, self.location = status, location
        self.hold = threading.Event()
        self.hold.set()
        self.came = threading.Condition()
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.spans: list[Any] = []
        self.metrics: list[dict[str, Any]] = []
        """Of each message the metrics by name."""
        self.resources: list[Any] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait(self, true: Any, timeout: float = 30.0) -> None:
        """Waits until something holds of what came."""
        with self.came:
            assert self.came.wait_for(true, timeout)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self.came:
            self.paths.append(handler.path)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            if self.status == 200 and handler.path.endswith("/v1/metrics"):
                self._take_metrics(ExportMetricsServiceRequest.FromString(body))
            elif self.status == 200:
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resources.append(group.resource)
                    self.spans += [span for scope in group.scope_spans for span in scope.spans]
            self.came.notify_all()

    def _take_metrics(self, message: Any) -> None:
        for group in message.resource_metrics:
            self.resources.append(group.resource)
            self.metrics.append({each.name: each for scope in group.scope_metrics for each in scope.metrics})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector.take(self)
                collector.hold.wait()
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(collector.status)
                if collector.location:
                    self.send_header("location", collector.location)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
