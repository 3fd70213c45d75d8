"""Records the guided tour as it runs on a terminal, in a file that asciinema and its players read.

    python -m tools.record_tour [--out docs/tour.cast]

The real app runs on a pseudo-terminal of 100 columns and 30 rows, in a home of its own, against a server on loopback
whose answers are written here; the keys are those below. What is recorded is what the app wrote, with pauses cut to a
length that a person watches, and without the name of any folder of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 100, 30
LONGEST_PAUSE: Final = 1.2
"""Seconds; a longer one says nothing."""
KEY_S: Final = 0.05
QUIET_S: Final = 0.6
PATIENCE_S: Final = 60.0
MOST_BYTES: Final = 200_000
ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-9;:?<>=!]*[ -/]*[@-~]|[\]P_^X][^\x1b\x07]*(?:\x1b\\|\x07)|[()][0-9A-Za-z]|[=>78])"
)
ANSWERS: Final = (
    "A **process** is a program while it runs: its code, its memory, its open files,\n"
    "and a place in the queue for the processor.",
    "It is a *running program*. Two of the same program are two processes:\n\n"
    "- each has its own memory\n- each can end without the other",
    "Hello!",
)
CONFIG: Final = """
[chat]
titles = "words"
[screen]
reduced_motion = true
[[providers]]
name = "gh200"
base_url = "{url}"
model = "qwen3-coder"
"""
SCRIPT: Final[tuple[tuple[str, str], ...]] = (
    ("/tour\r", "1 of 4"),
    ("What is a process?\r", "2 of 4"),
    ("/again\r", "3 of 4"),
    ("/previous\r", "4 of 4"),
    ("/new\r", "macro 1 of 4"),
    ("/macro.record\r", "macro 2 of 4"),
    ("Say hello in one word.\r", "macro 3 of 4"),
    ("/macro.keep hello\r", "macro 4 of 4"),
    ("/macro.run hello\r", "search 1 of 3"),
    ("/search process\r", "search 2 of 3"),
    ("/sessions\r", "search 3 of 3"),
    ("/session.latest\r", "You have done it all"),
)
"""What is typed, and what is to be seen before it goes on."""


class Recording:
    """What a program writes to its terminal, with the time of each piece."""

    def __init__(self, env: dict[str, str]) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            _become(env)
        self.pieces: list[tuple[float, str]] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._shown = ""

    def read(self, seconds: float) -> bool:
        """Takes what is written within that time; False when there was nothing."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        text = self._decoder.decode(os.read(self._master, 1 << 16))
        for _ in range(text.count("\x1b[6n")):
            os.write(self._master, b"\x1b[1;1R")
        text = text.replace("\x1b[6n", "")
        self.pieces.append((time.monotonic(), text))
        self._shown = (self._shown + ESCAPES.sub("", text))[-20_000:]
        return True

    def until(self, words: str) -> None:
        """Returns when the words were written and nothing more comes. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE_S
        while words not in self._shown:
            if time.monotonic() > end:
                raise TimeoutError(f"{words!r} was not shown; last: {self._shown[-400:]!r}")
            self.read(0.2)
        while self.read(QUIET_S):
            pass

    def type(self, keys: str) -> None:
        """Presses the keys one after the other, as a person would."""
        self._shown = ""
        for key in keys:
            os.write(self._master, key.encode())
            end = time.monotonic() + KEY_S
            while (left := end - time.monotonic()) > 0:
                self.read(left)

    def close(self) -> None:
        """Ends the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._master)


def _become(env: dict[str, str]) -> NoReturn:
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(env["HOME"])
        os.execve(sys.executable, [sys.executable, "-m", "sophia_cli"], env)  # noqa: S606
    finally:
        os._exit(127)


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """A server that gives the answers above one after the other, a word at a time; yields its address."""
    loop = asyncio.new_event_loop()
    given = iter(ANSWERS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"content-length: (\d+)", head, re.I)
        await reader.readexactly(int(length[1]) if length else 0)
        if "/chat/completions" not in head.split("\r\n", 1)[0]:
            body = json.dumps({"object": "list", "data": [{"id": "qwen3-coder", "object": "model"}]}).encode()
            top = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{top}Connection: close\r\n\r\n".encode() + body)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for word in re.findall(r"\s*\S+", next(given, ANSWERS[-1])):
                writer.write(_chunk({"content": word}))
                await writer.drain()
                await asyncio.sleep(0.04)
            writer.write(_chunk({}, "stop") + b"data: [DONE]\n\n")
        with contextlib.suppress(ConnectionError):  # whoever asked has heard enough
            await writer.drain()
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return (
        b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def record() -> list[tuple[float, str]]:
    """Gives the tour; returns seconds and text of every piece."""
    with tempfile.TemporaryDirectory(prefix="sophia-tour-") as home, answering() as url:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": home, "SOPHIA_HOME": f"{home}/sophia"}
        env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "SOPHIA_NO_KEYRING": "1"}
        folder = Path(home) / "sophia"
        folder.mkdir()
        (folder / "config.toml").write_text(CONFIG.format(url=url), encoding="utf-8")
        recording = Recording(env)
        try:
            recording.until("Ask SOPHIA")
            for keys, shown in SCRIPT:
                recording.type(keys)
                recording.until(shown)
            pieces = list(recording.pieces)
        finally:
            recording.close()
        return [(at, text.replace(home, "~").replace(str(ROOT), "~")) for at, text in pieces]


def cast(pieces: list[tuple[float, str]]) -> str:
    """An asciicast of version 2, with no pause longer than a person waits."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "SOPHIA: the guided tour"}
    lines, clock, before = [json.dumps(header)], 0.0, pieces[0][0] if pieces else 0.0
    for at, text in pieces:
        clock += min(at - before, LONGEST_PAUSE)
        before = at
        lines.append(json.dumps([round(clock, 3), "o", text], ensure_ascii=False))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tour.cast")
    args = parser.parse_args()
    made = cast(record())
    size = len(made.encode())
    if size > MOST_BYTES:
        print(f"{size:,} bytes are more than {MOST_BYTES:,}; nothing was written.", file=sys.stderr)
        return 1
    args.out.write_text(made, encoding="utf-8")
    print(f"{args.out}: {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
