"""The real program in a real terminal: tmux draws the screen, presses the keys and keeps every byte it was sent.

Each terminal is a tmux server of its own on a socket of its own, and goes with the test. Nothing here sleeps: tmux
tells when the program has written something, and only then is the screen looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOPHIA = (sys.executable, "-m", "sophia_cli")
PATIENCE_S = 30.0
ESCAPED = re.compile(rb"\\([0-7]{3})")


class ProgramEnded(Exception):
    """The program is gone, and its terminal with it."""


class Terminal:
    """One program on one screen."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._socket, self._size = str(folder / "t"), size
        self._client: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: deque[asyncio.Future[list[str]]] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self.written = bytearray()
        """Every byte the program has sent to the terminal since it was watched."""
        self.pid = 0
        """The program's process id."""

    async def start(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Runs the command with exactly this environment (and tmux's own TERM, where it names none)."""
        width, height = map(str, self._size)
        own = shlex.join(f"{name}={value}" for name, value in env.items())
        term = "" if "TERM" in env else 'TERM="$TERM" '
        line = f"cd {shlex.quote(str(ROOT))} && exec env -i {term}{own} {shlex.join(command)}"
        outside = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self._client = await asyncio.create_subprocess_exec(
            *("tmux", "-S", self._socket, "-f", "/dev/null", "-C", "new-session", "-s", "t", "-x", width, "-y", height),
            line,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=outside,
            limit=1 << 24,
        )
        self._answers.append(asyncio.get_running_loop().create_future())  # new-session is answered as well
        first = self._answers[0]
        self._reader = asyncio.create_task(self._read())
        await first
        await self.tell("set-option -s escape-time 0")
        await self.tell("set-option -g window-size manual")
        await self.tell(f"resize-window -x {width} -y {height}")
        self.pid = int((await self.tell("display-message -p '#{pane_pid}'"))[0])

    async def tell(self, command: str) -> list[str]:
        """What tmux answers to one of its commands. Raises ProgramEnded, or ValueError for a wrong command."""
        if self._ended or self._client is None or self._client.stdin is None:
            raise ProgramEnded(self.last_words)
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._client.stdin.write(f"{command}\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def _read(self) -> None:
        assert self._client is not None and self._client.stdout is not None
        inside: list[str] | None = None
        async for line in self._client.stdout:
            if inside is not None and not line.startswith((b"%end ", b"%error ")):
                inside.append(line.decode("utf-8", "replace").rstrip("\n"))
            elif line.startswith(b"%begin "):
                inside = []
            elif inside is not None:
                self._answer(inside, wrong=line.startswith(b"%error "))
                inside = None
            elif line.startswith(b"%output "):
                self.written += ESCAPED.sub(lambda m: bytes([int(m[1], 8)]), line.rstrip(b"\n").split(b" ", 2)[2])
                self._news.set()
            elif line.startswith(b"%exit"):
                break
        self._ended = True
        self._news.set()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(ProgramEnded(self.last_words))

    def _answer(self, lines: list[str], *, wrong: bool) -> None:
        answer = self._answers.popleft()
        if answer.done():
            return
        if wrong:
            answer.set_exception(ValueError("tmux: " + " ".join(lines)))
        else:
            answer.set_result(lines)

    @property
    def last_words(self) -> str:
        """The end of what the program wrote."""
        return bytes(self.written[-600:]).decode("utf-8", "replace")

    async def screen(self) -> str:
        """What is on the screen now."""
        return "\n".join(await self.tell("capture-pane -p"))

    async def shows(self, *patterns: str, within: float = PATIENCE_S) -> str:
        """The screen, as soon as all the patterns are on it, wherever its lines break. Raises AssertionError."""
        return await self.until(lambda text: all(re.search(each, flat(text)) for each in patterns), patterns, within)

    async def hides(self, pattern: str, *, within: float = PATIENCE_S) -> str:
        """The screen, as soon as the pattern is no longer on it. Raises AssertionError."""
        return await self.until(lambda text: not re.search(pattern, flat(text)), ("not", pattern), within)

    async def until(self, holds: Callable[[str], bool], what: Sequence[str], within: float = PATIENCE_S) -> str:
        """The screen, as soon as this holds of it. Raises AssertionError that names `what` was waited for."""
        text = ""
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    text = await self.screen()
                    if holds(text):
                        return text
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{' '.join(what)!r} did not come within {within} s; the screen:\n{text}") from None

    async def type(self, text: str) -> None:
        """Types the text as it is."""
        await self.tell(f"send-keys -l -- {_quoted(text)}")

    async def press(self, *keys: str) -> None:
        """Presses keys by their names in tmux: Enter, M-Enter, C-j, Escape …"""
        await self.tell(f"send-keys {' '.join(keys)}")

    async def resize(self, width: int, height: int) -> None:
        """Gives the window another size."""
        await self.tell(f"resize-window -x {width} -y {height}")

    async def ended(self, within: float = PATIENCE_S) -> None:
        """Returns when the program has ended, and not only its terminal. Raises TimeoutError."""
        assert self._reader is not None
        async with asyncio.timeout(within):
            await asyncio.shield(self._reader)
            while _lives(self.pid):  # noqa: ASYNC110 - it is no child of ours, so nothing tells of its end
                await asyncio.sleep(0.01)

    async def hang_up(self) -> None:
        """Closes the terminal under the program, as a window manager does."""
        with contextlib.suppress(ProgramEnded):
            await self.tell("kill-session")

    async def close(self) -> None:
        """Ends the program and the terminal, however they are."""
        with contextlib.suppress(ProcessLookupError):
            if self.pid and not self._ended:
                os.kill(self.pid, signal.SIGKILL)
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)  # noqa: ASYNC221
        if self._client is not None:
            with contextlib.suppress(ProcessLookupError):
                self._client.kill()
            await self._client.wait()
        if self._reader is not None:
            await asyncio.wait([self._reader])


def flat(text: str) -> str:
    """The text of a screen as one line."""
    return " ".join(text.split())


def _quoted(text: str) -> str:
    """The text as one word of tmux's own command language."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


@asynccontextmanager
async def terminal(
    command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (90, 30)
) -> AsyncIterator[Terminal]:
    """A program on a screen of its own, both gone after the block."""
    # A socket's path has room for about a hundred characters, which a test's own folder may fill.
    folder = Path(tempfile.mkdtemp(prefix="sophia-e2e-"))
    running = Terminal(folder, size)
    try:
        await running.start(command, env)
        yield running
    finally:
        await running.close()
        shutil.rmtree(folder, ignore_errors=True)


def has_tmux() -> bool:
    """Whether programs can be run in tmux here."""
    return shutil.which("tmux") is not None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
