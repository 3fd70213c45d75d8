"""Terminals that draw real pictures, through textual-image; everywhere else there are half blocks.

The library asks the terminal what it can as it is imported, and reads the answer from stdin, which is Textual's.
So it is told that there is no terminal while it is imported, and which way to draw is taken from what terminals say of
themselves in the environment. Inside tmux and screen neither way comes through.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from textual.widget import Widget

    from sophia_core.attach.apart import Thumbnail

Way = Literal["kitty", "sixel"]
SIXEL = "4"
CELL = (10, 20)
"""Pixels of a cell, as the library takes it where it cannot ask."""
SIXEL_TERMS = ("foot", "mlterm", "contour", "yaft")
SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "contour", "mintty", "BlackBox", "rio")


def between(env: Mapping[str, str]) -> bool:
    """Whether something draws the screen that pictures do not come through."""
    multiplexed = env.get("TMUX") or env.get("STY") or env.get("ZELLIJ")
    return bool(multiplexed) or env.get("TERM", "").startswith(("tmux", "screen"))


async def way_here(env: Mapping[str, str], driver: object) -> Way | None:
    """Return how this terminal draws pictures, by what is known of it or else by what it says itself."""
    from sophia_tui.driver import LinkDriver

    if (known := way_of(env)) or between(env) or not isinstance(driver, LinkDriver):
        return known
    return "sixel" if SIXEL in await driver.attributes() else None


def cell() -> tuple[int, int]:
    """Pixels of a cell, where the terminal has told how large it is."""
    import fcntl
    import struct
    import termios

    for descriptor in (2, 1, 0):
        with suppress(OSError):
            size = struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
            rows, columns, width, height = size
            found = (width // max(1, columns), height // max(1, rows))
            if 3 <= found[0] <= 100 and 5 <= found[1] <= 200:
                return found
    return CELL


def way_of(env: Mapping[str, str]) -> Way | None:
    """Return how this terminal draws pictures; None where it is not known to, or something stands in between."""
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if between(env):
        return None
    if term == "xterm-kitty" or program == "ghostty" or term == "xterm-ghostty":
        return "kitty"
    if term.startswith(SIXEL_TERMS) or program in SIXEL_PROGRAMS:
        return "sixel"
    return None


def picture_widget(picture: Thumbnail, way: Way) -> Widget | None:
    """Return a widget that draws the picture this way; None where the library is missing or fails."""
    if importlib.util.find_spec("textual_image") is None:
        return None
    wide, high = cell()
    os.environ |= {"TEXTUAL_CELL_WIDTH": str(wide), "TEXTUAL_CELL_HEIGHT": str(high)}  # it cannot ask for it
    terminal, sys.__stdout__ = sys.__stdout__, io.TextIOWrapper(io.BytesIO())  # type: ignore[misc]
    try:
        widgets = importlib.import_module("textual_image.widget")
    except Exception:
        # A picture that is not drawn is no reason to fail: it goes with the question all the same.
        return None
    finally:
        sys.__stdout__ = terminal  # type: ignore[misc]
    pixels = importlib.import_module("PIL.Image").frombytes("RGB", (picture.width, picture.height), picture.pixels)
    kind = widgets.TGPImage if way == "kitty" else importlib.import_module("textual_image.widget.sixel").Image
    drawn: Widget = kind(pixels)
    drawn.styles.width = drawn.styles.height = "auto"
    return drawn
