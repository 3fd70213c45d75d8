"""A store that cannot be opened: what happened, where, and what can be done."""

from __future__ import annotations

from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button

from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

Decision = Literal["retry", "salvage", "unsaved", "quit"]


class StoreTrouble(Dialog[Decision]):
    """What to do now; Esc quits, which changes nothing on disk."""

    def __init__(self, what: str, path: str = "", hint: str = "", *, salvage: bool = False) -> None:
        """`salvage`: the files are damaged, and a new store can be made from what can be read."""
        super().__init__()
        self.what, self.path, self.hint, self.salvage = what, path, hint, salvage

    def compose_box(self) -> ComposeResult:
        yield Line("Your sessions cannot be opened", classes="title")
        yield Line(self.what, classes="text trouble")
        if self.path:
            yield Line("Where", classes="label")
            yield Line(self.path)
        if self.hint:
            yield Line("What to do", classes="label")
            yield Line(self.hint)
        yield Line("Nothing was changed. Without saving, everything said is forgotten at the end.", classes="text note")
        with Choices():
            yield Choice("Try again", "retry", "primary")
            if self.salvage:
                yield Choice("Salvage", "salvage")
            yield Choice("Continue without saving", "unsaved")
            yield Choice("Quit", "quit")
        yield Line("Enter chooses, arrows move, Esc quits", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#retry").focus(scroll_visible=False)

    @on(Button.Pressed, "#retry")
    def retry(self) -> None:
        """Leaves to open it again."""
        self.dismiss("retry")

    @on(Button.Pressed, "#salvage")
    def go_salvage(self) -> None:
        """Leaves to make a new store from what can be read of this one, which is kept aside."""
        self.dismiss("salvage")

    @on(Button.Pressed, "#unsaved")
    def go_unsaved(self) -> None:
        """Leaves to work without the store."""
        self.dismiss("unsaved")

    @on(Button.Pressed, "#quit")
    def action_leave(self) -> None:
        """Leaves the app."""
        self.dismiss("quit")
