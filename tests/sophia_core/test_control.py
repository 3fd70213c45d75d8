"""The control socket: real sockets, a real runtime, and guests that are not all polite."""

from __future__ import annotations

import asyncio
import json
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sophia_core import control
from sophia_core.commands import CommandError
from tests.scripted import chat
from tests.sophia_core.conftest import Bench, OpenBench

pytestmark = pytest.mark.skipif(not hasattr(asyncio, "start_unix_server"), reason="there are no such sockets here")


class Guest:
    """Somebody at the other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, value: object) -> None:
        self.writer.write(json.dumps(value).encode() + b"\n")
        await self.writer.drain()

    async def hear(self) -> Any:
        async with asyncio.timeout(30):
            return json.loads(await self.reader.readline())

    async def until(self, event: str) -> Any:
        while (told := await self.hear())["event"] != event:
            pass
        return told


async def visit(opened: Bench) -> Guest:
    if opened.runtime.control.path is None:
        await opened.runtime.run("control.open")
    path = opened.runtime.control.path
    assert path is not None
    return Guest(*await asyncio.open_unix_connection(path))


async def test_a_line_is_run_and_answered(bench: OpenBench) -> None:
    opened = await bench(chat("Hello", "."))
    guest = await visit(opened)
    await guest.say({"line": '/ask "hi"'})
    answer = await guest.hear()
    assert (answer["done"]["text"], answer["done"]["status"]) == ("Hello.", "complete")
    await guest.say({"line": "session.list"})
    assert (await guest.hear())["done"][0]["title"] == "hi"


async def test_what_cannot_be_undone_is_confirmed(bench: OpenBench) -> None:
    guest = await visit(await bench(chat("a")))
    await guest.say({"line": "chat.send hi"})
    await guest.hear()
    await guest.say({"line": "session.delete"})
    assert await guest.hear() == {"error": "session.delete cannot be undone: “hi”, 2 messages.", "hint": "Pass --yes."}
    await guest.say({"line": "session.delete", "yes": True})
    assert await guest.hear() == {"done": None}


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b'{"line": 3}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n"])
async def test_nonsense_is_answered_politely(bench: OpenBench, line: bytes) -> None:
    guest = await visit(await bench())
    guest.writer.write(line)
    assert "not understood" in (await guest.hear())["error"]
    await guest.say({"line": "no.such"})
    assert "There is no command" in (await guest.hear())["error"]


async def test_a_line_without_end_is_refused(bench: OpenBench) -> None:
    guest = await visit(await bench())
    guest.writer.write(b"x" * (control.LONGEST_LINE + 100))
    assert "bytes" in (await guest.hear())["error"]
    assert await guest.reader.read() == b""


async def test_a_watcher_hears_what_happens(bench: OpenBench) -> None:
    opened = await bench(chat("Hel", "lo"))
    watcher, driver = await visit(opened), await visit(opened)
    await watcher.say({"watch": True})
    await watcher.until("Watching")
    await driver.say({"line": "chat.send hi"})
    assert (await watcher.until("TurnStarted"))["question"] == "hi"
    assert (await watcher.until("TurnFinished"))["text"] == "Hello"
    watcher.writer.close()
    await driver.hear()


async def test_a_watcher_that_does_not_read_holds_nobody_up(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_WAITING", 4)
    opened = await bench(chat(*["word " * 50] * 40))
    watcher = await visit(opened)
    await watcher.say({"watch": True})
    await watcher.until("Watching")
    await opened.runtime.run("chat.send", "hi")
    assert (await watcher.until("Missed"))["count"] > 0


async def test_the_socket_is_private_and_goes_away(bench: OpenBench, tmp_path: Path) -> None:
    opened = await bench()
    guest = await visit(opened)
    await guest.say({"line": "session.list"})
    assert await guest.hear() == {"done": []}  # it has come in, rather than waiting at the door
    path = opened.runtime.control.path
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(CommandError, match="is open"):
        await opened.runtime.run("control.open")
    await opened.runtime.run("control.close")
    assert not path.exists()
    assert await guest.reader.read() == b""


async def test_another_user_is_sent_away(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await bench()
    await opened.runtime.run("control.open")
    monkeypatch.setattr("os.getuid", lambda: 4711)
    guest = await visit(opened)
    assert await guest.reader.read() == b""


async def test_a_folder_of_somebody_else_is_not_used(bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError, match="belongs to somebody else"):
        await (await bench()).runtime.run("control.open")


async def test_what_a_crash_left_is_cleared_away(bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])"
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(tmp_path / "run" / "1.sock")], check=True
    )
    opened = await bench()
    await visit(opened)
    assert control.sockets(tmp_path / "run") == [opened.runtime.control.path]


async def test_it_is_off_unless_it_is_wanted(bench: OpenBench, tmp_path: Path) -> None:
    opened = await bench()
    opened.runtime.attend()
    assert opened.runtime.control.path is None and not (tmp_path / "run").exists()
    wanted = await bench(home=tmp_path / "other", SOPHIA_CONTROL__ENABLED="true")
    wanted.runtime.attend()
    await wanted.runtime.control.settled()
    guest = await visit(wanted)
    await guest.say({"line": "session.list"})
    assert await guest.hear() == {"done": []}


async def test_silent_guests_make_room_and_nobody_else_does(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_GUESTS", 3)
    opened = await bench()
    watcher = await visit(opened)
    await watcher.say({"watch": True})
    await watcher.until("Watching")
    silent, other = await visit(opened), await visit(opened)
    for guest in (silent, other):
        await guest.say({"line": "session.list"})
        await guest.hear()
    refused = await visit(opened)
    assert "3 are here" in (await refused.hear())["error"]  # nobody has kept us waiting for long yet
    monkeypatch.setattr(control, "GRACE_S", 0.0)
    let_in = await visit(opened)
    await let_in.say({"line": "session.list"})
    assert await let_in.hear() == {"done": []}
    assert await silent.reader.read() == b""  # it was the first to fall silent
    await other.say({"line": "session.list"})
    assert await other.hear() == {"done": []}


async def test_a_guest_that_says_nothing_is_sent_away(bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.02)
    guest = await visit(await bench())
    guest.writer.write(b'{"line": "never')
    async with asyncio.timeout(30):
        assert await guest.reader.read() == b""


async def test_bytes_at_random_end_nothing(bench: OpenBench) -> None:
    opened = await bench()
    chance = random.Random(7)  # noqa: S311  # nothing secret is made of it
    kinds = (
        b'{"line": "',
        b'{"watch": 1}',
        b'"}',
        b"\n",
        b"\\ud800",
        b"\x00",
        b"[[",
        b"\xff",
        b"session.list",
        b"1e999",
    )
    for _ in range(60):
        guest = await visit(opened)
        guest.writer.write(b"".join(chance.choice(kinds) for _ in range(chance.randrange(40))))
        guest.writer.write_eof()
        async with asyncio.timeout(30):
            told = (await guest.reader.read()).splitlines()
        assert all(isinstance(json.loads(each), dict) for each in told)
    guest = await visit(opened)
    await guest.say({"line": "chat.send \ud800"})
    assert (await guest.hear()).keys() & {"done", "error"}
    await guest.say({"line": "session.list"})
    assert "done" in await guest.hear()
