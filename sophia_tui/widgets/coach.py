"""The line above the prompt that gives the guided tour: what to do now, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widgets import Static

from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class Coach(Static):
    """Hidden while no tour is given."""

    DEFAULT_CSS = """
    Coach { height: auto; max-height: 3; padding: 0 1; display: none; background: $panel; color: $foreground; }
    """

    def tell(self, lesson: str, number: int, steps: int, text: str) -> None:
        """Shows a step."""
        head = (f"Tour: {lesson} {number} of {steps}  ", "bold")
        self.update(Content.assemble(head, one_line(text, 300), ("  /help.skip  /help.end", "dim")))
        self.display = True

    def on_show(self) -> None:
        """Words that lie in the corner already move out of the way."""
        cast("SophiaApp", self.app).dispatcher.corner.lift()

    on_hide = on_resize = on_show

    def rest(self) -> None:
        """There is nothing to do any more."""
        self.display = False
