"""A real server on loopback that speaks like vLLM, OpenAI, OpenRouter and llama.cpp, and fails like them.

    async with ContractServer() as server:
        ... server.base_url ... server.requests[-1].disconnected_at

What it does is the *scenario*: the next entry of `server.plan` if there is one, else `server.fault` while that is set,
else the model's name if it names one, else the last message if it does (so a person can type one), else `server.usual`.
A scenario may carry arguments: `tokens:500:2` sends 500 tokens, one each 2 ms. `go_down` and `come_up` make it refuse
connections and take them again, at the same address.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.backend_client.answers import TEXT, WORDS, Answer, Seen, break_off
from tests.backend_client.essays import ESSAYS
from tests.backend_client.oddities import ODDITIES
from tests.backend_client.scenarios import ERRORS, SCENARIOS

__all__ = ["ERRORS", "SCENARIOS", "TEXT", "WORDS", "ContractServer", "Seen"]

SCENARIOS.update({**ODDITIES, **ESSAYS})


class ContractServer:
    """The server; an async context manager. Listens on a free port of 127.0.0.1, or where `host` and `port` say."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._tls = tls
        self.host = host
        self.port = port
        self.plan: list[str] = []
        """What the next chats get, one entry each."""
        self.fault: str | None = None
        """What every chat gets until this is None again."""
        self.usual = "vllm"
        """What a chat gets that nothing else decides about."""
        self.requests: list[Seen] = []
        self.deliveries: Counter[str] = Counter()
        """How often each question (`Seen.key`) arrived as a chat."""
        self.completions: Counter[str] = Counter()
        """How often each question got an answer with its finish reason, to a client that was still there."""
        self.base_url = ""
        self.models: object = {
            "object": "list",
            "data": [{"id": "contract-model", "object": "model", "owned_by": "vllm", "max_model_len": 32768}],
        }
        self.health: tuple[Any, ...] | None = (200, b"")
        """Status, body and perhaps the content type; None never answers."""
        self.metrics: str | None = None
        """The text of `/metrics`; None has no such page."""
        self.pages: dict[str, tuple[Any, ...]] = {}
        """Status, body and perhaps the content type of further pages, each under the last part of its path."""
        self._place: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections = 0
        self._arrivals: asyncio.Queue[Seen] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        # Holds the port, without listening, so that nobody else gets it while the server is down.
        self._place = place = socket.socket()
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            place.setsockopt(socket.SOL_SOCKET, option, 1)
        place.bind((self.host, self.port))
        self.port = place.getsockname()[1]
        self.base_url = f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"
        await self.come_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self._hang_up()
        if self._place is not None:
            self._place.close()

    @property
    def down(self) -> bool:
        """Whether connections are refused now."""
        return self._server is None

    async def go_down(self) -> None:
        """Refuse connections from now on and break those there are, as a server does that is killed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            break_off(writer)
        await self._hang_up()

    async def come_up(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, self.host, self.port, ssl=self._tls, reuse_port=True, backlog=512
            )

    async def _hang_up(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def chats(self) -> list[Seen]:
        """The chat requests so far."""
        return [seen for seen in self.requests if seen.path.endswith("/chat/completions")]

    async def arrival(self) -> Seen:
        """Wait for the next request that was not asked for here before."""
        return await self._arrivals.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        task.add_done_callback(self._tasks.discard)
        self._connections += 1
        try:
            await self._converse(reader, writer, self._connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        ahead = b""
        keep_alive = True
        while keep_alive:
            ahead = ahead or await reader.readexactly(1)
            if not ahead.isalpha():
                # What a server does when somebody speaks TLS, or anything else, to it.
                writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
                return
            seen = await self._read(reader, ahead, number)
            ahead = b""  # it was the first byte of this request, not of the next one
            self._note(seen)
            answer = Answer(writer, seen)
            watch = asyncio.create_task(self._watch(reader, seen))
            try:
                await self._answer(answer)
                seen.completed = not seen.gone.is_set()
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    ahead = await watch
            if seen.completed and seen.finished:
                self.completions[seen.key] += 1
            keep_alive = answer.keep_alive and not seen.gone.is_set()

    def _note(self, seen: Seen) -> None:
        self.requests.append(seen)
        self._arrivals.put_nowait(seen)
        if seen.path.endswith("/chat/completions"):
            self.deliveries[seen.key] += 1

    async def _watch(self, reader: asyncio.StreamReader, seen: Seen) -> bytes:
        """Notice the client going away; a byte of its next request is handed back."""
        with suppress(ConnectionError):
            if byte := await reader.read(1):
                return byte
        seen.disconnected_at = asyncio.get_running_loop().time()
        seen.gone.set()
        return b""

    async def _read(self, reader: asyncio.StreamReader, ahead: bytes, number: int) -> Seen:
        head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        return Seen(method, path, headers, body, self._choose(path, body), number)

    def _choose(self, path: str, body: Mapping[str, Any]) -> str:
        if not path.endswith("/chat/completions"):
            return ""
        if self.plan:
            return self.plan.pop(0)
        if self.fault is not None:
            return self.fault
        for wish in (str(body.get("model", "")), str((body.get("messages") or [{}])[-1].get("content", ""))):
            if wish.partition(":")[0] in (*SCENARIOS, *ERRORS):
                return wish
        return self.usual

    async def _answer(self, answer: Answer) -> None:
        path = answer.seen.path.partition("?")[0]
        if path.endswith("/chat/completions"):
            name, *arguments = answer.seen.scenario.split(":")
            if name in ERRORS:
                await answer.whole(*ERRORS[name])
            else:
                await SCENARIOS[name](answer, arguments)
        else:
            await self._page(answer, path.rpartition("/")[2])

    async def _page(self, answer: Answer, name: str) -> None:
        match name:
            case "models":
                await answer.whole(200, self.models)
            case "health":
                await (answer.whole(*self.health) if self.health is not None else answer.stall())
            case "metrics" if self.metrics is not None:
                await answer.whole(200, self.metrics.encode(), "text/plain; version=0.0.4; charset=utf-8")
            case "cookie":
                await answer.whole(200, {}, set_cookie="who=you; Path=/")
            case _:
                await answer.whole(*self.pages.get(name, (404, {"detail": "Not Found"})))
