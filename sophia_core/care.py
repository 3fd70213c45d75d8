"""Looking after the store: repaired, saved from damage, and rid of what is to be forgotten."""

from __future__ import annotations

import asyncio
import builtins
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store.errors import Damaged, NotFound, StoreError
from sophia_core.backups import Backups
from sophia_core.chat.sessions import said_of
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionChanged, SessionsChanged
from sophia_core.present import when
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Store, StorePaths
    from local_store.mend import Mended
    from local_store.purge import Purged
    from local_store.salvage import LostIn, Salvaged

Progress = Callable[[int, int], object]
DAY_MS: Final = 24 * 60 * 60 * 1000
UNITS: Final = {"d": 1, "w": 7, "m": 30, "y": 365}
MOST_NAMED: Final = 20
REPAIRED_SO_FAR: Final = "What it had put right stays so; the backup from before it is kept."
PURGED_SO_FAR: Final = "What was deleted stays so, but may be left in the file: `session.purge deleted=yes` ends it."
SALVAGE: Final = "`sophia store salvage` makes a new store from all that can be read; this one is kept aside."


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did, and the backup from before it."""

    mended: tuple[Mended, ...]
    backup: Path


class Care:
    """The commands that keep the store sound, and those that make it forget."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        current: Current,
        paths: StorePaths,
        backups: Backups,
        *,
        passphrase: str | None = None,
        allow_keyring: bool = True,
        busy: Callable[[], bool] = lambda: False,
        forget: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`forget` lets go of what is kept in memory of messages, once some were removed for good."""
        self._vault, self._bus, self._current, self._paths, self._backups = vault, bus, current, paths, backups
        self._passphrase, self._allow_keyring, self._busy = passphrase, allow_keyring, busy
        self._forget = forget

    async def repair(self, progress: Progress | None = None) -> Repaired:
        """Backs the store up, then puts right what can be. Raises CommandError or StoreError."""
        try:
            before = (await self._backups.make(progress=progress)).info.path
        except Damaged as error:
            raise CommandError(f"Pages of the store are damaged: {error.message}.", SALVAGE) from None
        store = await self._vault.get()
        mended = tuple(await store.repairs.run(progress))
        await store.audit.append("store.repaired", "", {"kinds": str(len(mended)), "backup": str(before)})
        if mended:
            self._bus.publish(SessionsChanged())
        return Repaired(mended, before)

    async def salvage(self, to: str | None = None, progress: Progress | None = None) -> Salvaged:
        """Makes a new store from what can be read, in the place of the damaged one or in a new folder.

        Raises CommandError or StoreError.
        """
        from local_store.keys import Credentials
        from local_store.salvage import salvage_store

        self._refuse_busy()
        target = _folder(to)
        given = Credentials(self._passphrase, None, self._allow_keyring)
        if was_open := self._vault.store is not None:
            self._refuse_unsaved()
            await self._backups.close_store()
        done = None
        try:
            done, given = await self._backups.unlocking(
                lambda each: salvage_store(self._paths, each, to=target, progress=progress), given, "the store"
            )
        finally:
            if done is not None and target is None:
                self._current.session_id = None  # it may be lost; whatever waits begins a session of its own
            if was_open or (done is not None and target is None):
                await self._backups.reopen_store(given)
        if target is None:
            await self._tell(done)
        return done

    def _refuse_busy(self) -> None:
        if self._busy():
            raise CommandError("An answer is arriving just now.", "Wait for it, or stop it.")
        if self._vault.unwritten:
            raise CommandError("The store has yet to take what was said last.", "Quit, then: sophia store salvage")

    def _refuse_unsaved(self) -> None:
        if self._vault.state == "unsaved":
            raise CommandError("Nothing is saved, so there is nothing to salvage.", "Start SOPHIA again to save.")

    async def _tell(self, done: Salvaged) -> None:
        if (store := self._vault.store) is not None:
            counts = {"pages": len(done.damaged), "lost": sum(done.lost.values()), "cut": done.cut}
            detail = {name: str(count) for name, count in counts.items()} | {"aside": str(done.aside or "")}
            await store.audit.append("store.salvaged", str(done.store), detail)
        self._bus.publish(SessionChanged(self._current.session_id))
        self._bus.publish(SessionsChanged())

    def _show_none(self) -> None:
        self._current.session_id = None
        self._bus.publish(SessionChanged(None))
        self._bus.publish(SessionsChanged())

    async def purge(
        self,
        sessions: builtins.list[str],
        *,
        older_than: str | None = None,
        deleted: bool = False,
        backups: bool = False,
        progress: Progress | None = None,
    ) -> Purged:
        """Removes sessions for good, or what is left of deleted ones. Raises CommandError or StoreError."""
        self._refuse_purge(deleted=deleted, backups=backups)
        store = await self._vault.get()
        chosen = await self.chosen(sessions, older_than=older_than, deleted=deleted)
        folders = [self._backups.folder]
        try:
            done = await store.purge.sessions(chosen, backups=folders, remove_backups=backups, progress=progress)
        except BaseException:
            await self._show_what_is_left(store)
            raise
        if self._forget is not None:
            await self._forget()
        if self._current.session_id in chosen:
            self._show_none()
        elif chosen:
            self._bus.publish(SessionsChanged())
        return done

    async def _show_what_is_left(self, store: Store) -> None:
        """Some of it may be gone, though not all."""
        if (session := self._current.session_id) is not None:
            try:
                await store.sessions.get(session)
            except NotFound:
                self._show_none()
            except StoreError:
                pass  # what stopped the purge is told already
        self._bus.publish(SessionsChanged())

    async def chosen(
        self, sessions: builtins.list[str], *, older_than: str | None = None, deleted: bool = False
    ) -> builtins.list[str]:
        """The ids of the sessions that are meant; none for what is left of deleted ones. Raises CommandError."""
        ways = bool(sessions) + (older_than is not None) + deleted
        if ways != 1:
            reason = "It is not clear what is to go." if ways else "Nothing was named that is to go."
            raise CommandError(reason, "Name sessions by their ids, or give an age, or ask for what was deleted.")
        store = await self._vault.get()
        if older_than is not None:
            found = await store.purge.unused_since(_moment(older_than))
            if not found:
                raise CommandError(f"No session was left unused for {older_than}.", "Pinned ones do not count.")
            return found
        try:
            return list(dict.fromkeys([(await store.sessions.get(each)).id for each in sessions]))
        except NotFound as error:
            raise CommandError(f"{error.message[:1].upper()}{error.message[1:]}.", error.hint) from None

    @command("store.repair", audited=True)
    async def repair_command(self) -> str:
        """Back the store up, then put right its indexes, counts and references."""
        with _as_command():
            done = await self._vault.work.run("The repair", self.repair, stopped=REPAIRED_SO_FAR)
            return "\n".join(told_of_repaired(done))

    async def _can_salvage(self, to: str | None = None) -> None:
        self._refuse_busy()
        self._refuse_unsaved()
        target = _folder(to)
        if target is not None and await asyncio.to_thread(target.exists):
            raise CommandError(f"{str(target)!r} exists already.", "Name a new folder.")

    @command("store.salvage", dangerous=True, check=_can_salvage)
    async def salvage_command(self, to: str | None = None) -> str:
        """Make a new store from all that can be read of a damaged one, which is kept aside."""
        with _as_command():
            done = await self._vault.work.run("The salvage", lambda tell: self.salvage(to, tell))
            return "\n".join(told_of_salvaged(done))

    def _named(self, session: str | None, older_than: str | None, deleted: bool) -> builtins.list[str]:
        """The session that is meant where nothing else is said: the open one."""
        wanted = session or (None if older_than or deleted else self._current.session_id)
        return [wanted] if wanted else []

    async def _about(
        self,
        session: str | None = None,
        *,
        older_than: str | None = None,
        deleted: bool = False,
        backups: bool = False,
    ) -> str:
        """Names what would be removed."""
        self._refuse_purge(deleted=deleted, backups=backups)
        with _as_command():
            found = await self.chosen(self._named(session, older_than, deleted), older_than=older_than, deleted=deleted)
            if len(found) != 1:
                return _many(len(found), "session") if found else "what is left of deleted sessions"
            return said_of(await (await self._vault.get()).sessions.get(found[0]))

    def _refuse_purge(self, *, deleted: bool, backups: bool) -> None:
        if self._busy():
            raise CommandError("An answer is arriving just now.", "Wait for it, or stop it.")
        if backups and deleted:
            raise CommandError("Nobody knows which backups have what was deleted.", "`sophia backup list` names all.")

    @command("session.purge", dangerous=True, check=_about)
    async def purge_command(
        self,
        session: str | None = None,
        *,
        older_than: str | None = None,
        deleted: bool = False,
        backups: bool = False,
    ) -> str:
        """Remove a session so that nothing of it is left in the store; `older_than=90d` takes all unused since."""
        ids = self._named(session, older_than, deleted)
        with _as_command():
            done = await self._vault.work.run(
                "The purge",
                lambda tell: self.purge(ids, older_than=older_than, deleted=deleted, backups=backups, progress=tell),
                stopped=PURGED_SO_FAR,
            )
        return "\n".join(told_of_purged(done))


def _folder(typed: str | None) -> Path | None:
    return None if typed is None else Path(typed).expanduser().absolute()


def _moment(age: str) -> int:
    """The time that lies so long ago, such as `90d`. Raises CommandError."""
    from local_store.ids import now_ms

    found = re.fullmatch(r"(\d{1,5})\s*([dwmy])", age.strip().lower())
    if found is None:
        raise CommandError(f"{age!r} is no age.", "Write it like 90d, 12w, 6m or 2y.")
    return now_ms() - int(found[1]) * UNITS[found[2]] * DAY_MS


@contextmanager
def _as_command() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise CommandError(f"{error.message[:1].upper()}{error.message[1:]}.", error.hint) from None


def told_of_repaired(done: Repaired) -> builtins.list[str]:
    """What a person is told after a repair."""
    lines = [f"{each.what[:1].upper()}{each.what[1:]}: {each.count:,}." for each in done.mended]
    return [*(lines or ["There was nothing to repair."]), f"The store as it was before is in {done.backup}"]


def told_of_salvaged(done: Salvaged) -> builtins.list[str]:
    """What a person is told about a store that was made from a damaged one."""
    kept = f"{_many(done.kept.get('message', 0), 'message')} in {_many(done.kept.get('session', 0), 'session')}"
    verb = "was" if len(done.damaged) == 1 else "were"
    pages = f"{_many(len(done.damaged), 'page')} of {done.pages:,} {verb} damaged"
    lines = [f"Saved {kept}: {done.store}", f"{pages}." if done.damaged else "No page was damaged."]
    lines += [_told_of_lost(each) for each in done.sessions[:MOST_NAMED]]
    if len(done.sessions) > MOST_NAMED:
        lines.append(f"… and {_many(len(done.sessions) - MOST_NAMED, 'session')} more.")
    others = {name: count for name, count in done.lost.items() if name not in ("message", "session")}
    lines += [f"{_many(count, 'row')} of the table {name!r} could not be read." for name, count in others.items()]
    if done.whole:
        lines.append("Nothing was lost.")
    if done.aside is not None:
        lines.append(f"The damaged store is kept: {done.aside}. Delete it when nothing is missing.")
    return lines


def _told_of_lost(lost: LostIn) -> str:
    name = f"{lost.title!r} ({when(lost.updated_at)})"
    said = [f"{_many(lost.messages, 'message')} cannot be read, or not to the end"] if lost.messages else []
    if lost.itself:
        said.append("its own title could not be read")
    return f"{name}: {'; '.join(said)}."


def told_of_purged(done: Purged) -> builtins.list[str]:
    """What a person is told about what is gone, and about what is not."""
    what = f"{_many(done.sessions, 'session')} with {_many(done.messages, 'message')}"
    lines = [f"Removed {what} for good." if done.sessions else "Removed what was left of deleted sessions."]
    lines += done.left
    if done.removed:
        lines.append(f"Removed {_many(len(done.removed), 'backup')} that had it.")
    for each in done.held:
        lines.append(f"A copy from {when(each.made_at)} may still have it; delete it where that matters: {each.path}")
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
