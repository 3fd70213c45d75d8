"""Leads through a sign-in: what to open, what to type there, and what to bring back."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button, Input, Static

from sophia_core.qr import dark_on_light, hashes
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line


class SignIn(Dialog[str]):
    """Shows an address, and a code to type there if there is one. With `paste` it asks for the address that the
    browser ended at, and that is the result; None means that the person gave up."""

    DEFAULT_CSS = """
    SignIn #address { width: 100%; margin: 1 0 0 0; color: $text-primary; }
    SignIn #code { width: 100%; margin: 1 0 0 0; text-align: center; text-style: bold; color: $text-accent; }
    SignIn #picture { width: auto; margin: 1 0 0 0; color: black; background: white; }
    SignIn.-ascii #picture { color: white; background: black; }
    SignIn.-short #picture { display: none; }
    """

    def __init__(
        self, provider: str, address: str, *, code: str = "", whole: str = "", paste: bool = False, ascii_only: bool
    ) -> None:
        super().__init__()
        self._provider, self._address, self._code = provider, address, code
        self._whole, self._paste, self._ascii = whole or address, paste, ascii_only

    def compose_box(self) -> ComposeResult:
        yield Line(f"Sign in to {self._provider}", classes="title")
        yield Line(self._what_to_do(), classes="text")
        yield Line(self._address, id="address")
        yield Line(self._code, id="code")
        if self._paste:
            yield Line("The address that the browser ended at", classes="label")
            yield Input(id="ended", max_length=8192)
            yield Line(id="trouble", classes="trouble")
        with Choices():
            if self._paste:
                yield Choice("Sign in", "done", "primary")
            yield Choice("Give up", "leave")
        yield Line("Only go on if you started this yourself. Esc gives up.", classes="keys")
        if self._code and (picture := (hashes if self._ascii else dark_on_light)(self._whole)):
            yield Static("\n".join(picture.lines), id="picture", markup=False)

    def _what_to_do(self) -> str:
        if self._paste:
            return "Open this address in any browser. At the end it cannot show a page; that is meant to be."
        if self._code:
            return "Open this address on any machine, or photograph the square, and type the code there."
        return "Your browser opens this address. Waiting for it to come back."

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
