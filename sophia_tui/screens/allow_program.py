"""Before a macro runs a program: which one, where, and the text of the macro that wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Button

from sophia_core.macros.shell import shown_words
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

Allowed = Literal["once", "always", "no"]


ROOM = 8, 500
"""Lines and characters beyond which not all of a program shows without scrolling."""


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
        words = shown_words(self._argv)
        yield Line(_long(words), id="long", classes="trouble")
        with VerticalScroll(id="argv"):
            yield Line(words)
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
        """No is what Enter says."""
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


def _long(words: str) -> str:
    lines, characters = ROOM
    if words.count("\n") < lines and len(words) <= characters:
        return ""
    return f"It has {len(words):,} characters, more than show at once: scroll through them before you say yes."
