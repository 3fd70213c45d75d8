"""Where only ASCII can be drawn: the signs of our own are exchanged for ASCII ones of the same width, row by row."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("│┃▌▎▐█▇▆▅▄▃▂▁║", "|"),
        **dict.fromkeys("─━═", "-"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+"),
        **dict.fromkeys("·•∙", "-"),
        **dict.fromkeys("●◐◉▣", "*"),
        **dict.fromkeys("○◯□", "o"),
        **dict.fromkeys("“”„", '"'),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("–—", "-"),
        "…": "~",
        "▸": ">",
        "▾": "v",
        "→": ">",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "»": ">",
        "«": "<",
        "×": "x",
        "≡": "=",
        "≈": "~",
    }
)
"""What is drawn for each; all of them take one cell."""


class Plainly(LineFilter):
    """Only exchanges signs of the app's own; what somebody wrote in another script is left as it is."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same row in signs that every terminal has."""
        return [
            segment
            if segment.text.isascii()
            else Segment(segment.text.translate(SIGNS), segment.style, segment.control)
            for segment in segments
        ]
