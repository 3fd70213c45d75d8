"""Leads through a sign-in: what to open, what to type there, and what to bring back."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Button, Input, Static

from sophia_core.qr import dark_on_light, hashes
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

FRAME = 2
"""Rows of the frame."""
WIDEST = 74
"""Columns of the box, where there are as many."""
ROUND_IT = 8
"""Columns of the frame and the space inside it."""
WORDS_WIDE = 30
"""Columns that the words need beside the picture."""
WORDS_HIGH = 18
"""Rows that they take above it."""


class SignIn(Dialog[str]):
    """Shows an address, and a code to type there if there is one. With `paste` it asks for the address that the
    browser ended at, and that is the result; None means that the person gave up."""

    DEFAULT_CSS = """
    SignIn {
        #sides { height: auto; layout: vertical; }
        #words { height: auto; }
        #address { width: 100%; margin: 1 0 0 0; color: $text-primary; }
        #code { width: 100%; margin: 1 0 0 0; text-align: center; text-style: bold; color: $text-accent; }
        #picture { width: auto; height: auto; margin: 1 0 0 0; color: black; background: white; display: none; }
        &.-ascii #picture { color: white; background: black; }
        &.-short #address, &.-short #code { margin: 0; }
        &.-below #picture, &.-beside #picture { display: block; }
        &.-beside #sides { layout: horizontal; }
        &.-beside #words { width: 1fr; margin: 0 2 0 0; }
        &.-beside #picture { margin: 0; }
        &.-beside Box { padding: 0 2; }
    }
    """

    def __init__(
        self, provider: str, address: str, *, code: str = "", whole: str = "", paste: bool = False, ascii_only: bool
    ) -> None:
        super().__init__()
        self._provider, self._address, self._code = provider, address, code
        self._paste, self._over = paste, False
        self._picture = (hashes if ascii_only else dark_on_light)(whole or address) if code else None

    def compose_box(self) -> ComposeResult:
        with Container(id="sides"):
            with Vertical(id="words"):
                yield from self._words()
            if self._picture:
                yield Static("\n".join(self._picture.lines), id="picture", markup=False)

    def _words(self) -> ComposeResult:
        yield Line(f"Sign in to {self._provider}", classes="title")
        yield Line(self._what_to_do(), id="what", classes="text")
        yield Line(self._address, id="address")
        yield Line(self._code, id="code")
        if self._paste:
            yield Line("The address that the browser ended at", classes="label")
            yield Input(id="ended", max_length=8192)
            yield Line(id="trouble", classes="trouble")
        with Choices():
            if self._paste:
                yield Choice("Sign in", "done", "primary")
            yield Choice("Copy the address", "copy")
            yield Choice("Give up", "leave")
        yield Line("Only go on if you started this yourself. Esc gives up.", classes="keys")

    def _what_to_do(self) -> str:
        if self._paste:
            return "Open this address in any browser. At the end it cannot show a page; that is meant to be."
        if self._code and self._pictured:
            return "Open this address on any machine, or photograph the square, and type the code there."
        if self._code:
            return "Open this address on any machine, and type the code there."
        return "Your browser opens this address. Waiting for it to come back."

    @property
    def _pictured(self) -> bool:
        return self.has_class("-below") or self.has_class("-beside")

    def on_resize(self, event: events.Resize) -> None:
        """Shows the picture where the whole of it fits: a part of it is of no use."""
        if self._picture is None:
            return
        wide, high = self._picture.width, len(self._picture.lines)
        room = min(self.size.width, WIDEST) - ROUND_IT
        below = room >= wide and self.size.height >= high + WORDS_HIGH
        beside = room >= wide + WORDS_WIDE and self.size.height >= high + FRAME
        self.set_class(below, "-below")
        self.set_class(beside and not below, "-beside")
        self.query_one("#what", Line).say(self._what_to_do())

    def close(self) -> None:
        """There is nothing to wait for any more; a dialog above this one is left in peace."""
        self._over = True
        self._leave_when_seen()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """What is over goes as soon as it would be seen."""
        self._leave_when_seen()

    def _leave_when_seen(self) -> None:
        if self._over and self.is_active:
            self._over = False
            self.dismiss("")

    @on(Button.Pressed, "#copy")
    def copy(self) -> None:
        """Puts the address into the terminal's clipboard: it may be longer than a line."""
        self.app.copy_to_clipboard(self._address)
        self.notify("Sent the address to the terminal's clipboard.", markup=False)

    @on(Input.Submitted)
    @on(Button.Pressed, "#done")
    def done(self) -> None:
        """Leaves with the address that was pasted."""
        typed = self.query_one("#ended", Input).value.strip()
        if typed:
            self.dismiss(typed)
        else:
            self.query_one("#trouble", Line).say("Nothing was pasted.")

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Gives up."""
        self.dismiss(None)
