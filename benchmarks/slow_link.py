"""SOPHIA over a slow link: how soon a typed letter shows, what a token costs, how much lies underway.

    python -m benchmarks.slow_link [--tokens 300] [--rate 20] [--trip 0.3] [--width 2000]

The app runs on a pseudo-terminal whose other end is as far away as an SSH connection to it: every byte takes half the
round trip, so many bytes a second go through, and up to 256 kB wait in between, as kernels and SSH have it. The same
app with the driver that Textual brings is the baseline, and so is a link that is neither far nor narrow.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import re
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import child_env, cpu_seconds, spread, table
from benchmarks.streaming_server import end_mark, serving
from benchmarks.terminal import ESCAPES, READY, SOPHIA, _become, fresh_home

BUFFERS = 256 << 10
"""Bytes between the app and the narrow part: the kernel's, those of SSH and of the network."""
FRAME = re.compile(rb"\x1b\[6n|\x1b\[\?2026l")
ASKS = b"\x1b[6n"
LETTERS = "ЖЩЮЯЭФЪЫЦШБГДЗИЛПЧЙЦУКЕНХВА"
BETWEEN = 1.0
PLAIN = (sys.executable, "-m", "benchmarks.slow_link", "--plain-app")
"""SOPHIA with the driver that Textual brings."""


class SlowTerminal:
    """A terminal at the far end of a link; nothing happens but in `pump`."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, trip: float, width: float | None) -> None:
        """`trip` is the round trip in seconds, `width` how many bytes a second go through; None: all."""
        self._trip, self._width = trip, width
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            _become(command, env)
        self._down: deque[tuple[float, bytes]] = deque()
        self._up: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self._tail = b""
        self.stalled = False
        """The terminal takes nothing."""
        self.written = 0
        """Bytes that have arrived."""
        self.questions = 0
        self.most_underway = 0
        self.shown = ""
        """The last of what has arrived, without escape sequences."""

    @property
    def underway(self) -> int:
        """Bytes that the app has written and that have not arrived."""
        return sum(len(each) for _, each in self._down)

    def type(self, keys: str) -> None:
        """Presses keys at the far end."""
        self._up.append((time.monotonic() + self._trip / 2, keys.encode()))

    def resize(self, columns: int, rows: int) -> None:
        """Makes the terminal another size."""
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, seconds: float) -> str:
        """Lets time pass, at most so much; what has arrived meanwhile, as soon as there is something."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            arrived = self._arrivals(now)
            while self._up and self._up[0][0] <= now:
                os.write(self._master, self._up.popleft()[1])
            if arrived or now >= until:
                return arrived
            room = not self.stalled and self.underway < BUFFERS
            due = [until, *(each[0][0] for each in (self._down, self._up) if each and not self.stalled)]
            wait = max(0.0, min(due) - now)
            if select.select([self._master] if room else [], [], [], min(wait, 0.05) if not room else wait)[0]:
                self._take(time.monotonic())

    def _take(self, now: float) -> None:
        try:
            data = os.read(self._master, 1024)
        except OSError:
            data = b""
        if not data:
            raise RuntimeError(f"the program ended; its last words: {self.shown[-400:]!r}")
        self._free_at = max(now, self._free_at) + (len(data) / self._width if self._width else 0.0)
        self._down.append((self._free_at + self._trip / 2, data))
        self.most_underway = max(self.most_underway, self.underway)

    def _arrivals(self, now: float) -> str:
        arrived = b""
        while self._down and self._down[0][0] <= now and not self.stalled:
            arrived += self._down.popleft()[1]
        if not arrived:
            return ""
        self.written += len(arrived)
        asked = (self._tail + arrived).count(ASKS) - self._tail.count(ASKS)
        self._tail = (self._tail + arrived)[-3:]
        for _ in range(asked):
            self.questions += 1
            self._up.append((now + self._trip / 2, b"\x1b[24;1R"))
        text = ESCAPES.sub("", arrived.decode("utf-8", "ignore"))
        self.shown = (self.shown + text)[-8000:]
        return text

    def wait_for(self, text: str, seconds: float) -> float:
        """Seconds until the text has arrived. Raises TimeoutError."""
        began = time.monotonic()
        while text not in self.shown:
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{text!r} did not arrive within {seconds} s; last: {self.shown[-400:]!r}")
            self.pump(0.5)
        return time.monotonic() - began

    def settle(self, quiet: float) -> None:
        """Returns when nothing has arrived for so long."""
        while self.pump(quiet):
            pass

    def close(self) -> None:
        """Ends the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._master)


@contextlib.contextmanager
def slow_terminal(
    command: Sequence[str], env: Mapping[str, str], *, trip: float, width: float | None
) -> Iterator[SlowTerminal]:
    """A program on a slow terminal, ended with the block."""
    running = SlowTerminal(command, env, trip=trip, width=width)
    try:
        yield running
    finally:
        running.close()


@dataclass(slots=True)
class Found:
    """What one run showed."""

    first_s: float = 0.0
    seconds: float = 0.0
    written: int = 0
    underway: int = 0
    cpu_s: float = 0.0
    palette_s: float = 0.0
    echoes: list[float] = field(default_factory=list)


def run(terminal: SlowTerminal, tokens: int, rate: float, patience: float) -> Found:
    """Asks for an answer, types letters while it streams, and opens the palette while it does."""
    found = Found(first_s=terminal.wait_for(READY, patience))
    terminal.settle(2.0)
    question = f"tokens={tokens} rate={rate:g}"
    terminal.type(question)
    terminal.wait_for(question[-8:], patience)
    began, before, cpu = time.monotonic(), terminal.written, cpu_seconds(terminal.pid)
    terminal.most_underway = 0
    terminal.type("\r")
    letters, letter, typed = iter(LETTERS * 9), "", began + 1.0
    while end_mark(tokens) not in terminal.shown:
        now = time.monotonic()
        if now - began > patience:
            raise TimeoutError(f"the answer did not end in {patience} s")
        if not letter and now - typed >= BETWEEN:
            letter, typed = next(letters), now
            terminal.type(letter)
        if letter and letter in terminal.pump(0.05):
            found.echoes.append(time.monotonic() - typed)
            letter = ""
    found.seconds, found.written = time.monotonic() - began, terminal.written - before
    found.underway, found.cpu_s = terminal.most_underway, cpu_seconds(terminal.pid) - cpu
    terminal.settle(1.5)
    terminal.type("\x10")
    found.palette_s = terminal.wait_for("Type a command", patience)
    return found


def _row(name: str, found: Found, tokens: int) -> dict[str, Any]:
    echo = spread([each * 1000 for each in found.echoes])
    return {
        "": name,
        "first screen s": round(found.first_s, 2),
        "answer s": round(found.seconds, 1),
        "bytes/token": round(found.written / tokens),
        "most underway": found.underway,
        "echo p50 ms": round(echo.p50),
        "p95": round(echo.p95),
        "letters": echo.count,
        "palette s": round(found.palette_s, 2),
        "CPU s": round(found.cpu_s, 2),
    }


def measure(tokens: int, rate: float, trip: float, width: float) -> None:
    """Runs all and prints the table."""
    print(f"slow_link: {tokens} tokens at {rate:g}/s, typing meanwhile; far = {trip * 1000:.0f} ms and {width:g} B/s")
    rows = []
    for name, command, far in (("near", SOPHIA, False), ("far", SOPHIA, True), ("far, plain driver", PLAIN, True)):
        with serving() as url, fresh_home() as home:
            env = {**child_env(home, url), **({"SSH_TTY": "/dev/pts/9"} if far else {})}
            there = {"trip": trip, "width": width} if far else {"trip": 0.0, "width": None}
            with slow_terminal(command, env, **there) as running:
                rows.append(_row(name, run(running, tokens, rate, 240), tokens))
    print(table(rows))
    near, far_row, plain = rows
    for key in ("bytes/token", "p95", "most underway", "answer s", "palette s"):
        print(f"  {key}: far ×{far_row[key] / (plain[key] or 1):.2f} of the plain driver, near {near[key]}")
    print(f"  echo beyond the round trip: p50 {far_row['echo p50 ms'] - trip * 1000:.0f} ms")


def _plain_app() -> None:
    from textual.drivers.linux_driver import LinuxDriver

    import sophia_tui.start as start
    from sophia_cli.main import main as sophia

    vars(start)["LinkDriver"] = LinuxDriver
    sys.exit(sophia([]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--rate", type=float, default=20.0, help="tokens a second")
    parser.add_argument("--trip", type=float, default=0.3, help="seconds there and back")
    parser.add_argument("--width", type=float, default=2000.0, help="bytes a second")
    parser.add_argument("--plain-app", action="store_true", help="run the baseline app itself")
    args = parser.parse_args()
    if args.plain_app:
        _plain_app()
    else:
        measure(args.tokens, args.rate, args.trip, args.width)


if __name__ == "__main__":
    main()
