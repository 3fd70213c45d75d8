"""What is in a file, small: a picture in half blocks, the first lines of a text, or why it cannot be attached."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from sophia_core.attach import apart
from sophia_core.attach.errors import Refused
from sophia_core.attach.reading import Ready, prepared
from sophia_core.sanitize import sanitize
from sophia_tui.transcript.wrap import fit

REST_S: Final = 0.15
"""Seconds the cursor rests on a file before it is looked at."""
TEXT_SHOWN: Final = 20_000
"""Bytes of a text of which the first lines are shown."""


class Preview(Widget, can_focus=False):
    """Looks at one file at a time; another one ends the look at the one before."""

    DEFAULT_CSS = """
    Preview { color: $text-muted; background: $surface; }
    """

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self._lines: list[str] = []
        self._picture: apart.Thumbnail | None = None
        self._timer: Timer | None = None
        self._strips: dict[int, Strip] = {}

    @property
    def lines(self) -> list[str]:
        """What it says."""
        return self._lines

    @property
    def picture(self) -> apart.Thumbnail | None:
        """The picture it shows."""
        return self._picture

    def show_path(self, path: Path | None) -> None:
        """Looks at this file in a moment; None shows nothing."""
        if self._timer is not None:
            self._timer.stop()
        self.workers.cancel_group(self, "preview")  # what is being looked at would else appear beside another file
        self._say([])
        if path is not None:
            self._timer = self.set_timer(
                REST_S, lambda: self.run_worker(self._look(path), group="preview", exclusive=True, exit_on_error=False)
            )

    def show_ready(self, ready: Ready) -> None:
        """Shows what is attached already."""
        self.run_worker(self._show(ready), group="preview", exclusive=True, exit_on_error=False)

    async def _look(self, path: Path) -> None:
        try:
            await self._show(await prepared(path))
        except Refused as wrong:
            self._say([str(wrong), wrong.hint])

    async def _show(self, ready: Ready) -> None:
        about = [ready.name, ready.about]
        if ready.kind == "file":
            text = sanitize(ready.content[:TEXT_SHOWN].decode("utf-8", "replace"))
            self._say([*about, "", *text.expandtabs(4).split("\n")])
            return
        self._say(about)
        if self._ascii_only:
            return
        size = self.size
        try:
            picture = await apart.thumbnail(ready.content, max(1, size.width), max(2, (size.height - 3) * 2))
        except Refused as wrong:
            self._say([*about, "", str(wrong), wrong.hint])
        else:
            self._say([*about, ""], picture)

    def _say(self, lines: list[str], picture: apart.Thumbnail | None = None) -> None:
        self._lines, self._picture = lines, picture
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """Draws everything anew in other colours."""
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """One row of words, or two rows of pixels."""
        if y not in self._strips:
            self._strips[y] = self._row(y).adjust_cell_length(self.size.width, self.rich_style)
        return self._strips[y]

    def _row(self, y: int) -> Strip:
        lines = self._wrapped()
        if y < len(lines):
            return Strip([Segment(fit(lines[y], self.size.width), self.rich_style)])
        if self._picture is None or (y - len(lines)) * 2 >= self._picture.height:
            return Strip([])
        return Strip(_half_blocks(self._picture, (y - len(lines)) * 2, self.rich_style))

    def _wrapped(self) -> list[str]:
        """Sentences are wrapped; the lines of a file are cut."""
        width = max(8, self.size.width)
        if len(self._lines) > 2 and self._picture is None and not self._lines[2]:
            return self._lines
        return [row for line in self._lines for row in (textwrap.wrap(line, width) or [""])]


def _half_blocks(picture: apart.Thumbnail, top: int, base: Style) -> list[Segment]:
    """Two rows of pixels as one of characters; neighbours of one colour become one piece."""
    found: list[Segment] = []
    pixels, width = picture.pixels, picture.width
    last: tuple[bytes, bytes] | None = None
    for x in range(width):
        upper = _pixel(pixels, top * width + x)
        lower = _pixel(pixels, (top + 1) * width + x) if top + 1 < picture.height else b""
        if last == (upper, lower):
            found[-1] = Segment(found[-1].text + "▀", found[-1].style)
            continue
        last = upper, lower
        below = Color.from_rgb(*lower) if lower else None
        found.append(Segment("▀", base + Style(color=Color.from_rgb(*upper), bgcolor=below)))
    return found


def _pixel(pixels: bytes, number: int) -> bytes:
    return pixels[number * 3 : number * 3 + 3]
