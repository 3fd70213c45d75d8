"""An address as a square that a phone's camera reads."""

from __future__ import annotations

from dataclasses import dataclass

MARGIN = 2
"""Light modules around it; four are the standard, two are enough on a screen and leave room for words."""
LONGEST = 500
BLACK_ON_WHITE, PLAIN = "\x1b[30;47m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Picture:
    """Lines to print, and how many columns they take."""

    lines: tuple[str, ...]
    width: int


def half_blocks(text: str, *, colours: bool) -> Picture | None:
    """Two rows of modules on each line. Without colours it is meant for a dark background."""
    picture = dark_on_light(text) if colours else _drawn(text, ink_is_dark=False)
    if picture is None or not colours:
        return picture
    return Picture(tuple(f"{BLACK_ON_WHITE}{line}{PLAIN}" for line in picture.lines), picture.width)


def dark_on_light(text: str) -> Picture | None:
    """The same for a place that is dark on light already."""
    return _drawn(text, ink_is_dark=True)


def _drawn(text: str, *, ink_is_dark: bool) -> Picture | None:
    grid = _modules(text)
    if grid is None:
        return None
    width = len(grid[0])
    if len(grid) % 2:
        grid.append([False] * width)
    lines = []
    for upper, lower in zip(grid[::2], grid[1::2], strict=True):
        # What is drawn is dark where there are colours to make it so, and light where there are none.
        pairs = zip(upper, lower, strict=True)
        lines.append("".join(" ▀▄█"[(a is ink_is_dark) + 2 * (b is ink_is_dark)] for a, b in pairs))
    return Picture(tuple(lines), width)


def hashes(text: str) -> Picture | None:
    """One module on two columns, in ASCII, for a dark background."""
    grid = _modules(text)
    if grid is None:
        return None
    lines = ("".join("  " if dark else "##" for dark in row) for row in grid)
    return Picture(tuple(lines), 2 * len(grid[0]))


def _modules(text: str) -> list[list[bool]] | None:
    """Rows of modules, True where they are dark; None when the text is too long to be of use."""
    if len(text) > LONGEST:
        return None
    import segno

    code = segno.make(text, error="l", micro=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(border=MARGIN)]
