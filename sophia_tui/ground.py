"""Whether the terminal's ground is light or dark, asked of the terminal itself: before the app takes it over, and
again while it runs, without waiting for the answer."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Mapping
from typing import Final

QUESTION: Final = b"\x1b]11;?\x1b\\\x1b[c"
"""The ground's colour (OSC 11), and then who it is: every terminal answers that, so nobody waits for the first."""
ATTRIBUTES: Final = "\x1b[c"
"""What it can (DA1): a `4` in the answer stands for sixels."""
AGAIN: Final = "\x1b]11;?\x1b\\"
"""The ground's colour alone; whoever asks hears the answer among the keys."""
FOLLOW: Final = "\x1b[?2031h"
LEAVE: Final = "\x1b[?2031l"
"""Asks to be told whenever the ground turns light or dark, and no more (mode 2031)."""
TOLD: Final = re.compile(r"\x1b\]11;([^\x07\x1b]{0,64})(?:\x07|\x1b\\)|\x1b\[\?997;([12])n|\x1b\[\?([\d;]{1,64})c")
BEGUN: Final = re.compile(r"\x1b(?:\](?:1(?:1(?:;[^\x07\x1b]{0,64}\x1b?)?)?)?|\[(?:\?[\d;]{0,64})?)\Z")
"""The beginning of such an answer at the end of what was read."""
ANSWERED: Final = re.compile(rb"\x1b\[\?[\d;]*c")
COLOUR: Final = re.compile(rb"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})")
WAIT_S: Final = 1.0
"""How long to wait for a terminal that answers neither; one far away needs its time."""
MOST: Final = 4096
LIGHT_ABOVE: Final = 0.5


def is_light(env: Mapping[str, str], descriptor: int | None = None, wait_s: float = WAIT_S) -> bool | None:
    """What the terminal says, else what the environment says of it; None where neither does."""
    answer = b""
    try:
        own = descriptor is None
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC) if descriptor is None else descriptor
        try:
            answer = _ask(terminal, wait_s)
        finally:
            if own:
                os.close(terminal)
    except OSError:
        pass  # there is no terminal to be asked
    found = light_in(answer)
    return light_by(env) if found is None else found


def light_in(answer: bytes) -> bool | None:
    """Whether the colour in an answer is a light one; None where there is none."""
    match = COLOUR.search(answer)
    if match is None:
        return None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in match.groups())
    bright: float = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return bright > LIGHT_ABOVE


def light_by(env: Mapping[str, str]) -> bool | None:
    """What COLORFGBG says, which some terminals set: `15;0` is light on dark."""
    ground = env.get("COLORFGBG", "").rpartition(";")[2]
    return ground in ("7", "15") if ground.isdecimal() else None


class Hearing:
    """Takes what a terminal says of its ground out of what it sends, so that nobody takes it for keys."""

    def __init__(self, heard: Callable[[bool], None], attributes: Callable[[str], object] = str) -> None:
        """`heard` is told whether the ground is light, `attributes` what the terminal says that it can; they are
        called by whoever calls `feed`."""
        self._heard, self._attributes, self._held = heard, attributes, ""

    def feed(self, text: str) -> str:
        """What is left for others. The beginning of an answer is kept back until more comes, or `rest` is called."""
        text, self._held = self._held + text, ""
        if "\x1b" not in text:
            return text
        left = TOLD.sub(self._tell, text)
        if begun := BEGUN.search(left):
            left, self._held = left[: begun.start()], begun[0]
        return left

    def rest(self) -> str:
        """What was kept back and was no answer: Alt and a bracket, say."""
        held, self._held = self._held, ""
        return held

    def _tell(self, match: re.Match[str]) -> str:
        if match[3]:
            self._attributes(match[3])
        elif match[2]:
            self._heard(match[2] == "2")
        else:
            light = light_in(match[0].encode("ascii", "replace"))
            if light is not None:
                self._heard(light)
        return ""


def _ask(terminal: int, wait_s: float) -> bytes:
    import termios
    import tty

    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        return b""
    answer: bytes = b""
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        os.write(terminal, QUESTION)
        until = time.monotonic() + wait_s
        while not ANSWERED.search(answer) and len(answer) < MOST:
            left = until - time.monotonic()
            if left <= 0 or not select.select([terminal], [], [], left)[0]:
                break
            more = os.read(terminal, 256)
            if not more:
                break
            answer += more
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
    return answer
