"""Removing sessions for good: nothing of them is left in any page of the database, used or free, nor in its log.

Deleting unlinks; the engine leaves the content in its pages until something else needs them. Here what is deleted is
overwritten, the search index is merged into one piece, which drops the words of all that was deleted, and then the
database is written anew without its free space and takes the place of the old one, which is overwritten. Killed at any
moment, the store opens, with or without what was to go; the same purge ends what was begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import archive, engine, files, rotation
from local_store.audit import Audit
from local_store.backup import NAME, PURPOSE, SUFFIX, migrations_folder
from local_store.blobs import Blobs
from local_store.database import Database
from local_store.engine import Opener
from local_store.errors import Damaged, StoreBusy, StoreError, StoreFull
from local_store.imports import ID_CHARACTERS
from local_store.keyfile import Keys
from local_store.presence import Presence
from local_store.steps import Progress, Steps, to_its_end
from local_store.types import StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

MESSAGES_AT_ONCE: Final = 500
"""How many go in one transaction: others wait no longer than that."""
MERGED_AT_ONCE: Final = 500
OVERHEAD: Final = 1 << 20
BLOCK: Final = bytes(1 << 20)
OPEN_ELSEWHERE: Final = (
    "Remains of it may stay in the free space of the database: the store is open in another place. "
    "Close that, then: sophia sessions purge --all-deleted"
)
BLOBS_BUSY: Final = "Its attachments go with the next sweep: a backup is being made just now."


@dataclass(frozen=True, slots=True)
class Held:
    """A copy of the store that was made while what is purged may have been in it."""

    path: Path
    made_at: int
    ours: bool
    """True when it can be removed for you: a backup that this store signed, under the name that we gave it."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What is gone, and what could not be done yet."""

    sessions: int
    messages: int
    attachments: int
    freed: int
    """By how many bytes the database is smaller."""
    left: tuple[str, ...]
    """What is still to be done, a sentence each; empty when nothing is left."""
    removed: tuple[Path, ...]
    """Backups that were removed."""
    held: tuple[Held, ...]
    """Backups and older copies that may still have it."""


class Purger:
    """Removes sessions of one open store for good."""

    def __init__(
        self,
        paths: StorePaths,
        database: Database,
        keys: Keys,
        presence: Presence,
        audit: Audit,
        blobs: Blobs,
        after_delete: Callable[[], Awaitable[object]],
    ) -> None:
        self._paths, self._database, self._keys = paths, database, keys
        self._presence, self._audit, self._blobs = presence, audit, blobs
        self._after_delete = after_delete

    async def sessions(
        self,
        session_ids: Sequence[str],
        *,
        backups: Sequence[Path] = (),
        remove_backups: bool = False,
        progress: Progress | None = None,
    ) -> Purged:
        """Remove these sessions and all that was said in them; what they cost stays in the totals.

        `backups` are the folders to look for copies in; those of ours are removed when told so. With no ids at all it
        removes what is left of sessions that were deleted before. Cancelled, it leaves off between two steps. Raises
        StoreError when the store takes no more; then the same call goes on where this one ended.
        """
        steps = _Told(progress)
        made_at = await self._database.read(lambda connection: _earliest(connection, session_ids))
        left: list[str] = []
        messages, blob_ids = await self._delete(session_ids, steps)
        attachments = await self._remove_blobs(blob_ids, left)
        await self._after_delete()
        await self._merge_index()
        before = await asyncio.to_thread(self._size)
        await self._compact(steps, left)
        held = await asyncio.to_thread(self._held, [*backups, migrations_folder(self._paths)], made_at)
        removed = await asyncio.to_thread(_remove, held) if remove_backups and session_ids else ()
        freed = max(0, before - await asyncio.to_thread(self._size))
        still = tuple(each for each in held if each.path not in removed)
        purged = Purged(len(session_ids), messages, attachments, freed, tuple(left), removed, still)
        await self._tell(session_ids, purged)
        return purged

    async def unused_since(self, ms: int) -> list[str]:
        """Return the ids of the sessions that nobody has used since that time and that are not pinned."""

        def operation(connection: Connection) -> list[str]:
            found = connection.execute("SELECT id FROM session WHERE updated_at < ? AND pinned = 0 ORDER BY seq", [ms])
            return [row[0] for row in found]

        return await self._database.read(operation)

    async def _remove_blobs(self, blob_ids: Sequence[str], left: list[str]) -> int:
        try:
            return await self._blobs.remove(blob_ids) if blob_ids else 0
        except StoreBusy:
            left.append(BLOBS_BUSY)
            return 0

    async def _delete(self, session_ids: Sequence[str], steps: _Told) -> tuple[int, list[str]]:
        wanted = json.dumps(list(session_ids))
        blob_ids = await self._database.read(lambda connection: _attachments(connection, wanted))
        total = await self._database.read(lambda connection: _count(connection, wanted))
        gone = done = 0
        while done < len(session_ids):
            some = session_ids[done : done + MESSAGES_AT_ONCE]
            # What is merged and written anew afterwards waits for the disk; this need not.
            count, ended = await self._database.write(partial(_slice, session_ids=some), lasting=False)
            gone, done = gone + count, done + ended
            steps.tell(gone, 2 * total)
        return gone, blob_ids

    async def _merge_index(self) -> None:
        """Let the search index forget the words of what was deleted before, a little at a time; drafts go too."""
        await self._database.write(_forget_drafts)
        amount = -MERGED_AT_ONCE
        while await self._database.write(partial(_merge, pages=amount)):
            amount = MERGED_AT_ONCE

    async def _compact(self, told: _Told, left: list[str]) -> None:
        steps = Steps(told.second_half(asyncio.get_running_loop()))
        try:
            await to_its_end(self._database.exchange(lambda old, last: self._exchange(old, last, steps)), steps)
        except StoreBusy:
            left.append(OPEN_ELSEWHERE)
            await asyncio.to_thread(self._empty_log)
        except StoreFull as error:
            left.append(f"The database could not be written anew: {error.message}. {error.hint}")

    def _exchange(self, old: Opener, last: Connection, steps: Steps) -> Opener:
        last.close()
        paths = self._paths
        with files.exclusive(paths.creation_lock), self._presence.alone(), files.typed_errors(old.path):
            rotation.discard_copy(paths)
            rotation.leave_the_log(old)
            _require_room(old.path)
            try:
                _write_anew(old, paths.exchange, self._keys.store_id, steps)
                _replace(paths.exchange, old.path)
            except BaseException:
                rotation.discard_copy(paths)
                raise
        return old

    def _empty_log(self) -> None:
        errors = engine.engine_errors(self._paths.database)
        with contextlib.suppress(StoreError), errors, contextlib.closing(self._database.scratch()) as connection:
            connection.execute("PRAGMA query_only=OFF").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _size(self) -> int:
        return self._paths.database.stat().st_size

    def _held(self, folders: Sequence[Path], since: int | None) -> tuple[Held, ...]:
        """The backups of this store that were made since then, and the stores that were put aside."""
        key, found = self._keys.derive(PURPOSE), []
        for path in (each for folder in dict.fromkeys(folders) for each in sorted(folder.glob(f"*{SUFFIX}"))):
            with contextlib.suppress(StoreError), archive.opened(path) as opened:
                about = opened.manifest
                if about.store_id == self._keys.store_id and since is not None and about.made_at >= since:
                    ours = about.made_with(key) and NAME.fullmatch(path.name) is not None and not path.is_symlink()
                    found.append(Held(path, about.made_at, ours))
        root = self._paths.root
        aside = sorted(root.parent.glob(f"{root.name}-before-*"))
        return (*found, *(Held(path, int(path.stat().st_mtime * 1000), False) for path in aside))

    async def _tell(self, session_ids: Sequence[str], purged: Purged) -> None:
        # It is done: a log that cannot be written now is no reason to say that it is not.
        with contextlib.suppress(StoreError):
            subject = session_ids[0] if len(session_ids) == 1 else ""
            counts = {"sessions": purged.sessions, "messages": purged.messages, "backups_removed": len(purged.removed)}
            detail = {name: str(count) for name, count in counts.items()} | {"left": str(len(purged.left))}
            await self._audit.append("session.purged", subject, detail)


class _Told:
    """Two stretches of work as one: deleting first, writing anew second."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, max(total, 1))

    def second_half(self, loop: asyncio.AbstractEventLoop) -> Progress | None:
        def report(done: int, total: int) -> None:
            loop.call_soon_threadsafe(self.tell, total + done, 2 * total)

        return None if self._progress is None else report


def _earliest(connection: Connection, session_ids: Sequence[str]) -> int | None:
    """Before this time no copy can have any of the sessions; None when none of them is there."""
    if not session_ids:
        return 0
    found = connection.execute(
        "SELECT min(created_at) FROM session WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(session_ids)]
    ).fetchone()
    return None if found[0] is None else int(found[0])


def _attachments(connection: Connection, wanted: str) -> list[str]:
    found = connection.execute(
        "SELECT DISTINCT blob_id FROM part JOIN message m ON m.id = part.message_id"
        " WHERE m.session_id IN (SELECT value FROM json_each(?)) AND blob_id IS NOT NULL",
        [wanted],
    )
    return [row[0] for row in found]


def _count(connection: Connection, wanted: str) -> int:
    condition = "session_id IN (SELECT value FROM json_each(?))"
    return int(connection.execute(f"SELECT count(*) FROM message WHERE {condition}", [wanted]).fetchone()[0])


def _slice(connection: Connection, session_ids: Sequence[str]) -> tuple[int, int]:
    """Delete as much as goes in one transaction; returns how many messages, and how many sessions with all they had."""
    whole: list[str] = []
    room = MESSAGES_AT_ONCE
    for session_id in session_ids:
        count = _count_up_to(connection, session_id, room + 1)
        if count > room:
            break
        whole.append(session_id)
        room -= count
    with _overwriting(connection):
        if not whole:
            return _delete_newest(connection, session_ids[0], MESSAGES_AT_ONCE), 0
        return _delete_whole(connection, json.dumps(whole)), len(whole)


def _count_up_to(connection: Connection, session_id: str, most: int) -> int:
    counted = "SELECT count(*) FROM (SELECT 1 FROM message WHERE session_id = ? LIMIT ?)"
    return int(connection.execute(counted, [session_id, most]).fetchone()[0])


@contextlib.contextmanager
def _overwriting(connection: Connection) -> Iterator[None]:
    """Let the engine overwrite what is deleted inside; for what is changed every day it would cost too much."""
    connection.execute("PRAGMA secure_delete=ON").fetchall()
    try:
        yield
    finally:
        connection.execute("PRAGMA secure_delete=OFF").fetchall()


def _delete_newest(connection: Connection, session_id: str, most: int) -> int:
    """Delete the newest messages: what answers to a message always came after it."""
    connection.execute("UPDATE session SET active_leaf = NULL WHERE id = ?", [session_id])
    chosen = "seq IN (SELECT seq FROM message WHERE session_id = ? ORDER BY seq DESC LIMIT ?)"
    return _delete_messages(connection, chosen, [session_id, most])


def _delete_whole(connection: Connection, session_ids: str) -> int:
    """Delete these sessions, an array in JSON, and all that belongs to them."""
    wanted = "(SELECT value FROM json_each(?))"
    connection.execute(f"UPDATE session SET active_leaf = NULL WHERE id IN {wanted}", [session_ids])
    count = _delete_messages(connection, f"session_id IN {wanted}", [session_ids])
    connection.execute(f"DELETE FROM draft WHERE key IN {wanted}", [session_ids])
    connection.execute(f"DELETE FROM run WHERE session_id IN {wanted}", [session_ids])
    connection.execute("DELETE FROM task WHERE source IN (SELECT 'session:' || value FROM json_each(?))", [session_ids])
    connection.execute(f"DELETE FROM session WHERE id IN {wanted}", [session_ids])
    return count


def _delete_messages(connection: Connection, chosen: str, values: Sequence[str | int]) -> int:
    # What was remembered of a message, and the task that was taken from it, was said in it.
    about = f"message_id IN (SELECT id FROM message WHERE {chosen})"
    connection.execute(f"DELETE FROM memory WHERE {about}", values)
    taken = f"source IN (SELECT 'message:' || id FROM message WHERE {chosen})"
    connection.execute(f"DELETE FROM task WHERE {taken}", values)
    return connection.execute(f"DELETE FROM message WHERE {chosen}", values).rowcount


def _forget_drafts(connection: Connection) -> None:
    """Delete what was typed for sessions that are gone."""
    condition = "length(key) = ? AND key NOT IN (SELECT id FROM session)"
    connection.execute(f"DELETE FROM draft WHERE {condition}", [ID_CHARACTERS])


def _merge(connection: Connection, pages: int) -> bool:
    """Merge some of the search index; False when there is no more to do."""
    before = connection.total_changes
    with _overwriting(connection):
        connection.execute("INSERT INTO message_fts (message_fts, rank) VALUES ('merge', ?)", [pages])
    return connection.total_changes - before > 1


def _require_room(path: Path) -> None:
    free, needed = shutil.disk_usage(path.parent).free, path.stat().st_size + OVERHEAD
    if free < needed:
        message = f"{str(path.parent)!r} has {free:,} bytes free and it takes {needed:,}"
        raise StoreFull(message, path=path.parent, hint="Free some space, then: sophia sessions purge --all-deleted")


def _write_anew(old: Opener, copy: Path, store_id: str, steps: Steps) -> None:
    """Write the database without its free space to `copy`, and read that to its end."""
    files.create_private(copy)
    steps.total = old.path.stat().st_size
    with contextlib.closing(old.reader()) as connection, engine.engine_errors(old.path):
        connection.execute("PRAGMA query_only=OFF")
        with steps.engine(connection, lambda: copy.stat().st_size):
            connection.execute("VACUUM INTO ?", [str(copy)])
            engine.refuse_zeros(connection)
    with contextlib.closing(Opener(copy, old.key).reader()) as connection, engine.engine_errors(copy):
        found = connection.execute("PRAGMA cipher_integrity_check").fetchall()
        owner = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
    if found or owner != (store_id,):
        raise Damaged("the database written anew is not whole", path=copy, hint="Check the disk: sophia doctor.")
    files.sync_file(copy)


def _replace(copy: Path, path: Path) -> None:
    """Let the copy be the database, and overwrite what was there. Nobody has either open."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        copy.replace(path)
        files.sync_folder(path.parent)
        left = os.fstat(descriptor).st_size
        while left > 0:
            left -= os.write(descriptor, BLOCK[: min(left, len(BLOCK))])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(held: Sequence[Held]) -> tuple[Path, ...]:
    gone = []
    for each in held:
        if each.ours:
            with files.typed_errors(each.path):
                each.path.unlink(missing_ok=True)
            gone.append(each.path)
    return tuple(gone)
