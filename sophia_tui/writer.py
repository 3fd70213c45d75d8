"""Writes to the terminal in a thread, so that one that takes nothing holds nobody up but that thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import Final

PIECE: Final = 4096
"""Bytes given to the terminal at once: what a kernel's terminal buffer takes."""
MOST: Final = 8 << 20
"""Bytes that may wait. The app draws nothing while much waits, so that only a broken one gets here."""
FAREWELL_S: Final = 1.0
"""How long a terminal may take for the last words before the app leaves without it."""


class Writer:
    """What waits for the terminal, in order; the newest is dropped only where the terminal takes nothing at all."""

    def __init__(self, descriptor: int, on_written: Callable[[], object], on_gone: Callable[[], object]) -> None:
        """`on_written` is called, in the thread, when nothing waits any more; `on_gone` when there is no terminal."""
        self._descriptor = descriptor
        self._on_written, self._on_gone = on_written, on_gone
        self._waiting: deque[bytes] = deque()
        self._change = Condition()
        self._ending = False
        self.backlog = 0
        """Bytes that wait."""
        self.written = 0
        """Bytes that the terminal has taken."""
        self.given = 0
        """Bytes that were to be written."""
        self.gone = False
        """The terminal was closed."""
        self._thread = Thread(target=self._run, name="terminal-output", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def write(self, text: str) -> None:
        """Takes text to be written; returns at once."""
        data = text.encode("utf-8", "replace")
        with self._change:
            if self.gone or self.backlog + len(data) > MOST:
                return
            self._waiting.append(data)
            self.backlog += len(data)
            self.given += len(data)
            self._change.notify()

    def stop(self) -> None:
        """Writes what waits and ends; a terminal that takes nothing is not waited for."""
        with self._change:
            self._ending = True
            self._change.notify()
        self._thread.join(FAREWELL_S)

    def _run(self) -> None:
        while data := self._next():
            try:
                self._put(data)
            except OSError:
                self._lose()
                return
            if not self.backlog:
                self._on_written()

    def _next(self) -> bytes:
        with self._change:
            while not self._waiting and not self._ending:
                self._change.wait()
            data = b"".join(self._waiting)
            self._waiting.clear()
            return data

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            taken = os.write(self._descriptor, rest[:PIECE])
            rest = rest[taken:]
            with self._change:
                self.backlog -= taken
                self.written += taken

    def _lose(self) -> None:
        with self._change:
            self.gone, self.backlog = True, 0
            self._waiting.clear()
        self._on_gone()
