"""The open store: its parts, and how it is opened and closed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from local_store import engine, files, rotation, swap
from local_store.audit import Audit
from local_store.check import Checkup
from local_store.database import Database
from local_store.drafts import Drafts
from local_store.errors import Damaged, NotFound
from local_store.instance import Instance
from local_store.keys import Credentials, Keys, open_keys
from local_store.keyslots import KeySlots
from local_store.messages import Messages
from local_store.migrations import migrate
from local_store.outbox import Outbox
from local_store.presence import Presence
from local_store.responses import Responses
from local_store.rotation import Rotator
from local_store.search import Search
from local_store.secrets import Secrets
from local_store.sessions import Sessions
from local_store.turns import Turns
from local_store.types import CheckResult, KeyPolicy, SlotKind, StorePaths
from local_store.usage import UsageLedger

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.backup import Backups
    from local_store.bulk import Bulk


@dataclass(frozen=True, slots=True)
class _Opened:
    keys: Keys
    opener: engine.Opener
    connection: Connection
    instance: Instance
    presence: Presence
    created: bool


class Store:
    """An unlocked store. Use it from the event loop it was opened in, and close it."""

    def __init__(self, paths: StorePaths, opened: _Opened) -> None:
        self._database = Database(opened.opener, opened.connection)
        self._keys = opened.keys
        self._instance = opened.instance
        self._presence = opened.presence
        self.paths = paths
        self.created = opened.created
        """True when this open made the store."""
        self.unlocked_by: SlotKind = opened.keys.unlocked_by
        self.sessions = Sessions(self._database)
        self.turns = Turns(self._database, opened.instance)
        self.messages = Messages(self._database)
        self.outbox = Outbox(self._database, opened.instance)
        self.responses = Responses(self._database)
        self.secrets = Secrets(self._database)
        self.search = Search(self._database)
        self.drafts = Drafts(self._database)
        self.usage = UsageLedger(self._database)
        self.audit = Audit(self._database, opened.keys, paths)
        self._checkup = Checkup(paths, self._database, opened.keys, opened.instance, self.audit)
        rotator = Rotator(paths, self._database, opened.keys, opened.presence)
        self.keys = KeySlots(opened.keys, rotator, self.audit)

    @cached_property
    def bulk(self) -> Bulk:
        """Imports, and the reading side of exports; loaded when it is first used."""
        from local_store.bulk import Bulk

        return Bulk(self._database, self.paths.run)

    @cached_property
    def backups(self) -> Backups:
        """Makes backups; loaded when it is first used."""
        from local_store.backup import Backups

        return Backups(self.paths, self._database, self._keys)

    async def check(self, full: bool = False) -> list[CheckResult]:
        """Return what is sound and what is not; `full` reads every page and takes seconds per gigabyte."""
        return await self._checkup.run(full=full)

    async def close(self) -> None:
        """Write what waits, close every connection, forget the key. May be called twice."""
        try:
            await self._database.close()
        finally:
            self._keys.forget()
            self._instance.end()
            self._presence.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def open_unlocked(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Store:
    """Return the open store; see `local_store.open_store` for the errors."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open_typed, paths, given, policy, create=create))
    try:
        return Store(paths, await asyncio.shield(opening))
    except asyncio.CancelledError:
        opening.add_done_callback(_abandon)
        raise


def _abandon(opening: asyncio.Future[_Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opened = opening.result()
        opened.connection.close()
        opened.keys.forget()
        opened.instance.end()
        opened.presence.end()


def _open_typed(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> _Opened:
    with files.typed_errors(paths.root):
        return _open(paths, given, policy, create=create)


def _open(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> _Opened:
    swap.settle(paths.root)
    if not create and not paths.keys.exists() and not paths.database.exists():
        raise NotFound(f"there is no store in {str(paths.root)!r}", path=paths.root)
    files.private_folder(paths.root)
    files.private_folder(paths.run)
    presence = Presence(paths.presence_lock, policy.busy_timeout)
    try:
        return _open_present(paths, given, policy, presence, create=create)
    except BaseException:
        presence.end()
        raise


def _open_present(
    paths: StorePaths, given: Credentials, policy: KeyPolicy, presence: Presence, *, create: bool
) -> _Opened:
    keys = open_keys(paths, given, policy, create=create)
    files.create_private(paths.database)
    created = False
    if _is_empty(paths.database):
        # Two processes that make the first page at once would each believe in their own salt.
        with files.exclusive(paths.creation_lock):
            created = _is_empty(paths.database)
            opener, connection = _connect(paths, keys)
    else:
        opener, connection = _connect(paths, keys)
    try:
        return _Opened(keys, opener, connection, Instance(paths.run), presence, created)
    except BaseException:
        connection.close()
        raise


def _is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


def _connect(paths: StorePaths, keys: Keys) -> tuple[engine.Opener, Connection]:
    openers = [engine.Opener(paths.database, key) for key in keys.database_keys()]
    opener, connection = _with_either_key(openers)
    try:
        rotation.settle(paths, keys, openers.index(opener))
        with engine.engine_errors(paths.database):
            migrate(connection, paths.database, keys.store_id, before=lambda _: _back_up(paths, opener, keys))
    except BaseException:
        connection.close()
        raise
    return opener, connection


def _back_up(paths: StorePaths, opener: engine.Opener, keys: Keys) -> None:
    from local_store.backup import before_migration

    before_migration(paths, opener.reader, keys)


def _with_either_key(openers: list[engine.Opener]) -> tuple[engine.Opener, Connection]:
    """Return the first that works: after a change of the key that was cut short, the database may have either."""
    *first, last = openers
    for opener in first:
        with contextlib.suppress(Damaged):
            return opener, opener.writer()
    return last, last.writer()
