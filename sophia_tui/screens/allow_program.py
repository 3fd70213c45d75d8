"""Before a macro runs a program: which one, where, and the text of the macro that wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Button

from sophia_core.sanitize import sanitize
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

Allowed = Literal["once", "always", "no"]


def shown_words(argv: Sequence[str]) -> str:
    """The program and its arguments, one a line where there are several: nothing is hidden by blanks or quotes."""
    return "\n".join(f"{'  ' if number else ''}{sanitize(word)!r}" for number, word in enumerate(argv))


class AllowProgram(Dialog[Allowed]):
    """Whether this step may run its program; Esc is no."""

    DEFAULT_CSS = """
    AllowProgram {
        #argv, #macro { height: auto; max-height: 10; margin: 1 0 0 0; background: $panel; padding: 0 1; }
        #macro { max-height: 8; color: $text-muted; }
        &.-short #argv { margin: 0; max-height: 4; }
        &.-short #macro { display: none; }
    }
    """

    def __init__(self, macro: str, argv: Sequence[str], folder: str, text: str, where: str) -> None:
        super().__init__()
        self._macro, self._argv, self._folder, self._text, self._where = macro, argv, folder, text, where

    def compose_box(self) -> ComposeResult:
        yield Line(f"The macro {self._macro!r} wants to run a program", classes="title")
        with VerticalScroll(id="argv", can_focus=False):
            yield Line(shown_words(self._argv))
        yield Line(f"in {self._folder}", classes="note")
        with VerticalScroll(id="macro"):
            yield Line(self._text)
        yield Line(self._where, classes="note")
        with Choices():
            yield Choice("Once", "once")
            yield Choice("Always for this step", "always")
            yield Choice("No", "no")
        yield Line("“Always” holds until the macro's text changes. Esc means no", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#no").focus()

    @on(Button.Pressed)
    def answer(self, event: Button.Pressed) -> None:
        """Leaves with what was pressed."""
        event.stop()
        match event.button.id:
            case "once" | "always" as said:
                self.dismiss(said)
            case _:
                self.dismiss("no")

    def action_leave(self) -> None:
        """Esc is no."""
        self.dismiss("no")
