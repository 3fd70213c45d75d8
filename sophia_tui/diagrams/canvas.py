"""A sheet of cells on which lines that meet become corners, tees and crossings."""

from __future__ import annotations

from rich.cells import cell_len, get_character_cell_size

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_SIGNS = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"
_ASCII = str.maketrans(
    {
        **dict.fromkeys("╵╷│", "|"),
        **dict.fromkeys("╴╶─", "-"),
        **dict.fromkeys("┘┐┤└┌├┴┬┼╭╮╰╯", "+"),
        **dict(zip("▼▲▶◀┄×↺", "v^><-x@", strict=True)),
    }
)


class Canvas:
    """Takes text and lines in any order; text lies over lines."""

    def __init__(self) -> None:
        self._text: dict[tuple[int, int], str] = {}
        self._lines: dict[tuple[int, int], int] = {}

    def write(self, x: int, y: int, text: str) -> None:
        """Text from a cell on."""
        for sign in text:
            cells = get_character_cell_size(sign)
            if cells == 0:
                self._text[x - 1, y] = self._text.get((x - 1, y), "") + sign
                continue
            self._text[x, y] = sign
            for more in range(1, cells):
                self._text[x + more, y] = ""
            x += cells

    def across(self, y: int, start: int, end: int) -> None:
        """A line from one column to another."""
        left, right = min(start, end), max(start, end)
        for x in range(left, right + 1):
            bits = (LEFT if x > left else 0) | (RIGHT if x < right else 0)
            self._lines[x, y] = self._lines.get((x, y), 0) | bits

    def down(self, x: int, start: int, end: int) -> None:
        """A line from one row down to another; its ends reach into the rows above and below."""
        for y in range(start, end + 1):
            self._lines[x, y] = self._lines.get((x, y), 0) | UP | DOWN

    def bits(self, x: int, y: int, bits: int) -> None:
        """Exactly these arms at a cell, beside those that are there."""
        self._lines[x, y] = self._lines.get((x, y), 0) | bits

    def box(self, x: int, y: int, width: int, lines: list[str], shape: str) -> None:
        """Lines of text in a frame of `width` cells: `square`, `round` or `choice`."""
        corners = "╭╮╰╯" if shape != "square" else "┌┐└┘"
        bottom = y + len(lines) + 1
        self.write(x, y, corners[0] + "─" * (width - 2) + corners[1])
        self.write(x, bottom, corners[2] + "─" * (width - 2) + corners[3])
        sides = "<>" if shape == "choice" else "││"
        for number, line in enumerate(lines, y + 1):
            space = width - 2 - cell_len(line)
            self.write(x, number, sides[0] + " " * (space // 2) + line + " " * (space - space // 2) + sides[1])

    def rows(self, *, ascii_only: bool = False) -> list[str]:
        """The rows as text, without blanks at their ends."""
        cells = {**{place: _SIGNS[bits] for place, bits in self._lines.items()}, **self._text}
        if not cells:
            return []
        width, height = max(x for x, _ in cells) + 1, max(y for _, y in cells) + 1
        rows = ["".join(cells.get((x, y), " ") for x in range(width)).rstrip() for y in range(height)]
        return [row.translate(_ASCII) for row in rows] if ascii_only else rows
