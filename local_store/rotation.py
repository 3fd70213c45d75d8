"""Exchanging the store's keys: a new master key for every slot, and the database written anew under a new data key.

Whatever moment it is cut short at, the store opens: keys.json names both data keys before the database is touched, and
the database is exchanged by a rename. Steps, each on the disk before the next begins:

1. nobody else has the store open; the log is in the database file, whose pages are all sound;
2. keys.json: the new master key for every slot, the old data key and the new one;
3. a copy of the database under the new data key, checked page by page;
4. the copy takes the database's place;
5. keys.json: the new data key only.

Before 4 the database has the old key and after it the new one; the next opening finds out which and does step 5.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from local_store import engine, files
from local_store.database import Database
from local_store.engine import Opener
from local_store.errors import Damaged, StoreBusy, StoreError
from local_store.keyfile import Keys
from local_store.presence import Presence
from local_store.side import Sides
from local_store.steps import Progress, Steps, to_its_end
from local_store.types import Rotation, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

PAGES_AT_ONCE = 1024


class Rotator:
    """Exchanges the keys of one open store."""

    def __init__(self, paths: StorePaths, database: Database, keys: Keys, presence: Presence, sides: Sides) -> None:
        self._paths, self._database, self._keys, self._presence = paths, database, keys, presence
        self._sides = sides

    async def rotate(self, progress: Progress | None = None) -> Rotation:
        """Exchange the keys and return what was done. Cancelling it before the exchange leaves all as it was.

        `progress` hears (pages done, pages in all) on the event loop. Raises StoreBusy while another process has the
        store open, WrongState when a slot cannot be carried over, StoreFull, Damaged; then nothing has changed.
        """
        loop = asyncio.get_running_loop()

        def report(done: int, total: int) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        steps = Steps(report)
        await to_its_end(self._database.exchange(lambda old, last: self._exchange(old, last, steps)), steps)
        await self._sides.rotate()
        size = await asyncio.to_thread(lambda: self._paths.database.stat().st_size)
        return Rotation(self._keys.epoch, size)

    def _exchange(self, old: Opener, last: Connection, steps: Steps) -> Opener:
        last.close()
        with files.exclusive(self._paths.creation_lock), self._presence.alone(), files.typed_errors(old.path):
            discard_copy(self._paths)
            leave_the_log(old)
            _refuse_damage(old)
            new = Opener(old.path, self._keys.begin_exchange(old.key))
            try:
                self._copy(old, new, steps)
                self._paths.exchange.replace(old.path)
            except BaseException:
                self._give_up()
                raise
            files.sync_folder(self._paths.root)
            self._finish()
            return new

    def _copy(self, old: Opener, new: Opener, steps: Steps) -> None:
        def tell(_: int, left: int, total: int) -> None:
            steps.total = total
            steps.reach(total - left)

        files.create_private(self._paths.exchange)
        copy = Opener(self._paths.exchange, new.key)
        source = old.reader()
        with engine.engine_errors(copy.path), contextlib.closing(source), contextlib.closing(copy.blank()) as target:
            pages = int(source.execute("PRAGMA page_count").fetchone()[0])
            source.backup(target, pages=PAGES_AT_ONCE, progress=tell)
        _verify(copy, pages, self._keys.store_id)
        files.sync_file(copy.path)

    def _give_up(self) -> None:
        # What cannot be put back is not needed: the database opens with the old key, which keys.json still names.
        with contextlib.suppress(StoreError):
            self._keys.abandon_exchange()
        discard_copy(self._paths)

    def _finish(self) -> None:
        # The exchange is done; a keys.json that cannot be written now is settled by the next opening.
        with contextlib.suppress(StoreError):
            self._keys.settle(1)


def settle(paths: StorePaths, keys: Keys, used: int) -> None:
    """Tell keys.json which of two data keys the database has, after an exchange that was cut short."""
    if len(keys.database_keys()) > 1:
        # A store that cannot be written opens all the same; the next opening tries again.
        with contextlib.suppress(StoreError), files.exclusive(paths.creation_lock, timeout=0.0):
            keys.settle(used)
            discard_copy(paths)


def discard_copy(paths: StorePaths) -> None:
    """Remove what an exchange that was cut short left. The lock of the key file is held."""
    for end in ("", "-journal", "-wal", "-shm"):
        path = paths.exchange.with_name(paths.exchange.name + end)
        with files.typed_errors(path):
            path.unlink(missing_ok=True)


def leave_the_log(opener: Opener) -> None:
    """Bring the log into the file and do without it; the engine refuses that while any other connection is open.

    On a connection of its own: one that read before goes on with what it read, past what others wrote since.
    """
    with contextlib.closing(opener.writer()) as connection, engine.engine_errors(opener.path):
        mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    if mode != "delete":
        raise StoreBusy("the database is being read", path=opener.path, hint="Try again in a moment.")


def _refuse_damage(opener: Opener) -> None:
    """Raise Damaged when a page is not what was written: copying would give it a code that fits, and hide that."""
    with contextlib.closing(opener.reader()) as connection, engine.engine_errors(opener.path):
        found = connection.execute("PRAGMA cipher_integrity_check").fetchall()
    if found:
        message = f"{str(opener.path)!r} is damaged: {found[0][0]}"
        raise Damaged(message, path=opener.path, hint=engine.RESTORE_HINT)


def _verify(copy: Opener, pages: int, store_id: str) -> None:
    """Read every page of the copy. Raises Damaged when it is not whole."""
    with contextlib.closing(copy.reader()) as connection, engine.engine_errors(copy.path):
        found = connection.execute("PRAGMA cipher_integrity_check").fetchall()
        same = connection.execute("PRAGMA page_count").fetchone()[0] == pages
        owner = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found or not same or owner is None or owner[0] != store_id:
        raise Damaged("the copy under the new key is not whole", path=copy.path, hint="Check the disk: sophia doctor.")
