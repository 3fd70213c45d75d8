"""The list of commands above the prompt while a command line is typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Offset, Region
from textual.strip import Strip
from textual.widget import Widget

from sophia_core.sanitize import one_line
from sophia_tui.transcript.wrap import fit

MAX_ROWS = 8


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to go on with the command line."""

    text: str
    """The whole line once this is accepted, e.g. `/rename`."""
    detail: str = ""
    """Its parameters, e.g. `TITLE`; empty when it takes none."""
    help: str = ""
    disabled_reason: str | None = None
    key: str = ""
    """The key that does the same."""
    also: str = ""
    """Another way to write the same line, e.g. `/session.rename`."""
    shown: str = ""
    """What the row shows in place of the line."""
    more: bool = False
    """There is more to come right behind it: a folder's files."""
    argument: str = ""
    """The parameter that it is for; empty for a command."""


class CompletionPopup(Widget, can_focus=False):
    """Up to eight rows over the rest of the screen; its owner moves the choice and reads `chosen`."""

    DEFAULT_CSS = """
    CompletionPopup {
        position: absolute;
        overlay: screen;
        constrain: inside inside;
        display: none;
        background: $panel;
        color: $foreground;
        & .completion--selected { background: $block-cursor-background; color: $block-cursor-foreground; }
        & .completion--muted { color: $text-muted; }
        & .completion--disabled { color: $text-disabled; text-style: italic; }
        & .completion--key { color: $text-accent; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "completion--selected",
        "completion--muted",
        "completion--disabled",
        "completion--key",
    }

    def __init__(self, on_pick: Callable[[Completion], object]) -> None:
        super().__init__()
        self._on_pick = on_pick
        self._matches: tuple[Completion, ...] = ()
        self._selected = 0
        self._top = 0
        self._rows = 0
        self.moved = False
        """Whether somebody chose among the rows, rather than typed on."""

    @property
    def is_open(self) -> bool:
        """Whether it is shown and so takes the keys that choose."""
        return bool(self._matches)

    @property
    def matches(self) -> tuple[Completion, ...]:
        """What it offers, best first."""
        return self._matches

    @property
    def chosen(self) -> Completion | None:
        """The row that would be accepted, None while closed."""
        return self._matches[self._selected] if self._matches else None

    def open(self, matches: Sequence[Completion], above: Region) -> None:
        """Shows the matches over the given region, the first one chosen; no matches close it."""
        changed = self._matches != tuple(matches)
        if changed:
            self._matches = tuple(matches)
            self._selected = self._top = 0
            self.moved = False
        self.display = bool(self._matches)
        if not self._matches:
            return
        self._rows = max(1, min(MAX_ROWS, len(self._matches), above.y))
        size = (above.width, self._rows)
        place = Offset(above.x, max(0, above.y - self._rows))
        if place != self.absolute_offset or size != tuple(self.size):
            self.absolute_offset = place
            self.styles.width, self.styles.height = size
        if changed:
            self.refresh()

    def close(self) -> None:
        """Hides it; every key is the prompt's again."""
        self._matches = ()
        self.display = False

    def move(self, step: int) -> None:
        """Chooses another row, round the ends."""
        if self._matches:
            self.moved = True
            self._selected = (self._selected + step) % len(self._matches)
            self._top = min(max(self._top, self._selected - self._rows + 1), self._selected)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row: marker, command, parameters, help, key."""
        index, width = self._top + y, self.size.width
        if not 0 <= index < len(self._matches):
            return Strip.blank(width, self.rich_style)
        return self._row(self._matches[index], index == self._selected, width)

    def _row(self, match: Completion, selected: bool, width: int) -> Strip:
        base = self.get_component_rich_style("completion--selected") if selected else self.rich_style
        quiet = base if selected else self.get_component_rich_style("completion--muted")
        off = match.disabled_reason is not None
        name_style = (base if selected else self.get_component_rich_style("completion--disabled")) if off else base
        name = f"{'▸' if selected else ' '} {match.shown or match.text}"
        if match.detail:
            name += f" {match.detail}"
        column = min(self._name_width() + 4, max(12, width // 2))
        help_text = f"({match.disabled_reason})" if off else match.help
        key = "" if off or width < 50 else match.key
        room = max(0, width - column - (cell_len(key) + 2 if key else 0))
        cells = [
            Segment(_cell(name, min(column, width)), name_style),
            Segment(_cell(help_text, room), name_style if off else quiet),
        ]
        if key:
            key_style = base if selected else self.get_component_rich_style("completion--key")
            cells.append(Segment(f" {key} ", key_style))
        return Strip(cells).adjust_cell_length(width, base)

    def _name_width(self) -> int:
        return max(
            cell_len(each.shown or each.text) + (cell_len(each.detail) + 1 if each.detail else 0)
            for each in self._matches
        )

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Accepts the row under the mouse, before the press can take the focus from the prompt."""
        event.stop()
        event.prevent_default()
        index = self._top + event.y
        if 0 <= index < len(self._matches):
            self._on_pick(self._matches[index])


def _cell(text: str, width: int) -> str:
    """The text on exactly `width` cells, a blank last where there is room for one."""
    if width <= 0:
        return ""
    shown = fit(one_line(text), width - 1 if width > 1 else width)
    return shown + " " * (width - cell_len(shown))
