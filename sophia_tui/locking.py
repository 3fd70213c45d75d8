"""Takes everything that was said off the screen while the store is locked, and brings it back afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class Curtain:
    """Whether the screen is blank, because the store is locked."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._was_open = self.drawn = False

    async def keep_draft(self) -> None:
        """What was typed just now and not sent is kept: the prompt is about to be emptied."""
        app, draft = self._app, self._app.chat.prompt.draft
        if not app.dispatcher.is_command(draft):
            await app.runtime.drafts.save(app.feed.draft_of, draft)

    def opened(self) -> None:
        """The store is open: what stood on the screen is built again from it."""
        self._was_open = True
        if self.drawn:
            self.drawn = False
            self._app.feed.show(self._app.runtime.current.session_id)

    def locked(self) -> None:
        """The store was open and is locked now: nothing of it may be read off the screen."""
        if not self._was_open or self.drawn:
            return
        app = self._app
        self.drawn = True
        for screen in reversed(app.screen_stack[1:]):
            screen.dismiss(None)
        app.dispatcher.forget()
        app.clear_notifications()
        app.show_pane("chat")
        app.chat.turns.live = app.chat.turns.beside = app.chat.turns.last = None
        app.feed.comparing.forget()
        app.chat.show_session(None, [])
        app.chat.sessions.show([])
        app.chat.prompt.load_text("")
        app.chat.prompt.recent = []
        for key in ("outbox", "unread"):
            app.chat.standing.clear(key)
        app.status.values = replace(app.status.values, tokens_in=0, tokens_out=0, cost_usd=None, busy=False)
