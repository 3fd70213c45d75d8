"""SOPHIA in plain lines: what is typed, what is told, nothing that moves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sophia_cli.linear import Input, Teller
from sophia_core.events import EmbeddedProgressed, Event, SessionChanged, TextDelta, TourStepped, TurnFinished
from tests.contract_server import ContractServer
from tests.sophia_cli.harness import PATIENCE_S, Program, ended


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


TYPED = "hello\n/settings.set log.level loud\n/nonsense\n/session.new\n/session.latest\n/trace.clear\nno\n?\n/quit\n"


async def test_a_whole_conversation_in_lines(tmp_path: Path, server: ContractServer) -> None:
    program = Program(tmp_path)
    ended = await program.run("--linear", said=TYPED.encode(), SOPHIA_BASE_URL=server.base_url)
    assert ended.code == 0, ended.err
    assert "Hello from the contract server" in ended.out and "\x1b" not in ended.out + ended.err
    assert "End of the answer, from 127.0.0.1" in ended.out
    assert "Nothing was done." in ended.out and ended.out.rstrip().endswith("Goodbye.")
    assert "/tour, /help.tour: Take the guided tour" in ended.out
    assert "one of debug, info, warning, error" in ended.err and "nonsense" in ended.err


async def test_what_a_command_needs_is_asked_for_in_lines(tmp_path: Path, server: ContractServer) -> None:
    said = b"/rename\nBirds of the sea\n/rename\n\n/sessions\n/quit\n"
    talk = await Program(tmp_path).run("--linear", said=b"hi\n" + said, SOPHIA_BASE_URL=server.base_url)
    assert talk.code == 0, talk.err
    assert "Give this session, or the one named, another title. Title, or press Enter to give up: " in talk.out
    assert talk.out.count("Nothing was done.") == 1 and "Birds of the sea" in talk.out and "Usage" not in talk.err


MACRO = """help = "Look for something."
[parameters.what]
ask = "Look for what?"
[[steps]]
shell = ["echo", "found {what}"]
name = "found"
[[steps]]
say = "{found}"
"""


def with_macro(home: Path, name: str, text: str) -> Program:
    (home / "macros").mkdir(parents=True)
    (home / "macros" / f"{name}.toml").write_text(text)
    return Program(home)


async def test_a_macro_asks_in_lines(tmp_path: Path, server: ContractServer) -> None:
    program = with_macro(tmp_path, "look", MACRO)
    said = b"/macro.run look\nneedle\nyes\n/look pin\n\n/quit\n"
    talk = await program.run("--linear", said=said, SOPHIA_BASE_URL=server.base_url)
    assert talk.code == 0, talk.err
    assert "Look for what?: " in talk.out and "The macro look wants to run:\n'echo'\n  'found needle'" in talk.out
    assert "Macro look finished. found needle" in talk.out
    assert talk.out.count("Macro look failed.") == 1 and talk.err.count("was not allowed to run") == 1


async def test_a_server_that_is_gone_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    said = b"hello\n/model.list\n/copy.file\n/quit\n"
    talk = await Program(tmp_path).run("--linear", said=said, SOPHIA_BASE_URL="http://127.0.0.1:9/v1")
    assert talk.code == 0 and talk.out.rstrip().endswith("Goodbye."), talk.err
    assert "nothing answers" in talk.err and talk.out.count("Service level 4") == 1


async def test_ctrl_c_stops_a_macro_and_then_leaves(tmp_path: Path, server: ContractServer) -> None:
    program = with_macro(tmp_path, "rest", 'help = "Wait."\n[[steps]]\nshell = ["sleep", "600"]\n')
    process = await program.start("--linear", stdin=asyncio.subprocess.PIPE, SOPHIA_BASE_URL=server.base_url)
    assert process.stdin is not None and process.stdout is not None
    out = ""

    async def until(text: str) -> None:
        nonlocal out
        async with asyncio.timeout(PATIENCE_S):
            while text not in out:
                more = await process.stdout.read(4096)  # type: ignore[union-attr]
                assert more, out
                out += more.decode()
        out = out.partition(text)[2]

    process.stdin.write(b"/rest\n")
    await until("Enter for no: ")
    process.send_signal(signal.SIGINT)
    await until("Stopped.")
    await until("You: ")
    process.send_signal(signal.SIGINT)
    await until("Goodbye.")
    assert (await ended(process)).code == 0
