"""What goes with the next question, in one row above the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from sophia_core.sanitize import one_line
from sophia_tui.transcript.wrap import fit

LONGEST_NAME = 28


@dataclass(frozen=True, slots=True)
class Chip:
    """One attachment."""

    name: str
    about: str
    image: bool = False


def _nothing(number: int) -> object:
    """Nobody listens yet."""
    return number


class Attachments(Widget, can_focus=False):
    """A click on a name shows it, a click on its × takes it off; hidden while nothing is attached."""

    DEFAULT_CSS = """
    Attachments { height: 1; padding: 0 1; display: none; color: $text-muted; }
    Attachments > .attachments--name { color: $text-primary; }
    Attachments > .attachments--off { color: $text-error; }
    """
    COMPONENT_CLASSES = {"attachments--name", "attachments--off"}  # noqa: RUF012 - Textual's own way

    chips: reactive[tuple[Chip, ...]] = reactive(())

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self.remove_one: Callable[[int], object] = _nothing
        """Called with the number of a chip, from 1, whose × was clicked."""
        self.show_one: Callable[[int], object] = _nothing
        """The same, for one whose name was clicked."""
        self._places: list[tuple[int, int, int]] = []
        """First cell of each chip drawn, where its × begins, and where it ends."""

    def show(self, chips: Sequence[Chip]) -> None:
        """Shows these."""
        self.chips = tuple(chips)

    def watch_chips(self) -> None:
        self.display = bool(self.chips)

    def render_line(self, y: int) -> Strip:
        """The whole row."""
        width = self.size.width
        segments: list[Segment] = []
        self._places, at = [], 0
        named, off = (self.get_component_rich_style(f"attachments--{each}") for each in ("name", "off"))
        for number, chip in enumerate(self.chips):
            left = len(self.chips) - number
            pieces = self._pieces(chip)
            size = sum(map(cell_len, pieces))
            more = f"+{left} more"
            if at + size + (len(more) + 1 if left > 1 else 0) > width and (at or size > width):
                segments.append(Segment(fit(more, max(0, width - at)), self.rich_style))
                break
            self._places.append((at, at + size - cell_len(pieces[-1]) - 1, at + size))
            segments += [
                Segment(text, style) for text, style in zip(pieces, (named, self.rich_style, off), strict=True)
            ]
            at += size
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _pieces(self, chip: Chip) -> tuple[str, str, str]:
        sign = ("#" if chip.image else "=") if self._ascii_only else ("▣" if chip.image else "≡")
        cross = "x" if self._ascii_only else "×"
        room = max(6, min(LONGEST_NAME, self.size.width - 12))
        about = f" {one_line(chip.about, 40)} " if len(self.chips) == 1 and self.size.width >= 60 else " "
        return f"{sign} {fit(one_line(chip.name, 200), room).rstrip()}", about, f"{cross}  "

    def on_click(self, event: events.Click) -> None:
        """Shows or takes off what is under the mouse."""
        event.stop()
        x = event.x - self.styles.padding.left
        for number, (start, cross, end) in enumerate(self._places, 1):
            if start <= x < end:
                (self.remove_one if cross <= x < end - 1 else self.show_one)(number)
