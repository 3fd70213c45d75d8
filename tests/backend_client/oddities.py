"""Odd things that servers, and what stands between us and them, do to an answer: to its bytes, headers and pace."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from time import time
from typing import Final

from tests.backend_client.answers import WORDS, Answer
from tests.backend_client.scenarios import ERRORS, Scenario, into

ODDITIES: Final[dict[str, Scenario]] = {}
oddity = into(ODDITIES)

STREAM: Final = ("content-type", "text/event-stream")
CHUNKED: Final = ("transfer-encoding", "chunked")


def lines(answer: Answer) -> str:
    """Return a whole answer as one text of events."""
    events = [*(answer.chunk(content=word) for word in WORDS), answer.chunk("stop", content="")]
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events) + "data: [DONE]\n\n"


@oddity
async def gzipped(answer: Answer, arguments: list[str]) -> None:
    """Compresses although it was asked not to."""
    await answer.begin(content_encoding="gzip")
    await answer.raw(gzip.compress(lines(answer).encode()))
    await answer.end()


@oddity
async def one_byte(answer: Answer, arguments: list[str]) -> None:
    """An HTTP chunk for each byte."""
    await answer.begin()
    for byte in lines(answer).encode():
        await answer.raw(bytes([byte]))
    await answer.end()


@oddity
async def split_utf8(answer: Answer, arguments: list[str]) -> None:
    """Each byte of a character that has several arrives by itself, a moment after the one before it."""
    await answer.begin()
    for piece in cut_characters(lines(answer)):
        await answer.raw(piece)
        await asyncio.sleep(0.002)
    await answer.end()


def cut_characters(text: str) -> Iterator[bytes]:
    """Yield the bytes of a text, cut within every character that has more than one."""
    plain = ""
    for char in text:
        if char.isascii():
            plain += char
            continue
        first, *rest = char.encode()
        yield plain.encode() + bytes([first])
        plain = ""
        yield from (bytes([byte]) for byte in rest)
    yield plain.encode()


@oddity
async def comments(answer: Answer, arguments: list[str]) -> None:
    """Comments between events and within them, empty ones, and some that look like data."""
    await answer.begin()
    for event in (*(answer.chunk(content=word) for word in WORDS), answer.chunk("stop")):
        first, *rest = json.dumps(event, indent=1).splitlines()
        await answer.raw(f":\n: keep-alive\n: data: [DONE]\ndata: {first}\n".encode())
        await answer.raw(f":data: {{}}\ndata: {''.join(rest)}\n\n: event\n\n".encode())
    await answer.done()


@oddity
async def two_headers(answer: Answer, arguments: list[str]) -> None:
    """The same header twice: `type`, `length` (which differ, as in request smuggling) or `wait` (which differ too)."""
    match arguments[0] if arguments else "type":
        case "length":
            await answer.head(200, STREAM, ("content-length", "5"), ("content-length", "5000"))
            answer.keep_alive = False
        case "wait":
            raw = json.dumps(ERRORS["openrouter_limit"][1]).encode()
            length = ("content-length", str(len(raw)))
            await answer.head(429, ("retry-after", "1"), ("retry-after", "3"), length)
            answer.writer.write(raw)
            await answer.writer.drain()
        case _:
            await answer.head(200, STREAM, STREAM, ("server", "a"), ("server", "b"), CHUNKED)
            await answer.raw(lines(answer).encode())
            await answer.end()


@oddity
async def slow_loris(answer: Answer, arguments: list[str]) -> None:
    """A byte now and then, for ever: of the `head`, of a line `before` any content, or of one `after` some."""
    place = arguments[0] if arguments else "head"
    if place == "head":
        answer.writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    else:
        await answer.begin()
    if place == "after":
        await answer.words(*WORDS[:3])
    answer.seen.started.set()
    while not answer.seen.gone.is_set():
        if place == "head":
            answer.writer.write(b"x")
            await answer.writer.drain()
        else:
            await answer.raw(b"x")
        with suppress(TimeoutError):
            await asyncio.wait_for(answer.seen.gone.wait(), 0.01)


@oddity
async def skewed(answer: Answer, arguments: list[str]) -> None:
    """A server whose clock is wrong by so many seconds; with a second argument, a 429 that names a time by it.

    `skewed:-86400` answers; `skewed:-86400:2` says to come back at a moment two seconds after its own `Date`.
    """
    now = int(time()) + int(arguments[0])
    if len(arguments) < 2:
        await answer.begin(date=formatdate(now, usegmt=True))
        await answer.raw(lines(answer).encode())
        await answer.end()
        answer.seen.finished = True
        return
    until = formatdate(now + int(arguments[1]), usegmt=True)
    limit = ERRORS["openrouter_limit"][1]
    await answer.whole(429, limit, date=formatdate(now, usegmt=True), retry_after=until)


@oddity
async def wrong_type(answer: Answer, arguments: list[str]) -> None:
    """`wrong_type:TYPE`: a good stream under another content type; none at all without an argument."""
    kind = [("content-type", arguments[0])] if arguments else []
    await answer.head(200, *kind, CHUNKED)
    await answer.raw(lines(answer).encode())
    await answer.end()
