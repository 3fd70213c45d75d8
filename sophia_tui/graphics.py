"""Terminals that draw real pictures, through textual-image; everywhere else there are half blocks.

The library asks the terminal what it can as it is imported, and reads the answer from stdin, which is Textual's.
So it is told that there is no terminal while it is imported, and which way to draw is taken from what terminals say of
themselves in the environment. Inside tmux and screen neither way comes through.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from textual.widget import Widget

    from sophia_core.attach.apart import Thumbnail

Way = Literal["kitty", "sixel"]
CELL = (10, 20)
"""Pixels of a cell, as the library takes it where it cannot ask."""
SIXEL_TERMS = ("foot", "mlterm", "contour", "yaft")
SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "contour", "mintty", "BlackBox", "rio")


def way_of(env: Mapping[str, str]) -> Way | None:
    """Return how this terminal draws pictures; None where it is not known to, or something stands in between."""
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if env.get("TMUX") or env.get("STY") or env.get("ZELLIJ") or term.startswith(("tmux", "screen")):
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
