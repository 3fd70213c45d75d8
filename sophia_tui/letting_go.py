"""Lets go of what Textual would keep, so that a day of use takes no more memory than an hour of it.

Textual looks up the two grounds of a widget in a cache that is asked with the widget's drawn lines as well, and so
keeps those: the lines of up to a thousand lists, dialogs and pages that were closed long ago. Here colours are asked
for by colours alone. A line takes a third of the room. And what was mixed from the colours of one theme is of no use
in the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from rich.style import Style as RichStyle
from textual import strip
from textual._styles_cache import StylesCache
from textual.color import Color
from textual.filter import ANSIToTruecolor
from textual.strip import Strip
from textual.style import Style


@lru_cache(maxsize=1024)
def _grounds(around: Color, own: Color) -> tuple[Style, Style]:
    return Style(background=around + own), Style(background=around)


def _inner_and_outer(_: StylesCache, base_background: Color, background: Color) -> tuple[Style, Style]:
    return _grounds(base_background, background)


_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Few:
    """As Textual's `FIFOCache`, but what is never filled takes no table: a line has seven of them, most stay empty."""

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = _NOTHING

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Any, default: Any = None) -> Any:
        return self._kept.get(key, default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._kept is _NOTHING:
            self._kept = {}
        kept: dict[Any, Any] = self._kept  # type: ignore[assignment]
        if key not in kept and len(kept) >= self._most:
            del kept[next(iter(kept))]
        kept[key] = value


def let_go() -> None:
    """From now on, in this process."""
    strip.FIFOCache = Few  # type: ignore[attr-defined, assignment]
    StylesCache.get_inner_outer = _inner_and_outer  # type: ignore[method-assign, assignment]


def let_go_of_colours(_: object = None) -> None:
    """What was mixed and drawn in the colours of the theme before."""
    for kept in (
        _grounds, Color.blend, Color.tint, Color.darken, Style.__add__, RichStyle._add, ANSIToTruecolor.truecolor_style,
        Strip.blank, Strip.render_ansi,
    ):  # fmt: skip
        kept.cache_clear()
