"""What a streamed answer costs the terminal: bytes written per token, CPU, and how long a typed letter takes to show.

    python -m benchmarks.terminal [--tokens 2000] [--rate 200]

SOPHIA runs on a pseudo-terminal of our own that counts what it is sent; so does the baseline, a bare Textual app with
one `RichLog` that shows the same text of the same server. Here are also the two ways in which benchmarks drive a real
terminal program: `Console`, a pseudo-terminal that counts, and `Screen`, tmux, which knows what is on the screen.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchmarks import COLUMNS, ROOT, ROWS, child_env, cpu_seconds, resident_mb, spread, table
from benchmarks.streaming_server import end_mark, read_answer, serving

if TYPE_CHECKING:
    from textual.app import App

READY = "Ask SOPHIA"
"""On the screen exactly while typing is possible."""
BARE_READY = "Ask the bare app"
SOPHIA = (sys.executable, "-m", "sophia_cli")
PROBES = "ЖЩЮЯЭФЪЫЦШБГДЗИЛПЧЙЦУКЕНХВА"
"""Letters that no text of ours contains, so that one in the output is the one that was typed."""
BETWEEN_PROBES = 0.4
ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;:?<>=!]*[ -/]*[@-~]|[\]P_^X][^\x1b\x07]*(?:\x1b\\|\x07)|[()][0-9A-Za-z]|[=>78cDEHM])"
)


class Console:
    """A program on a pseudo-terminal of its own; everything it writes is counted and kept."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            _become(command, env)
        self.written = 0
        """Bytes the program has written."""
        self._recent = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def type(self, keys: str) -> None:
        """Sends keys to the program."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> str:
        """What is written within `seconds`, as soon as there is something, without escape sequences."""
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return ""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            data = b""
        if not data:
            raise RuntimeError(f"the program ended; its last words: {self._recent[-400:]!r}")
        self.written += len(data)
        shown = ESCAPES.sub("", self._decoder.decode(data))
        self._recent = (self._recent + shown)[-8000:]
        return shown

    def wait_for(self, text: str, seconds: float) -> float:
        """The seconds until the program has written `text`. Raises TimeoutError."""
        began = time.monotonic()
        while text not in self._recent:
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{text!r} was not written within {seconds} s; last: {self._recent[-400:]!r}")
            self.read(0.5)
        return time.monotonic() - began

    def shows(self, text: str) -> bool:
        """Whether `text` was written lately."""
        return text in self._recent

    def close(self) -> None:
        """Ends the program and closes the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._master)


def _become(command: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Turns the forked child into the program; it must never come back into this one."""
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(ROOT)
        os.execvpe(command[0], list(command), dict(env))  # noqa: S606
    finally:
        os._exit(127)


class Screen:
    """A program in a tmux server of its own, which ends when this process does, however it does."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="sophia-bench-")
        self._base = ["tmux", "-S", f"{self._folder}/tmux", "-f", "/dev/null"]
        self._client: subprocess.Popen[str] | None = None
        self.began = 0.0
        """When the program was started, in monotonic seconds."""
        self.pid = 0

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Starts the program with this environment and no other."""
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        line = f"cd {shlex.quote(str(ROOT))} && exec env -i {shlex.join(f'{k}={v}' for k, v in env.items())} "
        session = ["new-session", "-d", "-s", "app", *size, line + shlex.join(command)]
        self.began = time.monotonic()
        subprocess.run([*self._base, *session], check=True, env=dict(env))
        self._client = subprocess.Popen(
            [*self._base, "-C", "attach-session", "-t", "app", "-f", "no-output,ignore-size"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(env),
        )
        self._answer()
        # Without us the client ends, without a client the session, without a session the server and the program.
        self._ask("set-option -g destroy-unattached on")
        self._ask("set-option -s escape-time 0")
        self.pid = int(self._ask("display-message -p -t app '#{pane_pid}'")[0])

    def _ask(self, command: str) -> list[str]:
        assert self._client is not None and self._client.stdin is not None
        try:
            self._client.stdin.write(f"{command}\n")
            self._client.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("the program in tmux has ended") from None
        return self._answer()

    def _answer(self) -> list[str]:
        assert self._client is not None and self._client.stdout is not None
        lines: list[str] = []
        inside = False
        for line in self._client.stdout:
            if line.startswith("%begin"):
                inside = True
            elif line.startswith("%error"):
                raise RuntimeError(f"tmux: {' '.join(lines)}")
            elif line.startswith("%end"):
                return lines
            elif inside:
                lines.append(line.rstrip("\n"))
        raise RuntimeError("the program in tmux has ended")

    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(self._ask("capture-pane -p -t app"))

    def type(self, text: str) -> None:
        """Types text as it is."""
        self._ask(f"send-keys -t app -l {shlex.quote(text)}")

    def press(self, key: str) -> None:
        """Presses a key by its tmux name."""
        self._ask(f"send-keys -t app {key}")

    def wait_for(self, pattern: str, seconds: float) -> float:
        """The seconds from the start of the program until the pattern is on the screen. Raises TimeoutError."""
        while not re.search(pattern, self.text()):
            if time.monotonic() - self.began > seconds:
                raise TimeoutError(f"{pattern!r} was not on the screen within {seconds} s:\n{self.text()}")
            time.sleep(0.01)
        return time.monotonic() - self.began

    def close(self) -> None:
        """Ends the program and its tmux server; afterwards the program has given up all it held."""
        with contextlib.ExitStack() as steps:  # Ctrl-C in one of them leaves none out
            steps.callback(shutil.rmtree, self._folder, ignore_errors=True)
            if self.pid:
                steps.callback(_end, self.pid)
            if self._client is not None:
                steps.callback(self._client.communicate)
                steps.callback(self._client.kill)
            subprocess.run([*self._base, "kill-server"], capture_output=True, check=False)


def _end(pid: int) -> None:
    """Kills a process that is not our child, so that it cannot simply be waited for, and returns when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        for _ in range(1000):
            os.kill(pid, 0)
            time.sleep(0.01)
        raise TimeoutError(f"process {pid} is still there")


@contextlib.contextmanager
def console(command: Sequence[str], env: Mapping[str, str]) -> Iterator[Console]:
    """A program on a counting terminal, ended with the block."""
    running = Console(command, env)
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def screen(command: Sequence[str], env: Mapping[str, str]) -> Iterator[Screen]:
    """A program in tmux, ended with the block."""
    running = Screen()
    try:
        running.start(command, env)
        yield running
    finally:
        running.close()


def has_tmux() -> bool:
    """Whether programs can be run in tmux here."""
    return shutil.which("tmux") is not None


@contextlib.contextmanager
def fresh_home() -> Iterator[Path]:
    """A folder for everything SOPHIA writes, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="sophia-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def bare_app(url: str) -> App[None]:
    """The baseline: a prompt under one `RichLog`, which shows an answer line by line as plain text."""
    from textual.app import App, ComposeResult
    from textual.widgets import Input, RichLog

    class BareApp(App[None]):
        """As little as an app can be that streams an answer and takes typing meanwhile."""

        ENABLE_COMMAND_PALETTE = False
        CSS = "RichLog { height: 1fr; }"

        def compose(self) -> ComposeResult:
            yield RichLog(wrap=True)
            yield Input(placeholder=BARE_READY)

        def on_mount(self) -> None:
            self.query_one(Input).focus()

        def on_input_submitted(self, event: Input.Submitted) -> None:
            self.query_one(Input).clear()
            self.ask(event.value)

        def ask(self, question: str) -> None:
            self.run_worker(self._answer(question))

        async def _answer(self, question: str) -> None:
            log, open_line = self.query_one(RichLog), ""
            async for piece in read_answer(url, question):
                *lines, open_line = (open_line + piece).split("\n")
                if lines:
                    log.write("\n".join(lines))

    return BareApp()


@dataclass(slots=True)
class Streamed:
    """What one streamed answer cost."""

    seconds: float
    cpu_s: float
    written: int
    resident_mb: float
    echoes: list[float] = field(default_factory=list)
    """Milliseconds until each typed letter was written."""


def stream(running: Console, ready: str, tokens: int, rate: float) -> Streamed:
    """Asks for an answer of so many tokens and types letters until its end has been written."""
    running.wait_for(ready, 60)
    for _ in range(3):  # what follows the first paint is not part of the answer
        running.read(0.5)
    question = f"tokens={tokens} rate={rate:g}"
    running.type(question)
    running.wait_for(question[-8:], 10)
    began, cpu, written = time.monotonic(), cpu_seconds(running.pid), running.written
    running.type("\r")
    echoes = _type_until(running, end_mark(tokens), time.monotonic() + 60 + 5 * tokens / (rate or 1000))
    spent = cpu_seconds(running.pid) - cpu
    return Streamed(time.monotonic() - began, spent, running.written - written, resident_mb(running.pid), echoes)


def _type_until(running: Console, mark: str, deadline: float) -> list[float]:
    echoes: list[float] = []
    letters = iter(PROBES * 20)
    letter, typed = "", time.monotonic() + 1.0
    while not running.shows(mark):
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"the answer did not end; the letters took {[round(each) for each in echoes]} ms")
        if not letter and now - typed >= BETWEEN_PROBES:
            letter, typed = next(letters), now
            running.type(letter)
        shown = running.read(0.02)
        if letter and letter in shown:
            echoes.append((time.monotonic() - typed) * 1000)
            letter = ""
    return echoes


def _row(name: str, found: Streamed, tokens: int) -> dict[str, Any]:
    echo = spread(found.echoes)
    return {
        "": name,
        "seconds": found.seconds,
        "CPU s": found.cpu_s,
        "bytes/token": round(found.written / tokens),
        "echo p50 ms": round(echo.p50, 1),
        "p95": round(echo.p95, 1),
        "max": round(echo.most, 1),
        "letters": echo.count,
        "RSS MB": round(found.resident_mb, 1),
    }


def measure(tokens: int, rate: float) -> None:
    """Streams to both and prints the table."""
    print(
        f"terminal: {tokens} tokens at {rate:g}/s ({tokens / rate:.1f} s of wire), {COLUMNS}×{ROWS}, typing meanwhile"
    )
    rows = []
    with serving() as url, fresh_home() as home:
        bare = (sys.executable, "-m", "benchmarks.terminal", "--bare", url)
        for name, command, ready in (("SOPHIA", SOPHIA, READY), ("bare RichLog", bare, BARE_READY)):
            with console(command, child_env(home, url)) as running:
                rows.append(_row(name, stream(running, ready, tokens, rate), tokens))
    print(table(rows))
    ours, base = rows
    ratios = {key: ours[key] / base[key] for key in ("CPU s", "bytes/token", "p95") if base[key]}
    print("  SOPHIA of bare: " + ", ".join(f"{key} ×{ratio:.2f}" for key, ratio in ratios.items()))
    print(f"  bytes/token {ours['bytes/token']} (budget 300), echo p95 {ours['p95']} ms (budget 50)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0, help="tokens a second")
    parser.add_argument("--bare", metavar="URL", help="run the baseline app itself")
    args = parser.parse_args()
    if args.bare:
        asyncio.run(bare_app(args.bare).run_async())
    else:
        measure(args.tokens, args.rate)


if __name__ == "__main__":
    main()
