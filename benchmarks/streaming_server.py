"""A small server on loopback that streams a known text as an OpenAI-compatible model would.

    with serving(rate=200) as url: ...                 a process of its own, ended with the block
    async with StreamingServer(rate=200) as server: ...    on this event loop; server.url

    python -m benchmarks.streaming_server --rate 200   prints its address, serves until stdin closes

The last message of a request may say what it wants: `tokens=900 rate=300 kind=count`. A rate of 0 is as fast as the
client reads. The text of a kind and a number of tokens is always the same: `document` returns it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Literal, Self

from benchmarks import ROOT, child_env

Kind = Literal["mix", "count"]
TOKEN = 4
"""Characters of a token of `mix`."""
BATCH = 64
"""Tokens written at once when nothing paces them."""
ASKED = re.compile(r"\b(tokens|rate|kind)=([\w.]+)")
NOUNS = (
    "harbour",
    "lantern",
    "orchard",
    "compass",
    "meadow",
    "quarry",
    "ribbon",
    "saddle",
    "timber",
    "willow",
    "anchor",
)
VERBS = ("carries", "follows", "gathers", "hides", "keeps", "lifts", "measures", "offers", "paints", "reaches")


def end_mark(tokens: int) -> str:
    """The word that a text of so many tokens ends with; it is sent in one piece."""
    return f"ENDOFTEXT{tokens}"


def document(tokens: int, kind: Kind = "mix") -> list[str]:
    """The pieces of a text: `mix` is Markdown with everything in it, `count` is numbered words."""
    if kind == "count":
        body = [f"{number:05d}" + ("\n\n" if number % 60 == 59 else " ") for number in range(tokens - 1)]
    else:
        text, number = "", 0
        while len(text) < tokens * TOKEN:
            text += _section(number)
            number += 1
        body = [text[at : at + TOKEN] for at in range(0, (tokens - 1) * TOKEN, TOKEN)]
    return [*body, f"\n\n{end_mark(tokens)}\n"]


def _sentence(seed: int) -> str:
    first, second = NOUNS[seed % 11], NOUNS[(seed * 7 + 5) % 11]
    return f"The {first} {VERBS[seed % 10]} the {second} number {seed} and `{first}_{seed}` **{second}** again. "


def _section(number: int) -> str:
    prose = "".join(_sentence(number * 11 + each) for each in range(5))
    points = "".join(f"{'  ' * (each % 2)}- {_sentence(number * 5 + each)}\n" for each in range(5))
    steps = "".join(f"{each + 1}. {NOUNS[(number + each) % 11]} before {NOUNS[each]}\n" for each in range(3))
    body = "".join(
        f"    {NOUNS[each]} = {VERBS[each % 10]}({number}, depth={each}.25)  # step {each}\n" for each in range(10)
    )
    cells = "".join(f"| {NOUNS[each]} | {number * each} | {VERBS[each]} |\n" for each in range(4))
    return (
        f"## Section {number}: {NOUNS[number % 11]}\n\n{prose}\n\n{points}\n{steps}\n"
        f"```python\ndef {VERBS[number % 10]}_{number}(depth: float) -> float:\n{body}    return depth\n```\n\n"
        f"| noun | weight | verb |\n|---|---:|---|\n{cells}\n> {_sentence(number * 3)}\n\n"
    )


class StreamingServer:
    """Answers chat completions on a free port of 127.0.0.1 while the block runs."""

    def __init__(self, *, tokens: int = 1000, rate: float = 0.0, kind: Kind = "mix") -> None:
        """What is streamed when a request does not say; `rate` is in tokens a second, 0 unpaced."""
        self._tokens, self._rate, self._kind = tokens, rate, kind
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.url = ""
        """What to give as the base URL, once the block has begun."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # A client that is killed in the middle is what some of the measurements are about.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if not head.startswith("POST "):
            card = {"id": "bench-model", "object": "model", "max_model_len": 131_072}
            listing = json.dumps({"object": "list", "data": [card]}).encode()
            writer.write(_head("200 OK", "application/json", f"Content-Length: {len(listing)}") + listing)
            await writer.drain()
            return
        asked = dict(ASKED.findall(str(json.loads(body)["messages"][-1]["content"])))
        tokens = max(1, int(asked.get("tokens", self._tokens)))
        kind: Kind = "count" if asked.get("kind", self._kind) == "count" else "mix"
        writer.write(_head("200 OK", "text/event-stream", "Transfer-Encoding: chunked"))
        await self._stream(writer, document(tokens, kind), float(asked.get("rate", self._rate)))

    async def _stream(self, writer: asyncio.StreamWriter, pieces: list[str], rate: float) -> None:
        began, sent = time.monotonic(), 0
        while sent < len(pieces):
            if rate:
                await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))
                due = max(sent + 1, min(len(pieces), int((time.monotonic() - began) * rate) + 1))
            else:
                due = min(len(pieces), sent + BATCH)
            writer.write(b"".join(_chunk(_event(piece)) for piece in pieces[sent:due]))
            await writer.drain()
            sent = due
        used = {"prompt_tokens": 20, "completion_tokens": len(pieces), "total_tokens": 20 + len(pieces)}
        ending = [_event(None), b"data: %s\n\n" % _json(choices=[], usage=used), b"data: [DONE]\n\n"]
        writer.write(b"".join(map(_chunk, ending)) + b"0\r\n\r\n")
        await writer.drain()


def _head(status: str, content_type: str, framing: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\n{framing}\r\n\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(text: str | None) -> bytes:
    """One piece of text as its own event; None is the end of the answer."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if text is None else None}
    return b"data: %s\n\n" % _json(choices=[choice])


def _json(**fields: object) -> bytes:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": "bench-model"}
    return json.dumps({**head, **fields}).encode()


async def read_answer(url: str, question: str) -> AsyncIterator[str]:
    """The text of an answer, piece by piece, with as little in between as can be: the baseline of a client."""
    port = int(url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = json.dumps({"messages": [{"role": "user", "content": question}], "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async for line in reader:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    yield choice["delta"].get("content", "")
    finally:
        writer.close()


@contextlib.contextmanager
def serving(*, tokens: int = 1000, rate: float = 0.0, kind: Kind = "mix") -> Iterator[str]:
    """The base URL of a server in a process of its own, which is gone when the block is left."""
    options = ["--tokens", str(tokens), "--rate", str(rate), "--kind", kind]
    command = [sys.executable, "-m", "benchmarks.streaming_server", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=child_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            if not (url := process.stdout.readline().strip()):
                raise RuntimeError("the streaming server did not start")
            yield url
        finally:
            process.terminate()


async def _until_stdin_closes(server: StreamingServer) -> None:
    async with server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serves until stdin closes, so that it never outlives whoever started it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="tokens a second; 0: as fast as they are read")
    parser.add_argument("--kind", choices=["mix", "count"], default="mix")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_until_stdin_closes(StreamingServer(tokens=args.tokens, rate=args.rate, kind=args.kind)))


if __name__ == "__main__":
    main()
