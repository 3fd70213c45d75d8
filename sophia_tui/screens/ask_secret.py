"""A secret, typed without being shown; twice when it is new."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button, Input

from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line, SecretInput

FAIR, GOOD = 12, 16


class AskSecret(Dialog[str]):
    """The secret, None when the person left. With `confirm` it is typed twice and judged by its length."""

    def __init__(self, title: str, confirm: bool = False, detail: str = "") -> None:
        super().__init__()
        self.question, self.confirm, self.detail = title, confirm, detail

    def compose_box(self) -> ComposeResult:
        yield Line(self.question, classes="title")
        yield Line(self.detail, classes="text")
        yield Line("Type it" if self.confirm else "It is not shown", classes="label")
        yield SecretInput("secret")
        if self.confirm:
            yield Line("Type it again", classes="label")
            yield SecretInput("again")
        yield Line(id="strength", classes="note")
        yield Line(id="trouble", classes="trouble")
        with Choices():
            yield Choice("Accept", "accept", "primary")
            yield Choice("Cancel", "cancel")
        yield Line("Enter accepts, Tab moves on, Esc leaves", classes="keys")

    @on(Input.Changed)
    def judge(self, event: Input.Changed) -> None:
        """Says what can honestly be said about a secret that is being typed."""
        event.stop()
        secret = self.query_one("#secret", Input).value
        notes = [length_hint(secret)] if self.confirm else []
        self.query_one("#strength", Line).say(" ".join(filter(None, [*notes, capitals_hint(secret)])))
        if event.value:  # a field that was cleared keeps the complaint that cleared it
            self.query_one("#trouble", Line).say("")

    @on(Input.Submitted)
    def submit(self, event: Input.Submitted) -> None:
        """Goes on to the second field, then accepts."""
        event.stop()
        again = self.query("#again")
        if again and event.input.id == "secret" and event.value and not self.query_one("#again", Input).value:
            again.first().focus()
        else:
            self.accept()

    @on(Button.Pressed, "#accept")
    def accept(self) -> None:
        """Leaves with the secret, or says what is wrong and where."""
        secret = self.query_one("#secret", Input)
        again = self.query_one("#again", Input) if self.confirm else secret
        if not secret.value:
            self._complain("Nothing was typed.", secret)
        elif not again.value:
            self._complain("Type it a second time.", again)
        elif secret.value != again.value:
            again.clear()
            self._complain("The two are not the same. Type the second one again, or change the first.", again)
        else:
            self._leave(secret.value)

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """Leaves without a secret."""
        self._leave(None)

    def _complain(self, trouble: str, field: Input) -> None:
        field.focus()
        self.query_one("#trouble", Line).say(trouble)

    def _leave(self, secret: str | None) -> None:
        for field in self.query(SecretInput):
            field.clear()
        self.dismiss(secret)


def length_hint(secret: str) -> str:
    """What its length says about a secret; nothing else is judged, and the text says so."""
    if not secret:
        return ""
    length, kinds = len(secret), len(set(secret))
    if kinds < 5:
        return f"{length} characters, {kinds} different: easily guessed."
    if length < 8:
        return f"{length} characters: easily guessed by a machine."
    if length < FAIR:
        return f"{length} characters: short. Four or five unrelated words are better."
    if length < GOOD:
        return f"{length} characters: fair, if nobody can guess the words."
    return f"{length} characters: a good length, if nobody can guess the words."


def capitals_hint(secret: str) -> str:
    """A word about Caps Lock where every letter of four or more is a capital."""
    letters = [each for each in secret if each.isalpha()]
    return "All capitals: is Caps Lock on?" if len(letters) > 3 and all(map(str.isupper, letters)) else ""
