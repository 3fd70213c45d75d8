"""Opens a locked store with its passphrase or the recovery key, without blocking while the key is worked out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from textual import events, on
from textual.app import ComposeResult
from textual.widgets import Button, Input
from textual.worker import Worker, WorkerState

from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line, SecretInput

Try = Callable[[str], Awaitable[str | None]]
Unlocked = Literal["unlocked", "unsaved", "quit"]


class Unlock(Dialog[Unlocked]):
    """What came of it; Esc quits, which loses nothing. `try_passphrase` and `try_recovery` return None when the store
    is open now, else one line that says why not."""

    def __init__(self, detail: str, try_passphrase: Try, try_recovery: Try) -> None:
        super().__init__()
        self.detail = detail
        self._ways: dict[bool, Try] = {False: try_passphrase, True: try_recovery}
        self._with_recovery = False
        self._attempt: Worker[str | None] | None = None
        self._over = False

    def close(self) -> None:
        """The store was opened some other way: there is nothing to ask any more; a dialog above is left in peace."""
        self._over = True
        self._leave_when_seen()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """What is over goes as soon as it would be seen."""
        self._leave_when_seen()

    def _leave_when_seen(self) -> None:
        if self._over and self.is_active and not self.working:  # an attempt of its own leaves by itself
            self._over = False
            self._leave("unlocked")

    def compose_box(self) -> ComposeResult:
        yield Line("The store is locked", classes="title")
        yield Line(self.detail, classes="text")
        yield Line("Passphrase", id="label", classes="label")
        yield SecretInput("secret")
        yield Line(id="state", classes="note")
        yield Line(id="trouble", classes="trouble")
        with Choices():
            yield Choice("Unlock", "unlock", "primary")
            yield Choice("Use recovery key", "other")
            yield Choice("Continue without saving", "unsaved")
            yield Choice("Quit", "quit")
        yield Line("Enter unlocks, Tab moves on, Esc quits", classes="keys")

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """What was wrong with the last attempt is no longer what stands there."""
        event.stop()
        if event.value:  # a field that was cleared keeps the complaint that cleared it
            self.query_one("#trouble", Line).say("")

    @on(Input.Submitted)
    @on(Button.Pressed, "#unlock")
    def attempt(self) -> None:
        """Tries what was typed, in a worker."""
        secret = self.query_one(SecretInput).value
        if not secret:
            self.query_one(SecretInput).focus()
            self.query_one("#trouble", Line).say("Nothing was typed.")
        elif not self.working:
            self._show_working(True)
            self._attempt = self.run_worker(
                self._try(self._ways[self._with_recovery], secret), group="unlock", exit_on_error=False
            )

    @staticmethod
    async def _try(way: Try, secret: str) -> str | None:
        return await way(secret)

    @property
    def working(self) -> bool:
        """Whether an attempt is under way."""
        return self._attempt is not None and not self._attempt.is_finished

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Leaves when the store is open; else says why not and what else there is."""
        if event.worker is not self._attempt:
            return
        if event.state is WorkerState.SUCCESS and not event.worker.result:
            self._leave("unlocked")
        elif event.state is WorkerState.SUCCESS:
            self._failed(str(event.worker.result))
        elif event.state in (WorkerState.ERROR, WorkerState.CANCELLED):
            self._failed(f"That did not work: {event.worker.error or 'it was interrupted'}")

    @on(Button.Pressed, "#other")
    def switch(self) -> None:
        """Asks for the recovery key instead of the passphrase, and back."""
        self._with_recovery = not self._with_recovery
        self.query_one("#label", Line).say("Recovery key: all groups" if self._with_recovery else "Passphrase")
        self.query_one("#other", Choice).label = "Use passphrase" if self._with_recovery else "Use recovery key"
        self.query_one("#trouble", Line).say("")
        self.query_one(SecretInput).clear()
        self.query_one(SecretInput).focus()

    @on(Button.Pressed, "#unsaved")
    def go_unsaved(self) -> None:
        """Leaves to work without the store."""
        self._leave("unsaved")

    @on(Button.Pressed, "#quit")
    def action_leave(self) -> None:
        """Leaves the app as it was; an attempt that is under way is waited for."""
        if not self.working:
            self._leave("quit")

    def _show_working(self, working: bool) -> None:
        self.query_one("#state", Line).say("Checking: this is slow on purpose." if working else "")
        self.query_one("#trouble", Line).say("")
        for each in (*self.query(Choice), self.query_one(SecretInput)):
            each.disabled = working

    def _failed(self, trouble: str) -> None:
        self._show_working(False)
        field = self.query_one(SecretInput)
        field.clear()
        field.focus()
        further = (
            "Compare it with your copy group by group."
            if self._with_recovery
            else "Try again, or press Use recovery key if the passphrase is lost."
        )
        self.query_one("#trouble", Line).say(f"{trouble}\n{further}")

    def _leave(self, how: Unlocked) -> None:
        self.query_one(SecretInput).clear()
        self.dismiss(how)
