"""The sign that the microphone is open, where a dialog may lie over the status bar, and the meter of how loud it is."""

from __future__ import annotations

from typing import Final

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

OPEN: Final = "-microphone"
"""The class of the app while the microphone is open."""
STILL: Final = ("-still", "-far")
"""Classes of an app in which nothing moves for its own sake: nothing may, or the way to the terminal is long."""


class MicrophoneSign(Static):
    """Stands at the top of a dialog for as long as the microphone is open."""

    DEFAULT_CSS = """
    MicrophoneSign {
        dock: top;
        width: 1fr;
        height: 1;
        text-align: right;
        color: $text-error;
        background: $error-muted;
        text-style: bold;
    }
    """

    def __init__(self) -> None:
        super().__init__("the microphone is on ", markup=False)
        self.display = False

    def on_mount(self) -> None:
        sign = "(*)" if self.app.has_class("-ascii") else "●"
        self.update(f"{sign} the microphone is on ")
        self.display = self.app.has_class(OPEN)


class LevelMeter(Widget):
    """A bar as long as it is loud; it is drawn again only when it reads otherwise."""

    DEFAULT_CSS = """
    LevelMeter { height: 1; width: 1fr; max-width: 50; color: $text-success; }
    LevelMeter.-speech { color: $text-accent; }
    """

    level: reactive[float] = reactive(0.0, repaint=False, init=False)

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii_only

    def _cells(self, level: float) -> int:
        return round(min(1.0, max(0.0, level)) * self.content_size.width)

    def watch_level(self, before: float, now: float) -> None:
        if self._cells(before) != self._cells(now):
            self.refresh()

    def render(self) -> Content:
        full, empty = ("#", ".") if self._ascii else ("━", "─")
        cells = self._cells(self.level)
        return Content.assemble(full * cells, (empty * (self.content_size.width - cells), "dim"))

    @property
    def still(self) -> bool:
        """Nothing is to move here."""
        return any(self.app.has_class(each) for each in STILL)
