"""The process's own streams: what may be printed where, and a writer that never holds up an answer.

Everything goes through one thread in the order it was said, so that a reader who is slow (`| less`) or gone
(`| head`) neither stops the stream from the model nor its way into the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sophia_cli.exits import FAILED, SIGNALLED, Quit
from sophia_core.sanitize import one_line, sanitize

SIGPIPE = 13
DIM, PLAIN, ERASE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Stream:
    """One file descriptor to write text to."""

    descriptor: int
    terminal: bool
    encoding: str = "utf-8"
    closed: bool = False
    """True when the process was started without it."""

    def encode(self, text: str) -> bytes:
        return text.encode(self.encoding, "backslashreplace")


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal behind stderr may be sent."""

    colours: bool = False
    rewrites: bool = False
    """Whether a line can be erased and written again."""


class Console:
    """Stdout for results, stderr for everything said about them; the first failure to write is kept in `failure`."""

    def __init__(self, out: Stream, err: Stream, *, stdin_terminal: bool = False, look: Look | None = None) -> None:
        self.out_stream, self.err_stream, self.stdin_terminal = out, err, stdin_terminal
        self.look = look or Look()
        self.failure: OSError | None = None
        self.on_failure: Callable[[], object] | None = None
        """Called from the writing thread when stdout cannot be written any more."""
        self._queue: queue.SimpleQueue[tuple[Stream, bytes] | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._dead: set[int] = set()

    @property
    def interactive(self) -> bool:
        """Whether there is a person who can be asked something."""
        return self.stdin_terminal and self.err_stream.terminal

    def out(self, text: str) -> None:
        """Prints a whole piece of text on stdout; made safe when that is a terminal."""
        self._put(self.out_stream, sanitize(text) if self.out_stream.terminal else text)

    def out_raw(self, text: str) -> None:
        """Prints text on stdout as it is: it is safe already, or stdout is no terminal."""
        self._put(self.out_stream, text)

    def err(self, text: str) -> None:
        """Prints a whole piece of text on stderr; always made safe."""
        self._put(self.err_stream, sanitize(text))

    def err_raw(self, text: str) -> None:
        """Prints text of our own on stderr, escape sequences included."""
        self._put(self.err_stream, text)

    def dim(self, text: str) -> str:
        """Safe text, dimmed where stderr can show that."""
        return f"{DIM}{text}{PLAIN}" if self.look.colours else text

    def say(self, message: str, hint: str = "") -> None:
        """One line about what went wrong or is worth knowing, and one about what to do."""
        self.err_raw(f"sophia: {one_line(message, 600)}\n")
        if hint:
            self.err_raw(f"  {one_line(hint, 600)}\n")

    def require_stdout(self) -> None:
        """Raises Quit when the process has no stdout to answer on."""
        if self.out_stream.closed:
            raise Quit(FAILED, "stdout is closed, so there is nowhere to print the answer", "Leave out `>&-`.")

    def _put(self, stream: Stream, text: str) -> None:
        if not text or stream.descriptor in self._dead:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="console", daemon=True)
            self._thread.start()
        self._queue.put((stream, stream.encode(text)))

    def drain(self) -> None:
        """Returns when everything said so far is written or cannot be."""
        if self._thread is not None:
            written = threading.Event()
            self._queue.put(written)
            written.wait()

    def _write_all(self) -> None:
        while True:
            match self._queue.get():
                case threading.Event() as written:
                    written.set()
                case (stream, data):
                    self._write(stream, data)

    def _write(self, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        while view and stream.descriptor not in self._dead:
            try:
                view = view[os.write(stream.descriptor, view) :]
            except BlockingIOError:
                _wait_writable(stream.descriptor)
            except OSError as error:
                self._dead.add(stream.descriptor)
                if stream is self.out_stream:
                    self.failure = error
                    if self.on_failure:
                        self.on_failure()

    def exit_code(self, code: int) -> int:
        """The code to end with, after everything is written: a stdout that could not be written is a failure."""
        self.drain()
        if self.failure is None:
            return code
        if self.failure.errno == errno.EPIPE:
            return SIGNALLED + SIGPIPE
        self.say(f"stdout cannot be written: {self.failure.strerror}")
        self.drain()
        return code or FAILED


def _wait_writable(descriptor: int) -> None:
    """Somebody who shares the descriptor made it non-blocking."""
    import select

    select.select([], [descriptor], [])


def open_console(env: Mapping[str, str]) -> Console:
    """The console of this process. Descriptors it was started without are put on /dev/null first, so that no file
    opened later takes their place and is written into by accident."""
    closed = {number for number in (0, 1, 2) if _fill(number)}
    with contextlib.suppress(ValueError, OSError):
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    out, err = (_stream(number, number in closed) for number in (1, 2))
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - argparse prints its help there
    smart = err.terminal and env.get("TERM", "dumb") not in ("", "dumb")
    look = Look(colours=smart and not env.get("NO_COLOR"), rewrites=smart)
    return Console(out, err, stdin_terminal=0 not in closed and os.isatty(0), look=look)


def _fill(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)
        return True
    return False


def _stream(number: int, closed: bool) -> Stream:
    terminal = not closed and os.isatty(number)
    file = sys.stdout if number == 1 else sys.stderr
    encoding = getattr(file, "encoding", None) or "utf-8"
    return Stream(number, terminal, encoding if terminal else "utf-8", closed)
