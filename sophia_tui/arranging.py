"""What the keys of the session list do: rename, delete, pin, archive, move and tag."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from local_store.errors import NotFound
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_tui.widgets.sessions import SessionList

if TYPE_CHECKING:
    from local_store import Session, Store
    from sophia_tui.app import SophiaApp

NAMED = 60
GONE = "That session is gone."
GONE_HINT = "It was deleted meanwhile; the list shows what there is."
_Work = Callable[["Store", "Session"], Awaitable[object]]


class Arranging:
    """Asks what is to be asked, and hands commands to the core. Each is a worker; the list follows by itself."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def heard(self, wish: SessionList.Wish) -> None:
        """One wish of the reader of the list."""
        app = self._app
        match wish:
            case SessionList.Opened():
                app.feed.jump_to = wish.message_id
                app.dispatcher.start("session.open", wish.session_id)
                app.chat.focus_prompt()
            case SessionList.NewRequested():
                app.dispatcher.start("session.new")
            case SessionList.SearchRequested():
                app.feed.search(wish.query)
            case SessionList.MoreRequested():
                app.feed.more()
            case SessionList.UndoRequested():
                app.dispatcher.start("change.undo")
            case SessionList.RenameRequested():
                self.rename(wish.session_id)
            case SessionList.DeleteRequested():
                self.delete(wish.session_id)
            case SessionList.OrganiseRequested():
                self.organise(wish.command, wish.session_id)

    def rename(self, session_id: str) -> None:
        """Asks for another title, the present one to begin from; nothing typed leaves it."""
        self._start("session.rename", session_id, self._rename)

    def delete(self, session_id: str) -> None:
        """Asks whether this one is meant, and deletes it."""
        self._start("session.delete", session_id, self._delete)

    def organise(self, name: str, session_id: str) -> None:
        """Runs a command on a session, after asking for its text where it takes one."""
        if name == "session.move":
            self._start(name, session_id, self._move)
        elif name == "session.tag":
            self._start(name, session_id, self._tag)
        else:
            self._app.dispatcher.carry_out(name, lambda: self._app.runtime.run(name, session=session_id))

    def _start(self, name: str, session_id: str, work: _Work) -> None:
        async def once() -> object:
            store = await self._app.runtime.vault.get()
            try:
                found = await store.sessions.get(session_id)
            except NotFound:
                raise CommandError(GONE, GONE_HINT) from None
            return await work(store, found)

        self._app.dispatcher.carry_out(name, once)

    async def _rename(self, store: Store, found: Session) -> object:
        title = await self._ask("Title of this session", found.title)
        if title is None or not title.strip() or title == found.title:
            return None
        return await self._app.runtime.run("session.rename", title, session=found.id)

    async def _delete(self, store: Store, found: Session) -> object:
        from sophia_tui.screens.confirm import Confirm

        count = found.message_count
        said = f"Its {count:,} message{'s go' if count != 1 else ' goes'} too, in every window."
        dialog = Confirm(
            f"Delete {_name(found)}?",
            f"{said} Nothing brings it back but a backup; archiving it only takes it off the list.",
            yes_label="Delete",
            dangerous=True,
        )
        if await self._app.push_screen_wait(dialog) is not True:
            return None
        await self._app.runtime.run("session.delete", found.id, confirmed=True)
        return f"{_name(found)} is deleted."

    async def _move(self, store: Store, found: Session) -> object:
        known = [each.name for each in await store.organising.folders()]
        folder = await self._ask(f"Folder for {_name(found)}", found.folder, known, "Empty: in no folder.")
        if folder is None or folder.strip() == found.folder:
            return None
        return await self._app.runtime.run("session.move", folder, session=found.id)

    async def _tag(self, store: Store, found: Session) -> object:
        known = [each.name for each in await store.organising.tags()]
        before = ", ".join(found.tags)
        typed = await self._ask(f"Tags of {_name(found)}", before, known, "Set apart by commas.")
        if typed is None:
            return None
        wanted = [each.strip() for each in typed.split(",") if each.strip()]
        return await self._retag(found, wanted)

    async def _retag(self, found: Session, wanted: Sequence[str]) -> object:
        """One command for what came, one for what went; what neither did is left alone."""
        lower = {each.casefold() for each in wanted}
        gone = [each for each in found.tags if each.casefold() not in lower]
        had = {each.casefold() for each in found.tags}
        come = [each for each in wanted if each.casefold() not in had]
        said: object = None
        for name, tags in (("session.untag", gone), ("session.tag", come)):
            if tags:
                said = await self._app.runtime.run(name, f"{', '.join(tags)},", session=found.id)
        return said

    async def _ask(self, title: str, initial: str, known: Sequence[str] = (), detail: str = "") -> str | None:
        from sophia_tui.screens.ask_text import AskText

        return await self._app.push_screen_wait(AskText(title, initial, suggestions=known, detail=detail))


def _name(session: Session) -> str:
    return f"“{one_line(session.title, NAMED) or 'Untitled'}”"
