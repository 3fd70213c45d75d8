"""Shows what other SOPHIAs do in the conversation on the screen, without moving what a person reads or types."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from local_store.errors import NotFound, StoreError
from sophia_core.commands import CommandError
from sophia_core.sanitize import StreamSanitizer, sanitize
from sophia_tui.footers import entry_of
from sophia_tui.transcript import Entry

if TYPE_CHECKING:
    from local_store import Message
    from sophia_core.events import AnswerGrew, ChangedElsewhere
    from sophia_tui.app import SophiaApp

GONE = "This session was deleted in another SOPHIA · what you ask now begins a new one"
ANOTHER_BRANCH = "Another SOPHIA went on here: its branch is shown. Alt+Left shows the one before."
UNSETTLED = ("streaming", "queued", "dead")
"""Answers that stand so may stand otherwise the next time somebody looks."""


@dataclass(slots=True)
class _Stream:
    """An answer of another process so far, safe for the screen."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    text_edge: StreamSanitizer = field(default_factory=StreamSanitizer)
    reasoning_edge: StreamSanitizer = field(default_factory=StreamSanitizer)


class Elsewhere:
    """Brings the conversation up to what the store has."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._streams: dict[str, _Stream] = {}
        self._missed = False
        """Something changed here while an answer of our own was streaming."""

    def grew(self, event: AnswerGrew) -> None:
        """More of an answer: it is drawn like one of our own."""
        if event.begun:
            self._streams[event.answer_id] = _Stream()
        stream = self._streams.setdefault(event.answer_id, _Stream())
        text, reasoning = stream.text_edge.feed(event.text), stream.reasoning_edge.feed(event.reasoning)
        stream.text.append(text)
        stream.reasoning.append(reasoning)
        if event.begun:
            self._lay(event.answer_id, stream)
        elif self._entry(event.answer_id):
            transcript = self._app.chat.transcript
            transcript.feed_reasoning(event.answer_id, reasoning)
            transcript.feed(event.answer_id, text)

    def forget(self) -> None:
        """The store is locked: nothing of what was said stays here."""
        self._streams.clear()

    def lay(self) -> None:
        """Puts what is known of answers that still stream onto a conversation that was read anew."""
        for answer_id, stream in self._streams.items():
            self._lay(answer_id, stream)

    def _lay(self, answer_id: str, stream: _Stream) -> None:
        entry = self._entry(answer_id)
        if entry is not None and entry.status == "streaming":
            text, reasoning = "".join(stream.text), "".join(stream.reasoning)
            self._app.chat.transcript.begin(replace(entry, text=text, reasoning=reasoning))

    def _entry(self, answer_id: str) -> Entry | None:
        return next((e for e in reversed(self._app.chat.transcript.entries) if e.id == answer_id), None)

    def changed(self, event: ChangedElsewhere) -> None:
        """Others changed the store; where that is the conversation on the screen, it is brought up to date."""
        session_id = self._app.chat.session_id
        if session_id is None:
            return
        if session_id in event.deleted:
            self._gone()
        elif event.many or session_id in event.sessions or event.messages:
            self._app.run_worker(self._follow(event.messages), group="elsewhere")

    def turn_ended(self) -> None:
        """An answer of our own ended: what was left alone meanwhile is looked at."""
        if self._missed:
            self._missed = False
            self._app.run_worker(self._follow_when_idle(), group="elsewhere")

    async def _follow_when_idle(self) -> None:
        await self._app.runtime.chat.idle()
        await self._follow(frozenset())

    def _gone(self) -> None:
        app = self._app
        app.chat.session_id = None
        app.chat.give_up_editing()
        app.chat.standing.say("gone", GONE, "warning")
        app.run_worker(app.feed.move_draft(), group="draft")

    async def _follow(self, messages: frozenset[str]) -> None:
        with contextlib.suppress(NoMatches, StoreError, CommandError):
            session_id = self._app.chat.session_id
            if session_id is not None:
                await self._extend(session_id)
                await self._restate(messages)

    async def _extend(self, session_id: str) -> None:
        """Adds what the branch has beyond what is shown, or shows the other branch."""
        app, chat = self._app, self._app.chat
        store = app.runtime.vault.store
        shown = self._shown()
        if store is None:
            return
        if app.runtime.chat.busy:
            self._missed = True
            return
        try:
            branch = await store.watch.beyond(session_id, frozenset(shown))
        except NotFound:
            return
        if session_id != chat.session_id or app.runtime.chat.busy or shown != self._shown():
            self._missed = app.runtime.chat.busy
            return
        if branch.joins == (shown[-1] if shown else None):
            chat.add(branch.messages)
        else:
            await self._exchange(session_id)
        self.lay()

    def _shown(self) -> list[str]:
        return [entry.id for entry in self._app.chat.transcript.entries if entry.role != "notice"]

    async def _exchange(self, session_id: str) -> None:
        branch = await self._app.runtime.sessions.shown(session_id)
        if session_id == self._app.chat.session_id and not self._app.runtime.chat.busy:
            self._app.chat.exchange(branch)
            self._app.dispatcher.notice("info", ANOTHER_BRANCH)

    async def _restate(self, messages: frozenset[str]) -> None:
        """Corrects the answers shown that stand otherwise now."""
        store, chat = self._app.runtime.vault.store, self._app.chat
        live = chat.turns.live
        for entry in chat.transcript.entries:
            if entry.role != "assistant" or (entry.status not in UNSETTLED and entry.id not in messages):
                continue
            if store is None or (live and entry.id == live.started.answer_id):
                continue
            with contextlib.suppress(NotFound):
                self._settle(entry, await store.messages.get(entry.id))

    def _settle(self, before: Entry, message: Message) -> None:
        now = entry_of(message, before.branch, sanitize(message.text), sanitize(message.reasoning))
        now = replace(now, label=before.label, tint=before.tint)
        transcript = self._app.chat.transcript
        if now.status == "streaming":
            if before.status != "streaming":
                transcript.begin(now)
            return
        self._streams.pop(now.id, None)
        if before.status == "streaming":
            transcript.finish(now.id, text=now.text, status=now.status, footer=now.footer, label=now.label)
        elif now != before:
            transcript.update(now)

    def settings_edited(self) -> None:
        """The config file changed: the theme and the keys follow."""
        self._app.run_worker(self._follow_settings(), group="settings", exclusive=True)

    async def _follow_settings(self) -> None:
        app, before = self._app, self._app.loaded.settings
        app.loaded = await asyncio.to_thread(app.load)
        now = app.loaded.settings
        await app.looks.reload(app)
        if now != before:
            app.looks.follow(app, now)
        if now.keys != before.keys:
            app.learn_keys()
