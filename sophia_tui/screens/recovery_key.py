"""Shows the recovery key once and has the end of it typed back, so that it was written down."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button, Input

from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line, SecretInput

TYPED_BACK = 2
"""Groups at the end of the key that are typed back."""

WHY = (
    "It opens your sessions when the passphrase or this machine is lost. Whoever has it can read everything. "
    "Write it down on paper and keep it apart from this machine: it is shown only now."
)


class RecoveryKey(Dialog[str]):
    """What was typed back, once it matches the end of the key; None when the person left, and then the key is void."""

    DEFAULT_CSS = """
    RecoveryKey #key {
        width: 100%;
        margin: 1 0 0 0;
        padding: 0 1;
        text-style: bold;
        text-align: center;
        color: $text-accent;
        background: $panel;
    }
    RecoveryKey.-short #key, RecoveryKey.-narrow #key { margin: 0; padding: 0; }
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self._groups = key.split("-")

    def compose_box(self) -> ComposeResult:
        yield Line("Your recovery key", classes="title")
        yield Line(WHY, classes="text")
        yield Line(self._shown(), id="key")
        yield Line(f"Type its last {TYPED_BACK} groups to confirm that you have it", classes="label")
        yield Input(id="typed", max_length=SecretInput.LONGEST, placeholder="small letters and spaces are fine")
        yield Line(id="trouble", classes="trouble")
        with Choices():
            yield Choice("Confirm", "confirm", "primary")
            yield Choice("Not now", "later")
        yield Line("Enter confirms, Esc leaves: this key is then not valid", classes="keys")

    def _shown(self) -> str:
        if len(self._groups) < 6:
            return "-".join(self._groups)
        half = (len(self._groups) + 1) // 2
        return "\n".join("  ".join(part) for part in (self._groups[:half], self._groups[half:]))

    @on(Input.Changed)
    def typed(self) -> None:
        """What was wrong with the last attempt is no longer what stands there."""
        self.query_one("#trouble", Line).say("")

    @on(Input.Submitted)
    @on(Button.Pressed, "#confirm")
    def confirm(self) -> None:
        """Leaves with what was typed when it is the end of the key, else says so."""
        field = self.query_one("#typed", Input)
        if self._matches(field.value):
            self._leave(field.value)
            return
        field.focus()
        trouble = "This is not the end of the key. Compare it with what you wrote down." if field.value.strip() else ""
        self.query_one("#trouble", Line).say(trouble or "Nothing was typed.")

    def _matches(self, typed: str) -> bool:
        given = _same(typed)
        return given in (_same("".join(self._groups[-TYPED_BACK:])), _same("".join(self._groups))) and bool(given)

    @on(Button.Pressed, "#later")
    def action_leave(self) -> None:
        """Leaves without a recovery key."""
        self._leave(None)

    def _leave(self, typed: str | None) -> None:
        self.query_one("#typed", Input).clear()
        self.query_one("#key", Line).say("")
        self.dismiss(typed)


_LOOKALIKES = str.maketrans({"I": "1", "L": "1", "O": "0"})


def _same(typed: str) -> str:
    """Keys that people would call the same become the same text: case, spaces, dashes and look-alikes do not matter."""
    return "".join(typed.upper().replace("-", " ").split()).translate(_LOOKALIKES)
