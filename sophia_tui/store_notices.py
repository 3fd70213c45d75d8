"""What stands above the prompt about the store: how it is, and what takes long just now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sophia_core.events import StoreStateChanged, WorkProgressed
from sophia_core.present import sentence
from sophia_core.sanitize import one_line
from sophia_tui.bindings import key_hints

if TYPE_CHECKING:
    from local_store import Store
    from sophia_tui.app import SophiaApp

LONGEST = 300
ON_RESERVE = (
    "The disk is full: answers that arrive are still saved, nothing else is. Free 32 MB; it goes on by itself then."
)
DISK_FULL = "disk full"
UNSAVED = "Nothing is being saved: everything said is forgotten when you leave."


class StoreNotices:
    """Keeps those lines true, and puts what depends on the store in order when it opens or closes."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._working = 0

    def reserve(self) -> None:
        """Says that only what must not be lost is written, for as long as that is so; answers arrive as ever."""
        store, standing = self._app.runtime.vault.store, self._app.chat.standing
        spent = store is not None and store.on_reserve
        if spent == standing.says("reserve"):
            return
        values = self._app.status.values
        if spent:
            standing.say("reserve", ON_RESERVE, "error")
            self._app.status.values = replace(values, store_state=values.store_state or DISK_FULL)
        else:
            standing.clear("reserve")
            self._app.status.values = replace(
                values, store_state=None if values.store_state == DISK_FULL else values.store_state
            )

    def state(self, event: StoreStateChanged) -> None:
        """The store opened, was locked, or cannot be had."""
        self.reserve()
        app, standing = self._app, self._app.chat.standing
        match event.state:
            case "open" | "unsaved":
                self._opened(event)
            case "full":
                standing.say("store", one_line(self._why_not_saved(event), LONGEST), "error")
            case "locked":
                app.curtain.locked()
                app.feed.elsewhere.forget()
                app.feed.dialogs.unlock(event.detail)
            case "failed":
                app.feed.dialogs.trouble(event.detail, event.hint)
            case "opening" | "closed":
                pass

    def _opened(self, event: StoreStateChanged) -> None:
        app, standing = self._app, self._app.chat.standing
        app.feed.dialogs.opened()
        if event.state == "unsaved":
            standing.say("store", UNSAVED, "error")
        else:
            if standing.says("store") and event.detail:  # the words in the corner are about what is over
                app.dispatcher.forget()
                app.dispatcher.say(event.detail)
            standing.clear("store")
            app.curtain.opened()
            self._say_put_back(app.runtime.vault.store)
        if event.state == "open" and event.detail:
            # It was open before: what had been refused is written now, and its footer may say so.
            app.feed.refresh()
            app.feed.show(app.chat.session_id)
        else:
            app.feed.opened()

    def _say_put_back(self, store: Store | None) -> None:
        """An earlier state is worth a line for as long as nobody has accepted it."""
        found = store.rolled_back if store else None
        if found is None:
            self._app.chat.standing.clear("put back")
            return
        words = sentence(found.detail)
        self._app.chat.standing.say("put back", f"{words} /store.accept if that was you", "error")

    def _why_not_saved(self, event: StoreStateChanged) -> str:
        store = self._app.runtime.vault.store
        if store is not None and store.read_only:
            return f"Nothing is saved: {store.read_only} · {store.read_only_hint or event.hint}"
        if self._app.runtime.vault.damaged:
            return "Pages of the store are damaged: /store.salvage makes a new one from all that can be read."
        return f"Not saved: {sentence(event.detail)} {event.hint}"

    def progressed(self, event: WorkProgressed) -> None:
        """How far something is that takes long."""
        share = f" · {min(100, event.done * 100 // event.total)} %" if event.total > 0 else "…"
        key = key_hints(self._app.keys, [("view.back", "")])
        stop = f" · {key[0][0]} stops it" if key else ""
        if event.number != self._working:
            self._working = event.number
            self._free_prompt()
        self._app.chat.standing.say(f"work {event.number}", f"{one_line(event.what, 60)}{share}{stop}", "work")

    def _free_prompt(self) -> None:
        """The line that began it is under way: the prompt is for what is asked meanwhile."""
        prompt = self._app.chat.prompt
        if self._app.dispatcher.is_command(prompt.draft):
            prompt.accepted(prompt.draft)

    def ended(self, number: int) -> None:
        """It is over."""
        self._app.chat.standing.clear(f"work {number}")
