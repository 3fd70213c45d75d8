"""A persona's colour on the ground of any theme: readable, whatever the file says."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.color import BLACK, WHITE, Color, ColorParseError

NAMED: Final = {
    "red": "#e0484d",
    "orange": "#e0813a",
    "yellow": "#c9a227",
    "green": "#4aa564",
    "cyan": "#2fa5b0",
    "blue": "#4b8fe2",
    "purple": "#9d71e0",
    "pink": "#dd6aa8",
    "grey": "#8b929c",
}
OF_THE_TERMINAL: Final = {"orange": "yellow", "purple": "magenta", "pink": "bright_magenta", "grey": "bright_black"}
"""What the sixteen colours of a terminal have in their place."""
READABLE: Final = 4.5
"""The least contrast of text, as WCAG 2 wants it."""
STEPS: Final = 10


def tinted(colour: str, plain: Style, ground: Color) -> Style:
    """The style in this colour; the plain one where the ground or the terminal does not take it."""
    if ground.ansi is not None or (plain.color is not None and plain.color.is_default):
        known = OF_THE_TERMINAL.get(colour, colour)
        return plain + Style(color=known) if colour in NAMED else plain
    shade = shade_of(colour, ground)
    return plain if shade is None else plain + Style(color=shade.rich_color)


@lru_cache(256)
def shade_of(colour: str, ground: Color) -> Color | None:
    """The colour, lighter or darker as far as the ground needs it; None where it is none."""
    try:
        wanted = Color.parse(NAMED.get(colour, colour))
    except ColorParseError:
        return None
    towards = WHITE if contrast(WHITE, ground) > contrast(BLACK, ground) else BLACK
    shades = (wanted.blend(towards, step / STEPS, alpha=1.0) for step in range(STEPS + 1))
    return next((each for each in shades if contrast(each, ground) >= READABLE), towards)


def contrast(one: Color, other: Color) -> float:
    """How well one stands out from the other, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
