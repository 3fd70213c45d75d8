"""The process that speaks to one MCP server with the official SDK, so that no other process loads or believes it.

It is run by file path. Its parent says in the first frame on stdin which server that is; requests follow as frames and
are answered on stdout in any order. What only a person or the store can answer is asked of the parent the same way. It
ends with its stdin, with the server, or with what it was given to remember: whichever comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from sophia_core.memory.frames import Frames, Head, frame

if TYPE_CHECKING:
    from mcp.client.client import Client

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
MOST_MEMORY: Final = 2 << 30
LARGEST: Final = 4 << 20
"""Bytes of one answer that are passed on."""
MOST_PAGES: Final = 50
ENDING_S: Final = 0.7
"""How long a server may take to end by itself, and again when it is asked to."""
GONE: Final = -32000
"""The SDK's code for a connection that is closed."""


class Parent:
    """The other end of the pipes."""

    def __init__(self, answers: int) -> None:
        self._answers, self._asked = answers, 0
        self._waiting: dict[int, asyncio.Future[Head]] = {}

    def say(self, head: Head, body: object = None) -> None:
        """Sends a frame; what would be too large is said to be so."""
        packed = b"" if body is None else json.dumps(body).encode()
        if len(packed) > LARGEST:
            head, packed = {"id": head.get("id", 0), "error": "large", "message": f"{len(packed)} bytes"}, b""
        rest = memoryview(frame(head, packed))
        while rest:
            rest = rest[os.write(self._answers, rest) :]

    async def ask(self, kind: str, **what: object) -> Head:
        """What the parent answers, after however long."""
        self._asked += 1
        number, loop = self._asked, asyncio.get_running_loop()
        self._waiting[number] = loop.create_future()
        self.say({"ask": number, "kind": kind}, what)
        try:
            return await self._waiting[number]
        finally:
            del self._waiting[number]

    def answered(self, number: int, what: Head) -> None:
        """Hands on what the parent answered."""
        if (waiting := self._waiting.get(number)) is not None and not waiting.done():
            waiting.set_result(what)


class Requests:
    """What the parent wants, each in a task of its own so that it can be cancelled."""

    def __init__(self, client: Client, parent: Parent) -> None:
        self._client, self._parent = client, parent
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.gone = asyncio.Event()

    def take(self, head: Head, body: bytes) -> None:
        """One frame of the parent."""
        if "answer" in head:
            self._parent.answered(head["answer"], json.loads(body) if body else {})
        elif head["do"] == "cancel":
            if (task := self._tasks.get(head["which"])) is not None:
                task.cancel()
        else:
            work = self._do(head["id"], head["do"], json.loads(body) if body else {})
            self._tasks[head["id"]] = asyncio.create_task(work)

    async def _do(self, number: int, what: str, given: dict[str, Any]) -> None:
        from mcp.shared.exceptions import MCPError

        try:
            made = await getattr(self, f"do_{what}")(number, **given)
            self._parent.say({"id": number}, made)
        except MCPError as error:
            self._parent.say({"id": number, "error": "gone" if error.code == GONE else "server"}, error.message[:2000])
            if error.code == GONE:
                self.gone.set()
        except asyncio.CancelledError:
            self._parent.say({"id": number, "error": "cancelled"}, "")
        except Exception as error:
            self._parent.say({"id": number, "error": "server"}, f"{type(error).__name__}: {error}"[:2000])
        finally:
            self._tasks.pop(number, None)

    async def do_about(self, number: int) -> object:
        """Who the server is."""
        client, info = self._client, self._client.server_info
        can = client.server_capabilities
        has = [name for name in ("tools", "resources", "prompts") if getattr(can, name, None) is not None]
        named = (info.name, info.version) if info else ("", "")
        return {"name": named[0], "version": named[1], "protocol": client.protocol_version, "has": has}

    async def do_tools(self, number: int) -> object:
        """All its tools."""
        client = self._client
        return await _paged(lambda cursor: client.list_tools(cursor=cursor, cache_mode="refresh"), "tools")

    async def do_resources(self, number: int) -> object:
        """All it has to read."""
        return await _paged(lambda cursor: self._client.list_resources(cursor=cursor), "resources")

    async def do_prompts(self, number: int) -> object:
        """All its prompts."""
        return await _paged(lambda cursor: self._client.list_prompts(cursor=cursor), "prompts")

    async def do_call(self, number: int, tool: str, arguments: dict[str, Any], seconds: float) -> object:
        """Calls a tool, and tells how it gets on."""

        async def told(progress: float, total: float | None, message: str | None) -> None:
            self._parent.say({"progress": number}, [progress, total, (message or "")[:300]])

        result = await self._client.call_tool(tool, arguments, seconds, told)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def do_read(self, number: int, uri: str) -> object:
        """Reads a resource."""
        result = await self._client.read_resource(uri)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def do_prompt(self, number: int, name: str, arguments: dict[str, str]) -> object:
        """A prompt, filled in."""
        result = await self._client.get_prompt(name, arguments)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def _paged(fetch: Any, kind: str) -> list[object]:
    """Every page of a list, as far as it has an end."""
    found: list[object] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await fetch(cursor)
        found += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in getattr(page, kind)]
        cursor = page.next_cursor
        if not cursor:
            break
    return found


async def _client(stack: AsyncExitStack, wanted: dict[str, Any], parent: Parent) -> Client:
    """The connection to the server, begun."""
    from mcp.client import stdio
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp_types import ElicitResult, ErrorData, Implementation

    async def elicit(context: object, params: Any) -> ElicitResult | ErrorData:
        asked = {"mode": params.mode, "message": params.message[:4000], "url": getattr(params, "url", None)}
        asked["schema"] = getattr(params, "requested_schema", None)
        answer = await parent.ask("elicit", **asked)
        return ElicitResult(action=answer.get("action", "decline"), content=answer.get("content"))

    stdio.PROCESS_TERMINATION_TIMEOUT = stdio.FORCE_KILL_TIMEOUT = ENDING_S
    transport: Any
    if wanted.get("url"):
        transport = await _over_http(stack, wanted, parent)
    else:
        program = StdioServerParameters(
            command=wanted["command"],
            args=wanted["args"],
            env=wanted["env"],
            cwd=wanted["folder"],
            encoding_error_handler="replace",
        )
        transport = stdio_client(program)
    who = Implementation(name="sophia", version=wanted["version"])
    client = Client(transport, elicitation_callback=elicit, client_info=who, mode=wanted.get("mode", "auto"))
    return await stack.enter_async_context(client)


async def _over_http(stack: AsyncExitStack, wanted: dict[str, Any], parent: Parent) -> Any:
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    auth = None
    if wanted.get("oauth") is not None:
        from sophia_core.mcp.signing_in import provider

        auth = provider(wanted["url"], wanted["oauth"], parent.ask)
    web = await stack.enter_async_context(create_mcp_http_client(wanted["headers"], auth=auth))
    return streamable_http_client(wanted["url"], http_client=web)


class Stdin:
    """The frames of the parent as they come."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[tuple[Head, bytes] | None] = asyncio.Queue()
        self._parser = Frames()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while block := await reader.read(1 << 16):
            for each in self._parser.feed(block):
                self._frames.put_nowait(each)
        self._frames.put_nowait(None)

    async def next(self) -> tuple[Head, bytes] | None:
        """The next frame; None when the parent has gone."""
        return await self._frames.get()


async def serve(answers: int) -> None:
    """Connects, says so, and answers until there is nobody left to ask or to answer."""
    stdin, parent = Stdin(), Parent(answers)
    first = await stdin.next()
    if first is None:
        return
    wanted, this = json.loads(first[1]), asyncio.current_task()
    assert this is not None  # noqa: S101 - it runs
    # Whoever dies with a server that hangs has to take it along: the signal ends us as the closed stdin does.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    waiting = asyncio.create_task(_until_ready(stdin, parent, this))
    async with AsyncExitStack() as stack:
        try:
            client = await _client(stack, wanted, parent)
        except BaseException as error:
            parent.say({"id": 0, "error": "start"}, _said(error)[:2000])
            return
        finally:
            waiting.cancel()
        requests = Requests(client, parent)
        # Only now: what the server itself was started with is its own affair.
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        parent.say({"id": 0}, await requests.do_about(0))
        await _answer_all(stdin, requests)


async def _until_ready(stdin: Stdin, parent: Parent, connecting: asyncio.Task[None] | None) -> None:
    """While it connects the parent only answers, or goes."""
    while (came := await stdin.next()) is not None:
        if "answer" in came[0]:
            parent.answered(came[0]["answer"], json.loads(came[1]) if came[1] else {})
    if connecting is not None:
        connecting.cancel()  # a server that was begun is ended on the way out


async def _answer_all(stdin: Stdin, requests: Requests) -> None:
    gone = asyncio.create_task(requests.gone.wait())
    while True:
        coming = asyncio.create_task(stdin.next())
        await asyncio.wait([coming, gone], return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            return
        if (came := coming.result()) is None:
            return
        requests.take(*came)


def _said(error: BaseException) -> str:
    """The innermost of what went wrong."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def main() -> None:
    """Keeps to itself, then serves."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    answers = os.dup(1)
    os.dup2(2, 1)
    with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
        asyncio.run(serve(answers))


if __name__ == "__main__":
    main()
