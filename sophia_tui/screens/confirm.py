"""A question with a yes and a no; for what cannot be undone, no is where the cursor is."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button

from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line


class Confirm(Dialog[bool]):
    """True when the person said yes; Esc is no."""

    def __init__(self, question: str, detail: str = "", yes_label: str = "Yes", dangerous: bool = False) -> None:
        super().__init__()
        self.question, self.detail, self.yes_label, self.dangerous = question, detail, yes_label, dangerous

    def compose_box(self) -> ComposeResult:
        yield Line(self.question, classes="title")
        yield Line(self.detail, classes="text")
        with Choices():
            yield Choice(self.yes_label, "yes", "error" if self.dangerous else "primary")
            yield Choice("No", "no")
        yield Line("Enter chooses, arrows move, Esc means no", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#no" if self.dangerous else "#yes").focus()

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        """Leaves with what was pressed."""
        event.stop()
        self.dismiss(event.button.id == "yes")

    def action_leave(self) -> None:
        """Esc is no."""
        self.dismiss(False)
