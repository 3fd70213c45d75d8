"""Fills the chat pane from the store, in workers: the list, the conversation, drafts and history."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.css.query import NoMatches

from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.present import ago, sentence
from sophia_core.sanitize import one_line, sanitize
from sophia_tui.arranging import Arranging
from sophia_tui.bindings import key_hints
from sophia_tui.comparing import Comparing
from sophia_tui.earlier import bring_in, end_of
from sophia_tui.elsewhere import Elsewhere
from sophia_tui.gauge import Gauge
from sophia_tui.store_dialogs import StoreDialogs
from sophia_tui.widgets.sessions import HitRow, SessionRow

if TYPE_CHECKING:
    from local_store import Found, Hit, Session
    from sophia_tui.app import SophiaApp

WINDOW = 400
"""How many sessions are read at a time; more follow when somebody looks further down."""
LONGEST_TITLE = 200
LOOK_AGAIN_S = 2.0
"""How soon a search is repeated while messages are still being indexed."""


class SessionFeed:
    """Reads what the pane shows. Nothing here blocks the loop; a newer read replaces an older one."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self.draft_of: str | None = None
        """The session that the text in the prompt belongs to; None is the one not begun yet."""
        self._unread: set[str] = set()
        """Sessions in which an answer ended while another one was on the screen."""
        self.elsewhere, self.arranging, self.dialogs = Elsewhere(app), Arranging(app), StoreDialogs(app)
        self.gauge, self.comparing = Gauge(app), Comparing(app)
        self._listed = WINDOW
        self.jump_to: str | None = None
        """The message to show when the next session is opened; None: its end."""

    def _begin(self, group: str, work: Callable[..., Coroutine[None, None, None]], *values: object) -> None:
        """Does it in place of whatever of its group is under way."""
        # Not a coroutine: one whose place is taken before it began would be thrown away with a warning.
        safely: Any = partial(self._safely, work, *values)
        self._app.run_worker(safely, group=group, exclusive=True)

    async def _safely(self, work: Callable[..., Coroutine[None, None, None]], *values: object) -> None:
        """Does work that ends in widgets. When the app is left they go before the workers that fill them; and what
        cannot be read is a word in the corner, never the end of the app."""
        with contextlib.suppress(NoMatches):
            try:
                await work(*values)
            except (StoreError, CommandError) as error:
                if self._app.runtime.vault.state in ("open", "unsaved"):  # else that is being told already
                    self._app.dispatcher.notice("error", sentence(str(error)), error.hint)

    def opened(self) -> None:
        """The store is open: everything that comes from it can be shown."""
        self.refresh()
        self._begin("prompt", self._prompt_memory)

    def show(self, session_id: str | None) -> None:
        """Rebuilds the conversation."""
        self._begin("conversation", self._show, session_id)

    async def _show(self, session_id: str | None) -> None:
        chat, runtime = self._app.chat, self._app.runtime
        ended = None
        if session_id:
            chat.transcript.warm()  # beside the reading
        try:
            while ended != self.gauge.ended_turns:  # an answer that ended while we read stands otherwise by now
                ended = self.gauge.ended_turns
                shown = await end_of(self._app, session_id) if session_id else []
                first = await runtime.trimming.first(session_id)
        except (StoreError, CommandError):
            chat.show_session(session_id, [])  # never what was said in another one
            raise
        await runtime.personas.learn(message.persona for message, _ in shown)
        chat.sent_from = first
        chat.show_session(session_id, shown)
        self.gauge.show([message for message, _ in shown], chat.sent_from)
        self.elsewhere.lay()
        self._jump()
        self.refresh()
        await self._change_draft(session_id)
        if session_id:
            await bring_in(self._app, session_id, shown, self._jump)
        self.jump_to = None

    def _jump(self) -> None:
        """Goes to the message that was asked for, once it is here."""
        transcript = self._app.chat.transcript
        if self.jump_to and transcript.has(self.jump_to):
            transcript.select(self.jump_to)
            self.jump_to = None

    def refresh(self) -> None:
        """Reads the list of sessions again, and what the filter finds."""
        self._begin("sessions", self._refresh)
        if query := self._app.chat.sessions.query_text:
            self.search(query)

    async def _refresh(self) -> None:
        app = self._app
        if app.runtime.vault.store is None:
            return
        now, live = int(time.time() * 1000), app.chat.turns.live
        found = await app.runtime.sessions.list(limit=self._listed)
        rows = [self._row(each, now, live.started.session_id if live else None) for each in found]
        app.chat.sessions.show(rows, more=len(found) == self._listed)

    def _row(self, session: Session, now: int, live: str | None) -> SessionRow:
        return SessionRow(
            id=session.id,
            title=session.title[:LONGEST_TITLE],
            subtitle=f"{ago(session.updated_at, now)} · {session.message_count}",
            current=session.id == self._app.chat.session_id,
            mark=self._mark(session.id, live),
            pinned=session.pinned,
            folder=session.folder[:LONGEST_TITLE],
            archived=session.archived,
        )

    def more(self) -> None:
        """Lists older sessions, too: the reader comes near the end of those that are listed."""
        self._listed += WINDOW
        self.refresh()

    @property
    def unread_mark(self) -> str:
        """What stands before the title of a session with an answer nobody has seen."""
        return "+" if self._app.ascii_only else "◆"

    def _mark(self, session_id: str, live: str | None) -> str | None:
        if session_id == live:
            return "*" if self._app.ascii_only else "●"
        return self.unread_mark if session_id in self._unread else None

    def ended_elsewhere(self, session_id: str) -> None:
        """An answer ended in a session that is not on the screen: the list says so until it is opened."""
        self._unread.add(session_id)
        self._tell_unread()
        self.refresh()

    def seen(self, session_id: str | None) -> None:
        """This session is on the screen."""
        self._unread.discard(session_id or "")
        self._tell_unread()

    def _tell_unread(self) -> None:
        """Says below the conversation that there is something to read elsewhere: the list may be hidden."""
        standing, count = self._app.chat.standing, len(self._unread)
        if not count:
            standing.clear("unread")
            return
        key = key_hints(self._app.keys, [("view.sessions", "")])
        where = f"marked {self.unread_mark} in the list{f' ({key[0][0]})' if key else ''}"
        standing.say("unread", f"New answers in {count} other session{'s' if count > 1 else ''} · {where}", "info")

    def restate(self) -> None:
        """Corrects how the answers on the screen stand."""
        self._begin("restate", self._restate)

    async def _restate(self) -> None:
        chat = self._app.chat
        if chat.session_id and self._app.runtime.vault.store is not None:
            session_id = chat.session_id
            shown = await self._app.runtime.sessions.shown(session_id)
            if session_id == chat.session_id:
                chat.restate(shown)

    def search(self, query: str) -> None:
        """Shows where something was said; an empty query brings the list back."""
        self._begin("search", self._search, query)

    async def _search(self, query: str) -> None:
        await self._app.ready.wait()
        if not query.strip():
            await self._refresh()
            return
        found = await self._app.runtime.sessions.find(query, typing=True)
        if not found.ended:
            now = int(time.time() * 1000)
            titled = [self._row(each, now, None) for each in found.sessions]
            hits = [_row(hit) for hit in found.hits]
            self._app.chat.sessions.show_hits(hits, titled, note=_still_to_come(found))
            if found.pending:
                self._app.set_timer(LOOK_AGAIN_S, lambda: self._search_again(query))

    def _search_again(self, query: str) -> None:
        """More is indexed by now; not if something else is looked for."""
        if query == self._app.chat.sessions.query_text:
            self.search(query)

    async def _prompt_memory(self) -> None:
        prompt, drafts = self._app.chat.prompt, self._app.runtime.drafts
        recent = await drafts.recent_prompts()
        draft = await drafts.load(self.draft_of)
        if draft and prompt.text:  # typed before the store was open: the older text is one step up
            recent.insert(0, draft)
        elif draft:
            prompt.load_text(draft)
        prompt.recent = recent
        self.keep_draft(prompt.draft)

    async def _change_draft(self, session_id: str | None) -> None:
        """Puts what was typed and not sent in this session into the prompt; what stood there stays with its own."""
        if session_id == self.draft_of:
            return
        coming = await self._app.runtime.drafts.load(session_id)
        prompt, left = self._app.chat.prompt, self.draft_of
        if session_id == left:  # the session began while we read: its question has left the prompt already
            return
        unsent = "" if self._app.dispatcher.is_command(prompt.draft) else prompt.draft
        self.draft_of = session_id
        prompt.load_text(coming)
        self._save_draft(left, unsent)

    async def move_draft(self) -> None:
        """The session in view is gone: what is typed stays, and belongs to the one to come."""
        prompt, drafts = self._app.chat.prompt, self._app.runtime.drafts
        self.draft_of = None
        if (kept := await drafts.load(None)) and kept != prompt.draft:
            prompt.recent = [kept, *prompt.recent]
        if prompt.draft:
            await drafts.save(None, prompt.draft)

    def asked(self, session_id: str) -> None:
        """A question has left the prompt; what is typed from now on belongs to its session."""
        if session_id != self.draft_of:
            self._save_draft(self.draft_of, "")
            self.draft_of = session_id

    def keep_draft(self, text: str) -> None:
        """Keeps what is typed and not sent, unless it has left the prompt by now.

        When the app is leaving there is no prompt any more; `App.exit` has kept what was in it.
        """
        if self._app.ready.is_set() and self._app.query("#chat") and text == self._app.chat.prompt.draft:
            self._save_draft(self.draft_of, text)

    def _save_draft(self, session_id: str | None, text: str) -> None:
        # Each in its turn: a write that a newer one cancelled could have been for another session.
        self._app.run_worker(self._app.runtime.drafts.save(session_id, text), group="draft")


def _still_to_come(found: Found) -> str:
    """What a search could not look at."""
    if found.pending:
        return f"{found.pending:,} messages are still being indexed."
    return "" if found.complete else "Not everything was looked at."


def _row(hit: Hit) -> HitRow:
    parts: list[tuple[str, bool]] = []
    at = 0
    for start, end in hit.matches:
        parts += [(_flat(hit.snippet[at:start]), False), (_flat(hit.snippet[start:end]), True)]
        at = end
    parts.append((_flat(hit.snippet[at:]), False))
    shown = tuple(part for part in parts if part[0])
    return HitRow(hit.session_id, hit.message_id, one_line(hit.session_title, 120), shown)


def _flat(text: str) -> str:
    """Safe and on one line, its spaces kept: the parts are put together again."""
    return sanitize(text).replace("\n", " ").replace("\t", " ")
