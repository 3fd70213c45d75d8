"""Order among the conversations: pins, folders, tags and the archive; each change can be taken back."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from local_store.errors import BadValue, NotFound
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionsChanged
from sophia_core.sanitize import one_line
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Group, Session, Store

SAID = 40
Write = Callable[["Store"], Awaitable[object]]
Mark = Literal["pinned", "archived"]
SAID_OF: dict[tuple[Mark, bool], str] = {
    ("pinned", True): "is pinned",
    ("pinned", False): "is no longer pinned",
    ("archived", True): "is archived",
    ("archived", False): "is listed again",
}


class Organise:
    """The commands that say where a conversation stands in the list. Each names a session, or means the open one."""

    def __init__(self, vault: Vault, bus: Bus, current: Current, undoing: Undoing | None = None) -> None:
        self._vault, self._bus, self._current = vault, bus, current
        self._undoing = undoing or Undoing()

    async def _get(self, session: str | None) -> tuple[Store, Session]:
        wanted = session or self._current.session_id
        if wanted is None:
            raise CommandError("No session is open.", "Open one with /open, or name its id.")
        store = await self._vault.get()
        try:
            return store, await store.sessions.get(wanted)
        except NotFound as error:
            hint = error.hint or "`sophia sessions` lists them."
            raise CommandError(f"There is no session {wanted!r}.", hint) from None

    async def _do(self, store: Store, words: str, write: Write, back: Write) -> None:
        try:
            await write(store)
        except BadValue as error:
            raise CommandError(f"That does not work: {error}.", error.hint) from None
        except NotFound:
            raise CommandError("The session is gone.", "`sophia sessions` lists those there are.") from None
        self._undoing.record(Change(words, lambda: self._again(back), lambda: self._again(write)))
        self._bus.publish(SessionsChanged())

    async def _again(self, write: Write) -> None:
        await write(await self._vault.get())
        self._bus.publish(SessionsChanged())

    @command("session.pin", slash="pin")
    async def pin(self, session: str | None = None) -> str:
        """Pin a session: it is listed before all others."""
        return await self._mark(session, "pinned", on=True)

    @command("session.unpin", slash="unpin")
    async def unpin(self, session: str | None = None) -> str:
        """List a pinned session among the others again."""
        return await self._mark(session, "pinned", on=False)

    @command("session.archive", slash="archive")
    async def archive(self, session: str | None = None) -> str:
        """Put a session into the archive: it is found by searching, but no longer listed."""
        return await self._mark(session, "archived", on=True)

    @command("session.unarchive", slash="unarchive")
    async def unarchive(self, session: str | None = None) -> str:
        """Take a session out of the archive."""
        return await self._mark(session, "archived", on=False)

    async def _mark(self, session: str | None, name: Mark, *, on: bool) -> str:
        """Pin or archive it, or end that; what is so already is only said."""
        store, found = await self._get(session)
        said = f"{_name(found)} {SAID_OF[name, on]}"
        if getattr(found, name) == on:
            return f"{said}."
        write, back = _marking(found.id, name, on=on), _marking(found.id, name, on=not on)
        await self._do(store, said, write, back)
        return f"{said}{'; /undo takes it back' if (name, on) == ('archived', True) else ''}."

    @command("session.move", slash="move")
    async def move(self, folder: str = "", *, session: str | None = None) -> str:
        """Move a session to a folder, which is made if need be; without a name, out of its folder."""
        store, found = await self._get(session)
        await self._do(
            store,
            f"{_name(found)} was moved",
            lambda store: store.organising.move(found.id, folder),
            lambda store: store.organising.move(found.id, found.folder),
        )
        now = (await store.sessions.get(found.id)).folder
        return f"{_name(found)} is in {now!r}." if now else f"{_name(found)} is in no folder."

    @command("session.tag", slash="tag")
    async def tag(self, tags: str, *, session: str | None = None) -> str:
        """Tag a session; several tags are set apart by blanks, or by commas where a tag holds blanks."""
        store, found = await self._get(session)
        names = _names(tags)
        await self._do(
            store,
            f"{_name(found)} was tagged",
            lambda store: store.organising.tag(found.id, names),
            lambda store: _retag(store, found),
        )
        return await self._tagged(store, found)

    @command("session.untag", slash="untag")
    async def untag(self, tags: str, *, session: str | None = None) -> str:
        """Take tags away from a session."""
        store, found = await self._get(session)
        names = _names(tags)
        await self._do(
            store,
            f"{_name(found)} lost tags",
            lambda store: store.organising.untag(found.id, names),
            lambda store: _retag(store, found),
        )
        return await self._tagged(store, found)

    async def _tagged(self, store: Store, session: Session) -> str:
        tags = (await store.sessions.get(session.id)).tags
        return f"{_name(session)} is tagged {', '.join(tags)}." if tags else f"{_name(session)} has no tags."

    @command("session.folders", slash="folders")
    async def folders(self) -> builtins.list[Group]:
        """List the folders, and how many sessions are in each."""
        return await (await self._vault.get()).organising.folders()

    @command("session.tags", slash="tags")
    async def tags(self) -> builtins.list[Group]:
        """List the tags, and how many sessions have each."""
        return await (await self._vault.get()).organising.tags()


def _marking(session_id: str, name: Mark, *, on: bool) -> Write:
    def write(store: Store) -> Awaitable[object]:
        organising = store.organising
        return (
            organising.pin(session_id, pinned=on) if name == "pinned" else organising.archive(session_id, archived=on)
        )

    return write


async def _retag(store: Store, before: Session) -> None:
    now = (await store.sessions.get(before.id)).tags
    await store.organising.untag(before.id, [name for name in now if name not in before.tags])
    await store.organising.tag(before.id, [name for name in before.tags if name not in now])


def _names(tags: str) -> builtins.list[str]:
    names = [name.strip() for name in (tags.split(",") if "," in tags else tags.split())]
    if not any(names):
        raise CommandError("There is no tag to set.", "Name it: /tag work")
    return [name for name in names if name]


def _name(session: Session) -> str:
    return f"“{one_line(session.title, SAID) or 'Untitled'}”"
