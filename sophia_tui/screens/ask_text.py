"""One line of text: a parameter of a command, a new title."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.widgets import Input

from sophia_core.sanitize import sanitize
from sophia_tui.screens.dialog import Dialog, Line


class AskText(Dialog[str]):
    """What was typed, which may be empty; None when the person left."""

    def __init__(
        self, title: str, initial: str = "", placeholder: str = "", suggestions: Sequence[str] = (), detail: str = ""
    ) -> None:
        super().__init__()
        self.question, self.detail = title, detail
        self.initial, self.placeholder = sanitize(initial), sanitize(placeholder)
        self.suggestions = [sanitize(each) for each in suggestions]

    def compose_box(self) -> ComposeResult:
        yield Line(self.question, classes="title")
        yield Line(self.detail, classes="text")
        suggester = SuggestFromList(self.suggestions, case_sensitive=False) if self.suggestions else None
        field = Input(self.initial, self.placeholder, suggester=suggester, select_on_focus=False, id="text")
        field.styles.margin = (1, 0, 0, 0)
        yield field
        keys = "Enter accepts, Esc leaves" + (", the right arrow takes the suggestion" if self.suggestions else "")
        yield Line(keys, classes="keys")

    @on(Input.Submitted, "#text")
    def accept(self, event: Input.Submitted) -> None:
        """Leaves with the text."""
        event.stop()
        self.dismiss(event.value)
