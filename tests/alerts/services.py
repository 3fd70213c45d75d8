"""Servers that speak what PagerDuty's Events API v2 and Slack's incoming webhooks publish, and can be made to fail.

They keep what they took as the services do: an incident for each key, and every message.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Fault = Literal["hang", "drop", "garbage", "flood", "html"]
ROUTING_KEY: Final = "0123456789abcdef0123456789abcdef"
WEBHOOK: Final = "/services/T000/B000/s3cr3tWebhookPath"
Answer = tuple[int, str, dict[str, str]]


@dataclass
class Service:
    """A small HTTP server. `faults` says what becomes of the next requests: a status, or something worse."""

    respond: Callable[[Service, str, Any], Answer]
    faults: list[int | Fault | tuple[int, dict[str, str]]] = field(default_factory=list)
    choose: Callable[[], int | Fault | None] = lambda: None
    """A fault for a request that `faults` has none for."""
    requests: int = 0
    taken: list[Any] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ")[1]
        length = re.search(r"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else self.choose()
        match fault:
            case "hang":
                await asyncio.Event().wait()
            case "drop":
                return False
            case "garbage":
                writer.write(b"\x00\xffno http at all\r\n\r\n")
                await writer.drain()
                return False
            case "flood":
                writer.write(b"HTTP/1.1 500 No\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n")
                with_secret = body + b"x" * 65_536
                while not writer.is_closing():
                    writer.write(with_secret)
                    await writer.drain()
                return False
            case "html":
                status, said, more = 200, "<html><b>Please agree to our terms", {"content-type": "text/html"}
            case int():
                status, said, more = fault, "it failed", {}
            case tuple():
                status, said, more = fault[0], "it failed", fault[1]
            case None:
                status, said, more = self.respond(self, path, json.loads(body))
        fields = {"content-length": str(len(said.encode())), **more}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n{said}".encode())
        await writer.drain()
        return True

    # What PagerDuty keeps

    @property
    def incidents(self) -> dict[str, list[str]]:
        """What happened to each key."""
        told: dict[str, list[str]] = {}
        for each in self.taken:
            told.setdefault(each["dedup_key"], []).append(each["event_action"])
        return told

    @property
    def texts(self) -> list[str]:
        """What stands in the channel of Slack."""
        return [each["text"] for each in self.taken]

    def counted(self) -> Counter[str]:
        """How often each key was told."""
        return Counter(each["dedup_key"] for each in self.taken)


def pagerduty(service: Service, path: str, event: Any) -> Answer:
    """As its overview of the Events API v2 says."""

    def refuse(*errors: str) -> Answer:
        told = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        return 400, json.dumps(told), {"content-type": "application/json"}

    if path != "/v2/enqueue" or not isinstance(event, dict):
        return 404, "", {}
    if event.get("routing_key") != ROUTING_KEY:
        return refuse("Invalid routing key")
    action, key = event.get("event_action"), event.get("dedup_key", "")
    if action not in ("trigger", "acknowledge", "resolve"):
        return refuse("'event_action' is invalid")
    if not isinstance(key, str) or len(key) > 255 or (action != "trigger" and not key):
        return refuse("'dedup_key' is invalid")
    if action == "trigger":
        payload = event.get("payload")
        if not isinstance(payload, dict) or not {"summary", "source", "severity"} <= payload.keys():
            return refuse("'payload' is missing or incomplete")
        if not 0 < len(payload["summary"]) <= 1_024 or payload["severity"] not in (
            "critical", "error", "warning", "info",
        ):  # fmt: skip
            return refuse("'payload' is invalid")
    service.taken.append(event)
    told = {"status": "success", "message": "Event processed", "dedup_key": key}
    return 202, json.dumps(told), {"content-type": "application/json"}


def slack(service: Service, path: str, message: Any) -> Answer:
    """As its page about incoming webhooks says: plain words for what is wrong."""
    if path != WEBHOOK:
        return 404, "no_service", {}
    if not isinstance(message, dict):
        return 400, "invalid_payload", {}
    if not message.get("text") and not message.get("blocks"):
        return 400, "no_text", {}
    service.taken.append(message)
    return 200, "ok", {}


@asynccontextmanager
async def serving(respond: Callable[[Service, str, Any], Answer]) -> AsyncIterator[Service]:
    """A server on a free port; closed at the end with everything that hangs."""
    service = Service(respond)
    running: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await service.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
