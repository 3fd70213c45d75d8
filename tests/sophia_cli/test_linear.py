"""SOPHIA in plain lines: what is typed, what is told, nothing that moves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sophia_cli.linear import Input, Teller
from sophia_core.events import EmbeddedProgressed, Event, SessionChanged, TextDelta, TourStepped, TurnFinished
from tests.contract_server import ContractServer
from tests.sophia_cli.harness import Program


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        yield running


class Kept:
    """A console that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def out(self, text: str) -> None:
        self.lines.append(text)


def test_what_happens_is_told_once_a_line_each() -> None:
    console = Kept()
    teller = Teller(console)  # type: ignore[arg-type]
    events: list[Event] = [
        SessionChanged(None),
        SessionChanged(None),
        EmbeddedProgressed("loading", 0.1, "loading qwen"),
        EmbeddedProgressed("loading", 0.2, "loading qwen"),
        EmbeddedProgressed("loading", 0.6, "loading qwen"),
        EmbeddedProgressed("ready", None, ""),
        TextDelta("a", "not told here"),
        TourStepped("chat", 1, 4, "Ask something."),
        TurnFinished("s", "a", "r", "text", "complete", "here", "m", completion_tokens=3),
    ]
    for each in events:
        teller(each)
    assert "".join(console.lines).splitlines() == [
        "A new session.",
        "The model: loading qwen, 0 percent",
        "The model: loading qwen, 50 percent",
        "The model is ready.",
        "Tour, chat, 1 of 4. Ask something.",
        "End of the answer, from here m, 3 tokens.",
    ]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        with contextlib.suppress(OSError):
            os.close(descriptor)


async def test_lines_are_read_whole_however_they_come(pipe: tuple[int, int]) -> None:
    read, write = pipe
    lines = Input(read)
    os.write(write, b"one\ntw")
    assert await lines.line() == "one"
    second = asyncio.ensure_future(lines.line())
    await asyncio.sleep(0)
    os.write(write, "ö\nlast".encode())
    assert await second == "twö"
    os.close(write)
    assert await lines.line() == "last"
    assert await lines.line() is None


async def test_ending_the_input_wakes_who_waits(pipe: tuple[int, int]) -> None:
    lines = Input(pipe[0])
    waiting = asyncio.ensure_future(lines.line())
    await asyncio.sleep(0)
    lines.end()
    assert await waiting is None


TYPED = (
    "hello\n/settings.set log.level loud\n/nonsense\n/session.new\n/session.latest\n/session.delete x\nno\n?\n/quit\n"
)


async def test_a_whole_conversation_in_lines(tmp_path: Path, server: ContractServer) -> None:
    program = Program(tmp_path)
    ended = await program.run("--linear", said=TYPED.encode(), SOPHIA_BASE_URL=server.base_url)
    assert ended.code == 0, ended.err
    assert "Hello from the contract server" in ended.out and "\x1b" not in ended.out + ended.err
    assert "End of the answer, from 127.0.0.1" in ended.out
    assert "Nothing was done." in ended.out and ended.out.rstrip().endswith("Goodbye.")
    assert "/tour, /help.tour: Take the guided tour" in ended.out
    assert "one of debug, info, warning, error" in ended.err and "nonsense" in ended.err
