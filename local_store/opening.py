"""How a store is opened: for writing where that is possible, else for reading, with the reason."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_store import engine, files, head, readonly, rotation, swap, volume
from local_store.ballast import Ballast
from local_store.errors import Damaged, NotFound, SchemaTooNew, StoreError, StoreFull, StoreReadOnly
from local_store.head import Heads
from local_store.instance import Instance
from local_store.keys import Credentials, Keys, open_keys
from local_store.migrations import migrate
from local_store.presence import Presence
from local_store.types import KeyPolicy, RolledBack, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

LEAST_BYTES = 512
"""What is shorter holds nothing: the engine takes it for a new database and writes one over it."""
SHORT_HINT = "`sophia store salvage` saves what is left of it; restore the newest backup for the rest."


@dataclass(frozen=True, slots=True)
class Opened:
    """Everything a store is made of. Whoever has it ends it."""

    keys: Keys
    opener: engine.Opener
    connection: Connection
    instance: Instance
    presence: Presence
    heads: Heads
    ballast: Ballast
    rolled_back: RolledBack | None = None
    created: bool = False
    refusal: StoreReadOnly | None = None
    """Why nothing can be written."""
    scratch: Path | None = None
    """A folder to be removed at the end: where the locks are of a store that lies where none can be made."""

    def take_root(self, paths: StorePaths, timeout: float) -> None:
        """Hold the locks beside the store, which can be written now. Raises StoreError."""
        if self.scratch is not None:
            self.presence.move(paths.presence_lock, timeout)
            self.instance.move(paths.run)
            readonly.remove(self.scratch)

    def end(self) -> None:
        """Close the connection, give up the locks and forget the keys."""
        self.connection.close()
        self.release()

    def release(self) -> None:
        """Give up the locks and forget the keys; the connection belongs to somebody else meanwhile."""
        self.keys.forget()
        self.instance.end()
        self.presence.end()
        if self.scratch is not None:
            readonly.remove(self.scratch)


def open_typed(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Opened:
    """Return the opened store. Blocks. See `local_store.open_store` for the errors."""
    with files.typed_errors(paths.root):
        if not policy.allow_network_folder:
            volume.refuse_network(paths.root, policy.mounts)
        try:
            return _open_with_reserve(paths, given, policy, create=create)
        except (StoreFull, StoreReadOnly) as error:
            if not readonly.worth_reading(paths):
                raise
            return _open_for_reading(paths, given, policy, error)


def open_writable(paths: StorePaths, keys: Keys, heads: Heads) -> engine.Opener | None:
    """Return what writes to a store that was only read until now; None while that cannot be done. Blocks."""
    if files.probe(paths.database, 0) is not None:
        return None
    try:
        with files.typed_errors(paths.root):
            files.private_folder(paths.run)
            opener, connection, newer = _connect(paths, keys, heads)
            connection.close()
    except StoreError:
        return None
    return None if newer else opener


def _open_with_reserve(paths: StorePaths, given: Credentials, policy: KeyPolicy, *, create: bool) -> Opened:
    ballast = Ballast(paths.ballast)
    try:
        return _open(paths, given, policy, ballast, create=create)
    except StoreFull:
        if not ballast.release():
            raise
    return _open(paths, given, policy, ballast, create=create)


def _open(paths: StorePaths, given: Credentials, policy: KeyPolicy, ballast: Ballast, *, create: bool) -> Opened:
    swap.settle(paths.root)
    if not create and not paths.keys.exists() and not paths.database.exists():
        message = f"there is no store in {str(paths.root)!r}"
        raise NotFound(message, path=paths.root, hint="Start `sophia` once: it makes one.")
    files.private_folder(paths.root)
    files.private_folder(paths.run)
    presence = Presence(paths.presence_lock, policy.busy_timeout)
    try:
        return _open_present(paths, given, policy, presence, ballast, create=create)
    except BaseException:
        presence.end()
        raise


def _open_present(
    paths: StorePaths, given: Credentials, policy: KeyPolicy, presence: Presence, ballast: Ballast, *, create: bool
) -> Opened:
    for file in ("", "-wal", "-shm"):
        files.refuse_irregular(paths.database.with_name(paths.database.name + file))
    keys = open_keys(paths, given, policy, create=create)
    heads = Heads(paths, keys)
    _refuse_emptied(paths, heads)
    files.create_private(paths.database)
    created = False
    if _is_empty(paths.database):
        # Two processes that make the first page at once would each believe in their own salt.
        with files.exclusive(paths.creation_lock):
            created = _is_empty(paths.database)
            opener, connection, newer = _connect(paths, keys, heads)
    else:
        opener, connection, newer = _connect(paths, keys, heads)
    try:
        rolled_back, connection = _judged(opener, connection, heads, reading=newer is not None)
        instance = Instance(paths.run)
        return Opened(keys, opener, connection, instance, presence, heads, ballast, rolled_back, created, newer)
    except BaseException:
        connection.close()
        raise


def _judged(
    opener: engine.Opener, connection: Connection, heads: Heads, *, reading: bool
) -> tuple[RolledBack | None, Connection]:
    """Hold the database against its heads; return also the connection to go on with."""
    try:
        return heads.judge(connection), connection
    except engine.load().Error as error:
        if not engine.is_poisoned(error):
            raise engine.translate(error, opener.path) from error
        # A damaged page is no sign of an earlier state, and all the others can be read.
        connection.close()
        return None, opener.reader() if reading else opener.writer()


def _refuse_emptied(paths: StorePaths, heads: Heads) -> None:
    """Raise Damaged where there was a database and it is gone or has no content: a new one would cover that up."""
    gone = not os.path.lexists(paths.database)
    if not gone and paths.database.stat().st_size >= LEAST_BYTES:
        return
    if any(each.generation.number for each in heads.read()):
        message = f"{str(paths.database)!r} is {'gone' if gone else 'empty'}, and was not"
        hint = "Restore the newest backup: `sophia restore`. To begin anew, move the folder of the store away."
        raise Damaged(message, path=paths.database, hint=hint)


def _is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


def _connect(paths: StorePaths, keys: Keys, heads: Heads) -> tuple[engine.Opener, Connection, StoreReadOnly | None]:
    openers = [engine.Opener(paths.database, key) for key in keys.database_keys()]
    opener, connection = _sound(paths, openers, heads)
    try:
        rotation.settle(paths, keys, openers.index(opener))
        with engine.engine_errors(paths.database):
            migrate(connection, paths.database, keys.store_id, before=lambda _: _back_up(paths, opener, keys))
    except SchemaTooNew as error:
        connection.close()
        return opener, opener.reader(), readonly.newer(error)
    except BaseException:
        connection.close()
        raise
    return opener, connection, None


def _back_up(paths: StorePaths, opener: engine.Opener, keys: Keys) -> None:
    from local_store.backup import before_migration

    before_migration(paths, opener.reader, keys)


def _sound(paths: StorePaths, openers: list[engine.Opener], heads: Heads) -> tuple[engine.Opener, Connection]:
    try:
        return _with_either_key(openers)
    except Damaged as error:
        if cut := head.shorter_than(paths.database, heads.read()):
            raise Damaged(f"{str(paths.database)!r} was cut short: {cut}", path=paths.database, hint=SHORT_HINT) from (
                error
            )
        raise


def _with_either_key(openers: list[engine.Opener]) -> tuple[engine.Opener, Connection]:
    """Return the first that works: after a change of the key that was cut short, the database may have either."""
    *first, last = openers
    for opener in first:
        with contextlib.suppress(Damaged):
            return opener, opener.writer()
    return last, last.writer()


def _open_for_reading(paths: StorePaths, given: Credentials, policy: KeyPolicy, why: StoreError) -> Opened:
    keys = open_keys(paths, given, policy, create=False)
    opener, connection = readonly.connect(paths, keys)
    scratch = None
    try:
        refusal = readonly.refusal(why)
        try:
            presence, folder = Presence(paths.presence_lock, policy.busy_timeout), paths.run
            instance = Instance(folder)
        except (StoreFull, StoreReadOnly):
            scratch = readonly.lock_folder()
            presence, instance = Presence(scratch / "open.lock", policy.busy_timeout), Instance(scratch)
        heads = Heads(paths, keys)
        return Opened(
            keys,
            opener,
            connection,
            instance,
            presence,
            heads,
            Ballast(paths.ballast),
            readonly.judged(heads, connection),
            refusal=refusal,
            scratch=scratch,
        )
    except BaseException:
        connection.close()
        if scratch is not None:
            readonly.remove(scratch)
        raise
