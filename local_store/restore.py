"""Backups the other way: proven whole, then put in the place of a store, which is moved aside and never deleted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import (
    archive,
    backup,
    blob_archive,
    engine,
    files,
    head,
    header,
    keyfile,
    manifest,
    migrations,
    snapshot,
    swap,
)
from local_store.archive import Archive
from local_store.backup import BackupInfo
from local_store.blob_archive import Listed
from local_store.errors import KeysTampered, Locked, SchemaTooNew, StoreBusy, StoreError, WrongKey
from local_store.keyfile import Keys
from local_store.keys import Credentials, open_keys
from local_store.manifest import bad
from local_store.steps import Progress, Steps, in_thread
from local_store.types import KeyPolicy, SlotKind, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection


SCRATCH: Final = ".sophia-verify-"


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup that was opened, read to the last page, and holds what it says."""

    info: BackupInfo
    opened_by: SlotKind
    own_keys: bool
    """False when only the key file of the present store opened it: without that one it is lost."""
    attachments_lost: int = 0
    """Attachments that were missing or damaged already when it was made; all else is whole."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back."""

    info: BackupInfo
    opened_by: SlotKind
    own_keys: bool
    """True when the store has the key slots of the backup; False when it has those it had before."""
    aside: Path | None
    """Where the store is that was here before; None when there was none."""
    waiting: int
    """Questions in its outbox: they wait again, also those that were answered since."""
    attachments_lost: int = 0
    """Attachments that were missing or damaged already when it was made; all else is whole."""


async def verify_backup(
    path: Path,
    paths: StorePaths,
    given: Credentials,
    policy: KeyPolicy | None = None,
    *,
    progress: Progress | None = None,
) -> Verified:
    """Open a backup in a private folder, read every page and count every row.

    `paths` is the store of this machine, whose folders hold the device key and, should the backup's own key slots not
    open, a key file that may. Raises BadBackup, SchemaTooNew; NeedsPassphrase, Locked, WrongPassphrase, WrongKey;
    StoreFull.
    """
    return await in_thread(lambda steps: _verify(path, paths, given, policy or KeyPolicy(), steps), progress)


async def restore_backup(
    path: Path,
    paths: StorePaths,
    given: Credentials,
    policy: KeyPolicy | None = None,
    *,
    progress: Progress | None = None,
    exchange: swap.Exchange = swap.exchange,
) -> Restored:
    """Put a backup in the place of the store, after `verify_backup`; a store that is there is moved aside.

    It gets the key slots of the present store where the same passphrase, keyring or device opens that, for they are the
    newer ones; else those of the backup. Killed at any moment, it leaves the old store or the new one. Raises what
    `verify_backup` does, and StoreBusy while anybody has the store open.
    """
    return await in_thread(lambda steps: _restore(path, paths, given, policy or KeyPolicy(), steps, exchange), progress)


def _verify(path: Path, paths: StorePaths, given: Credentials, policy: KeyPolicy, steps: Steps) -> Verified:
    with archive.opened(path) as found, _scratch(paths.root.parent) as folder:
        keys, own = _unpack(found, path, folder, paths, given, policy, steps, own_first=True)
        lost = _examine(found, path, folder, keys, steps, keep=False)
        return Verified(backup.describe(path, found.manifest), keys.unlocked_by, own, lost)


def _restore(
    path: Path, paths: StorePaths, given: Credentials, policy: KeyPolicy, steps: Steps, exchange: swap.Exchange
) -> Restored:
    root = paths.root.resolve()
    with files.typed_errors(root):
        files.make_folder(root.parent)
    with swap.restoring(root), archive.opened(path) as found:
        with alone(paths):
            pass  # said now rather than after minutes of reading
        fresh = swap.prepare(root)
        try:
            keys, own = _unpack(found, path, fresh, paths, given, policy, steps, own_first=False)
            lost = _examine(found, path, fresh, keys, steps, keep=True)
            _write_keys(fresh, keys)
            vouched = head.adopt(StorePaths(fresh, paths.device_dir), paths, keys)
            with alone(paths):
                aside = swap.put_in_place(fresh, root, exchange)
            head.settle(paths, keys, vouched)
        except BaseException:
            _discard(fresh)
            raise
        waiting = found.manifest.counts.get("outbox", 0)
        return Restored(backup.describe(path, found.manifest), keys.unlocked_by, own, aside, waiting, lost)


def _discard(fresh: Path) -> None:
    """Remove what was unpacked, unless it is the old store already that has this name."""
    if (fresh / swap.MARK).exists():
        swap.discard(fresh)


@contextlib.contextmanager
def alone(paths: StorePaths) -> Iterator[None]:
    """Keep everybody from opening the store. Raises StoreBusy while somebody has it open."""
    if not paths.run.is_dir():
        yield
        return
    with files.typed_errors(paths.presence_lock):
        descriptor = files.open_lock_file(paths.presence_lock)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "Close the other SOPHIAs that use it, then try again."
            raise StoreBusy("the store is open in another place", path=paths.root, hint=hint) from None
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A private folder on the disk of the store, or where the system has its temporary files."""
    home = beside if os.access(beside, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    with files.typed_errors(home):
        for left in home.glob(f"{SCRATCH}*"):
            _sweep(left)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=home))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _sweep(left: Path) -> None:
    """Remove what a process that was killed unpacked; a living one holds a lock on its folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)


def _unpack(
    found: Archive,
    path: Path,
    folder: Path,
    paths: StorePaths,
    given: Credentials,
    policy: KeyPolicy,
    steps: Steps,
    *,
    own_first: bool,
) -> tuple[Keys, bool]:
    """Unlock the backup and write it to `folder`; return its keys, and whether its own slots opened it."""
    if found.manifest.schema > migrations.SCHEMA:
        message = f"{str(path)!r} has schema {found.manifest.schema}, this version knows {migrations.SCHEMA}"
        raise SchemaTooNew(message, path=path, hint="Update the app, then try again.")
    content = found.read(manifest.KEYS)
    own = header.parse(content, path)
    if own.id != found.manifest.store_id:
        raise bad(path, "its key file is of another store")
    inside = StorePaths(folder, paths.device_dir)
    files.private_folder(inside.run)
    files.write_private(inside.keys, content)
    ways: list[tuple[bool, Callable[[], Keys]]] = [
        (True, lambda: open_keys(inside, given, policy, create=False)),
        (False, lambda: _with_present_slots(own, paths, given, policy)),
    ]
    keys, by_own = _first_that_opens(ways if own_first else ways[::-1])
    if not found.manifest.made_with(keys.derive(backup.PURPOSE)):
        raise bad(path, "it was changed by something that does not hold the key")
    steps.total = 2 * sum(each.size for each in found.manifest.members)
    if found.has(manifest.HEAD):
        found.extract(manifest.HEAD, inside.audit_head, steps)
    found.extract(manifest.DATABASE, inside.database, steps)
    return keys, by_own


def _first_that_opens(ways: list[tuple[bool, Callable[[], Keys]]]) -> tuple[Keys, bool]:
    refusals: dict[bool, StoreError] = {}
    for own, unlock in ways:
        try:
            return unlock(), own
        except (Locked, WrongKey, KeysTampered) as error:
            refusals[own] = error
    raise refusals[True]


def _with_present_slots(own: header.Header, paths: StorePaths, given: Credentials, policy: KeyPolicy) -> Keys:
    """Return the backup's keys under the slots that the store has now. Raises Locked, WrongKey, KeysTampered."""
    present = keyfile.read(paths)
    if present is None or present.id != own.id:
        raise Locked("there is no other key file of that store here", path=paths.keys)
    return open_keys(paths, given, policy, create=False).for_backup(own)


def _write_keys(fresh: Path, keys: Keys) -> None:
    inside = StorePaths(fresh, fresh)
    files.write_private(inside.keys, keys.encode())
    files.sync_folder(inside.run)


def _examine(found: Archive, path: Path, folder: Path, keys: Keys, steps: Steps, *, keep: bool) -> int:
    """Read the database and the attachments to their end, and write these when they are to be kept.

    Returns how many attachments are lost. Raises BadBackup when anything is not what the manifest says.
    """
    described = found.manifest
    inside = StorePaths(folder, folder)
    with contextlib.closing(snapshot.open_database(inside.database, keys.database_keys())) as connection:
        try:
            with engine.engine_errors(path), steps.engine(connection):
                _refuse(path, _complaints(connection))
                owner = connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
                schema = connection.execute("PRAGMA user_version").fetchone()[0]
                counts = snapshot.count_rows(connection)
                listed = blob_archive.listed(connection)
        except StoreError as error:
            raise bad(path, error.message) from error
    if owner != (described.store_id,) or schema != described.schema:
        raise bad(path, "its database is another one than its manifest says")
    wrong = [name for name in {*counts, *described.counts} if counts.get(name) != described.counts.get(name)]
    if wrong:
        name = min(wrong)
        said, there = described.counts.get(name), counts.get(name)
        raise bad(path, f"it should have {said} rows in {name!r} and has {there}")
    lost = _unpack_attachments(found, path, inside.blobs if keep else None, listed, steps)
    steps.reach(steps.total)
    return lost


def _unpack_attachments(found: Archive, path: Path, folder: Path | None, listed: Sequence[Listed], steps: Steps) -> int:
    if not found.has(manifest.BLOBS):
        return len(listed)
    blocks = found.blocks(manifest.BLOBS, steps)
    unpacked = blob_archive.unpack(blocks, listed, found.manifest.made_at, path, folder, steps)
    return unpacked.missing + unpacked.damaged


def _complaints(connection: Connection) -> list[str]:
    """What the engine says of pages, structure and references; nothing when all is sound."""
    for pragma in ("cipher_integrity_check", "integrity_check", "foreign_key_check"):
        found = connection.execute(f"PRAGMA {pragma}").fetchall()
        if found and found != [("ok",)]:
            return [" ".join(map(str, row)) for row in found]
    return []


def _refuse(path: Path, complaints: list[str]) -> None:
    if complaints:
        raise bad(path, "; ".join(complaints[:3]))
