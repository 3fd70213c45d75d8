"""A real server on loopback that speaks like vLLM, OpenAI, OpenRouter and llama.cpp, and fails like them.

    async with ContractServer() as server:
        ... server.base_url ... server.requests[-1].disconnected_at

What it does is the *scenario*: the next entry of `server.plan` if there is one, else the model's name if it names one,
else the last message if it does (so a person can type one), else `vllm`. A scenario may carry arguments: `tokens:500:2`
sends 500 tokens, one each 2 ms.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.backend_client.answers import TEXT, WORDS, Answer, Seen
from tests.backend_client.scenarios import ERRORS, SCENARIOS

__all__ = ["ERRORS", "SCENARIOS", "TEXT", "WORDS", "ContractServer", "Seen"]


class ContractServer:
    """The server; an async context manager. Listens on a free port of 127.0.0.1."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.plan: list[str] = []
        self.requests: list[Seen] = []
        self.base_url = ""
        self.models: object = {
            "object": "list",
            "data": [{"id": "contract-model", "object": "model", "owned_by": "vllm", "max_model_len": 32768}],
        }
        self.health: tuple[Any, ...] = (200, b"")
        """Status, body and perhaps the content type."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._arrivals: asyncio.Queue[Seen] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        task.add_done_callback(self._tasks.discard)
        self._connections += 1
        try:
            await self._converse(reader, writer, self._connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
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
            self.requests.append(seen)
            self._arrivals.put_nowait(seen)
            answer = Answer(writer, seen)
            watch = asyncio.create_task(self._watch(reader, seen))
            try:
                await self._answer(answer)
                seen.completed = not seen.gone.is_set()
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    ahead = await watch
            keep_alive = answer.keep_alive and not seen.gone.is_set()

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
        for wish in (str(body.get("model", "")), str((body.get("messages") or [{}])[-1].get("content", ""))):
            if wish.partition(":")[0] in (*SCENARIOS, *ERRORS):
                return wish
        return "vllm"

    async def _answer(self, answer: Answer) -> None:
        path = answer.seen.path.partition("?")[0]
        if path.endswith("/models"):
            await answer.whole(200, self.models)
        elif path.endswith("/health"):
            await answer.whole(*self.health)
        elif path.endswith("/cookie"):
            await answer.whole(200, {}, set_cookie="who=you; Path=/")
        elif path.endswith("/chat/completions"):
            name, *arguments = answer.seen.scenario.split(":")
            if name in ERRORS:
                await answer.whole(*ERRORS[name])
            else:
                await SCENARIOS[name](answer, arguments)
        else:
            await answer.whole(404, {"detail": "Not Found"})
