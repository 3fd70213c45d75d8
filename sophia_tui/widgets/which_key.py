"""What may follow keys that were begun, in columns along the bottom of the screen; a click runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widget import Widget

from sophia_tui.screens.finder import fit

GAP = 3
MOST_ROWS = 8


class WhichKey(Widget, can_focus=False):
    """Hidden until `show`."""

    DEFAULT_CSS = """
    WhichKey {
        dock: bottom;
        layer: overlay;
        overlay: screen;
        width: 100%;
        height: auto;
        max-height: 50%;
        padding: 0 1;
        display: none;
        background: $panel;
        color: $foreground;
        border-top: solid $border;
    }
    WhichKey.-ascii { border-top: ascii $border; }
    """

    def __init__(self, on_pick: Callable[[str], object]) -> None:
        super().__init__()
        self._on_pick = on_pick
        self._begun = ""
        self._hints: Sequence[tuple[str, str]] = ()

    def show(self, begun: str, hints: Sequence[tuple[str, str]]) -> None:
        """Shows these (keys, command) after the keys that were begun."""
        self._begun, self._hints = begun, hints
        self.set_class(self.app.has_class("-ascii"), "-ascii")
        self.display = True
        self.refresh(layout=True)

    @property
    def text(self) -> str:
        """What it says."""
        return self.render().plain

    def _columns(self) -> tuple[int, int]:
        """How many columns there are, and how wide each is."""
        width = max((cell_len(keys) + 1 + cell_len(name) for keys, name in self._hints), default=1) + GAP
        room = self.content_size.width or self.app.size.width - 2
        return max(1, room // width), width

    def render(self) -> Content:
        """The keys that were begun, and each way on."""
        columns, width = self._columns()
        lines = [Content.styled(f"{self._begun} and then", "dim")]
        for start in range(0, len(self._hints), columns):
            cells = [
                fit(Content.assemble((keys, "bold"), f" {name}"), width)
                for keys, name in self._hints[start : start + columns]
            ]
            lines.append(Content("").join(cells))
        return Content("\n").join(lines[: MOST_ROWS + 1])

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Runs what was pressed."""
        event.stop()
        event.prevent_default()
        columns, width = self._columns()
        place = event.get_content_offset_capture(self)
        index = (place.y - 1) * columns + place.x // width
        if place.y >= 1 and 0 <= index < len(self._hints):
            self._on_pick(self._hints[index][1])
