"""The way to the terminal: how long it takes there and back, and how much it takes. Pure, but for the asking itself."""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUESTION: Final = b"\x1b[6n"
"""Where the cursor is: every terminal answers that, once it has taken all that came before."""
ANSWER: Final = re.compile(rb"\x1b\[\d+;\d+R")
PADDING: Final = b"\x1b[0m"
"""What changes nothing on the screen."""
SIZES: Final = (1 << 10, 1 << 13, 1 << 16)
"""Bytes sent to see how fast they are taken; more only where fewer take no time to speak of."""
TELLING_S: Final = 0.05
"""What takes this long is a measure."""
WAIT_S: Final = 3.0
ASKED: Final = 3
FAR_S: Final = 0.15
"""From this round trip on a person feels it."""
NARROW: Final = 20_000
"""Bytes a second below which a quick answer arrives faster than it can be drawn."""
FILE: Final = "link.json"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; None: not known."""

    round_trip_s: float | None = None
    bytes_per_s: float | None = None
    """At least this many, where it took no time to speak of."""
    bytes_per_token: float | None = None
    """What drawing a streamed answer costs."""

    @property
    def slow(self) -> bool:
        """Whether a person would notice."""
        far = self.round_trip_s is not None and self.round_trip_s >= FAR_S
        return far or (self.bytes_per_s is not None and self.bytes_per_s < NARROW)

    def __str__(self) -> str:
        words = []
        if self.round_trip_s is not None:
            words.append(f"round trip {milliseconds(self.round_trip_s)}")
        if self.bytes_per_s is not None:
            words.append(f"takes about {amount(self.bytes_per_s)}/s")
        if self.bytes_per_token is not None:
            words.append(f"{self.bytes_per_token:.0f} bytes for each token of the last answers")
        return ", ".join(words) or "not measured"


def milliseconds(seconds: float) -> str:
    """`0.4 ms`, `312 ms`, `2.1 s`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def amount(count: float) -> str:
    """`830 B`, `2.1 kB`, `14 MB`."""
    for limit, unit in ((1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}" if count < 10 * limit else f"{count / limit:.0f} {unit}"
    return f"{count:.0f} B"


def measure(descriptor: int, wait_s: float = WAIT_S) -> Figures:
    """Asks a terminal that nobody else reads from just now; takes as long as the link is slow, at most `wait_s` each.

    Raises OSError where there is no terminal.
    """
    import termios
    import tty

    try:
        before = termios.tcgetattr(descriptor)
    except termios.error as error:
        raise OSError(f"no terminal: {error}") from None
    try:
        tty.setcbreak(descriptor, termios.TCSAFLUSH)
        return _measure(lambda padding: _ask(descriptor, padding, wait_s))
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)  # a late answer is not typed into the shell


def of_this_terminal() -> Figures:
    """The figures of the terminal of this process; none known where it has none."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return Figures()
    try:
        return measure(terminal)
    except OSError:
        return Figures()
    finally:
        os.close(terminal)


def _measure(ask: Callable[[int], float | None]) -> Figures:
    trips: list[float] = []
    for _ in range(ASKED):
        took = ask(0)
        if took is None:
            return Figures(min(trips, default=None))
        trips.append(took)
    base = min(trips)
    rate = None
    for size in SIZES:
        took = ask(size)
        if took is None:
            break
        rate = size / max(took - base, 1e-4)
        if took - base >= TELLING_S:
            break
    return Figures(base, rate)


def _ask(terminal: int, padding: int, wait_s: float) -> float | None:
    """Seconds until it has taken so many bytes and has answered; None where it does not."""
    began = time.monotonic()
    rest = memoryview(PADDING * (padding // len(PADDING)) + QUESTION)
    answer = b""
    while not ANSWER.search(answer):
        left = began + wait_s - time.monotonic()
        readable, writable, _ = select.select([terminal], [terminal] if rest else [], [], max(0.0, left))
        if left <= 0 or not (readable or writable):
            return None
        if writable:
            rest = rest[os.write(terminal, rest[:512]) :]
        if readable:
            more = os.read(terminal, 256)
            if not more:
                return None
            answer = (answer + more)[-512:]
    return time.monotonic() - began


def keep(folder: Path, bytes_per_token: float) -> None:
    """Remembers what drawing cost in the app, for `sophia doctor`; what cannot be written is not worth a word."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps({"bytes_per_token": round(bytes_per_token, 1)}), encoding="utf-8")


def kept(folder: Path) -> float | None:
    """What drawing cost in the app when it ran last."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / FILE).read_bytes()[:1000])
        value = found.get("bytes_per_token") if isinstance(found, dict) else None
        if isinstance(value, int | float) and 0 < value < 1e6:
            return float(value)
    return None
