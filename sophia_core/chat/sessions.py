"""Sessions: start, open, name, find and delete conversations."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Annotated

from local_store.errors import NotFound
from sophia_core.commands import VERBATIM, CommandError, command
from sophia_core.events import Bus, SessionChanged, SessionsChanged
from sophia_core.sanitize import one_line
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Found, Hit, Message, Session


def said_of(session: Session) -> str:
    """A session as a question about it names it."""
    count = session.message_count
    return f"“{one_line(session.title, 40) or 'Untitled'}”, {count:,} message{'' if count == 1 else 's'}"


class Sessions:
    """The commands about conversations as a whole."""

    def __init__(self, vault: Vault, bus: Bus, current: Current, undoing: Undoing | None = None) -> None:
        self._vault, self._bus, self._current = vault, bus, current
        self._undoing = undoing or Undoing()

    async def _get(self, session: str | None) -> Session:
        wanted = session or self._current.session_id
        if wanted is None:
            raise CommandError("No session is open.", "Ask something, or open one with /open.")
        store = await self._vault.get()
        try:
            return await store.sessions.get(wanted)
        except NotFound as error:
            raise CommandError(
                f"There is no session {wanted!r}.", error.hint or "`sophia sessions` lists them."
            ) from None

    def _show(self, session_id: str | None) -> None:
        self._current.session_id = session_id
        self._bus.publish(SessionChanged(session_id))

    def _go_on(self, found: Session) -> None:
        """Opens a session; who answered in it last does so again."""
        self._current.persona = found.persona
        self._show(found.id)

    async def shown(self, session_id: str) -> builtins.list[tuple[Message, tuple[int, int] | None]]:
        """The shown branch of a session, each message with its place among its versions (from 1) where it has any."""
        return await self.shown_until(session_id, None, None)

    async def shown_until(
        self, session_id: str, leaf_id: str | None, limit: int | None
    ) -> builtins.list[tuple[Message, tuple[int, int] | None]]:
        """The last messages of the branch that ends in this one (None: the shown branch), as `shown` gives them."""
        store = await self._vault.get()
        path = await (
            store.messages.window(session_id, leaf_id, limit) if limit else store.messages.path(session_id, leaf_id)
        )
        versions = await store.messages.versions(session_id, {message.parent_id for message in path})
        places = ((message, versions.get(message.parent_id, [])) for message in path)
        return [(m, (ids.index(m.id) + 1, len(ids)) if len(ids) > 1 and m.id in ids else None) for m, ids in places]

    @command("session.new", keys=("ctrl+n",), slash="new")
    async def new(self) -> None:
        """Start a new conversation."""
        self._show(None)

    @command("session.open", slash="open")
    async def open(self, session: str) -> Session:
        """Open a session by its id or the beginning of it."""
        found = await self._get(session)
        self._go_on(found)
        return found

    @command("session.latest")
    async def latest(self) -> Session | None:
        """Open the session that was used last."""
        found = await (await self._vault.get()).sessions.latest()
        if found:
            self._go_on(found)
        return found

    @command("session.list", slash="sessions")
    async def list(
        self, limit: int = 200, *, folder: str | None = None, tag: str | None = None, archived: bool = False
    ) -> builtins.list[Session]:
        """List sessions, pinned ones first, then the newest: all, those of a folder or tag, or the archived ones."""
        store = await self._vault.get()
        return await store.sessions.list(limit, folder=folder, tag=tag, archived=archived)

    @command("session.rename", slash="rename")
    async def rename(self, title: str, *, session: str | None = None) -> None:
        """Give this session, or the one named, another title."""
        found = await self._get(session)
        name = title.strip() or found.title
        await self._rename(found.id, name)
        words = f"“{one_line(found.title, 40) or 'Untitled'}” was named “{one_line(name, 40)}”"
        undo, redo = (lambda title=each: self._rename(found.id, title) for each in (found.title, name))
        self._undoing.record(Change(words, undo, redo))

    async def _rename(self, session_id: str, title: str) -> None:
        await (await self._vault.get()).sessions.rename(session_id, title)
        self._bus.publish(SessionsChanged())

    async def _about(self, session: str | None = None) -> str:
        """Names the session that would go."""
        return said_of(await self._get(session))

    @command("session.delete", dangerous=True, check=_about)
    async def delete(self, session: str | None = None) -> None:
        """Delete a session and everything said in it."""
        found = await self._get(session)
        await (await self._vault.get()).sessions.delete(found.id)
        if found.id == self._current.session_id:
            self._show(None)
        self._bus.publish(SessionsChanged())

    @command("session.search", slash="search")
    async def search(
        self, query: Annotated[str, VERBATIM], *, limit: int = 50, rank: bool = False
    ) -> builtins.list[Hit]:
        """Search everything said, newest first or best first; `model:`, `after:`, `has:code` and the like narrow it."""
        return builtins.list((await self.find(query, limit=limit, rank=rank)).hits)

    async def find(self, query: str, *, limit: int = 50, rank: bool = False, typing: bool = False) -> Found:
        """Sessions and messages that fit; with `typing`, a newer search ends this one, which then says `ended`."""
        store = await self._vault.get()
        return await store.search.find(query, session=self._current.session_id, limit=limit, rank=rank, typing=typing)

    @command("session.messages")
    async def messages(self, session: str | None = None) -> builtins.list[Message]:
        """List the messages of a session's shown branch."""
        found = await self._get(session)
        return builtins.list(await (await self._vault.get()).messages.path(found.id))
