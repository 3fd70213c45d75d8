"""Backups: one encrypted snapshot of the store in one file, made while it is in use.

A snapshot is a copy by `VACUUM INTO`: the state of one moment, under the key the database has, while every process goes
on writing. With it go the key file, whose slots open it, and the anchor of the audit log.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import archive, blob_archive, files, manifest, snapshot
from local_store.blobs import kept_in_place
from local_store.database import Database
from local_store.errors import StoreBusy, StoreError
from local_store.ids import now_ms
from local_store.keyfile import Keys
from local_store.manifest import Manifest, Member, Reason
from local_store.retention import Keep, expendable
from local_store.steps import Progress, Steps, in_thread
from local_store.types import StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

SUFFIX: Final = ".sophia-backup"
NAME: Final = re.compile(r"sophia-(?P<store>[0-9a-f]{8})-\d{8}T\d{6}Z(-\d+)?\.sophia-backup")
"""What we call a backup when nobody names it. Only such files are ever deleted."""
PURPOSE: Final = "backup"
MIGRATIONS_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A backup as it lies on the disk, by its own account: `verify_backup` proves it."""

    path: Path
    bytes: int
    store_id: str
    schema: int
    app: str
    made_at: int
    reason: Reason
    opens_with: tuple[str, ...]
    """The kinds of the key slots that open it."""
    portable: bool
    """True when it opens without the machine it was made on: by passphrase, recovery key or ssh-agent."""
    sessions: int
    messages: int


class Backups:
    """Makes the backups of one open store."""

    def __init__(self, paths: StorePaths, database: Database, keys: Keys) -> None:
        self._paths, self._database, self._keys = paths, database, keys

    async def make(self, target: Path, *, app: str = "", progress: Progress | None = None) -> BackupInfo:
        """Make a backup and return it; others may write meanwhile. `target` is a folder, or a file not there yet.

        Whole or not at all, also when it is cancelled. Raises StoreError when the file exists, StoreFull,
        StoreReadOnly, Damaged, and StoreBusy while another backup is made.
        """
        return await in_thread(
            lambda steps: _make(self._paths, self._database.scratch, self._keys, target, app, "asked", steps), progress
        )

    async def prune(self, folder: Path, keep: Keep) -> list[Path]:
        """Delete what need not be kept of the backups of this store in `folder`, and return what that was."""
        return await in_thread(lambda steps: prune(folder, keep, self._keys))


def before_migration(paths: StorePaths, connect: Callable[[], Connection], keys: Keys) -> BackupInfo:
    """Make a backup that `restore_backup` takes, should the new schema be a mistake; the last three are kept.

    Raises StoreError: then the database must not be changed.
    """
    folder = migrations_folder(paths)
    files.private_folder(folder)
    made = _make(paths, connect, keys, folder, "", "migration", Steps())
    prune(folder, Keep(MIGRATIONS_KEPT), keys)
    return made


def migrations_folder(paths: StorePaths) -> Path:
    """Return where the backups lie that are made before the schema changes."""
    return paths.root / "before-migration"


def list_backups(folder: Path) -> list[BackupInfo | StoreError]:
    """Return the backups in `folder`, newest first, then why others cannot be read; reads only their manifests."""
    found: list[BackupInfo] = []
    broken: list[StoreError] = []
    with files.typed_errors(folder):
        paths = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    for path in paths:
        try:
            found.append(read_info(path))
        except StoreError as error:
            broken.append(error)
    return [*sorted(found, key=lambda each: each.made_at, reverse=True), *broken]


def read_info(path: Path) -> BackupInfo:
    """Return what a backup says about itself. Raises BadBackup, SchemaTooNew, StoreError."""
    with archive.opened(path) as found:
        return describe(path, found.manifest)


def describe(path: Path, found: Manifest) -> BackupInfo:
    """Return what the manifest of the backup at `path` says."""
    counts = found.counts
    return BackupInfo(
        path=path,
        bytes=archive.size_of(found.members),
        store_id=found.store_id,
        schema=found.schema,
        app=found.app,
        made_at=found.made_at,
        reason=found.reason,
        opens_with=found.slots,
        portable=found.portable,
        sessions=counts.get("session", 0),
        messages=counts.get("message", 0),
    )


def prune(folder: Path, keep: Keep, keys: Keys) -> list[Path]:
    """Delete the backups in `folder` that need not be kept: only files of our name that this store's key signed."""
    key = keys.derive(PURPOSE)
    ours: dict[int, list[Path]] = {}
    for path in sorted(folder.glob(f"sophia-{keys.store_id[:8]}-*{SUFFIX}")):
        if (at := _made_by_us(path, key)) is not None:
            ours.setdefault(at, []).append(path)
    gone = [path for at in sorted(expendable(ours, keep)) for path in ours[at]]
    for path in gone:
        with files.typed_errors(path):
            path.unlink(missing_ok=True)
    return gone


def _made_by_us(path: Path, key: bytes) -> int | None:
    if not NAME.fullmatch(path.name) or path.is_symlink():
        return None
    try:
        with archive.opened(path) as found:
            return found.manifest.made_at if found.manifest.made_with(key) else None
    except StoreError:
        return None


def _make(
    paths: StorePaths,
    connect: Callable[[], Connection],
    keys: Keys,
    target: Path,
    app: str,
    reason: Reason,
    steps: Steps,
) -> BackupInfo:
    made_at = now_ms()
    with contextlib.ExitStack() as stack, files.typed_errors(target), _only_one(paths.run / "backup.lock"):
        file = _free_name(target, keys.store_id, made_at) if target.is_dir() else target
        archive.refuse_taken(file)
        copy = paths.root / ".snapshot.db"
        partial = file.with_name(f".sophia-{keys.store_id[:8]}-{os.urandom(4).hex()}.partial")
        _tidy(copy, partial)
        try:
            stack.enter_context(kept_in_place(paths))
            # Both come before the snapshot: the anchor must not be ahead of it, and its key is in that key file.
            head, header = files.read_private(paths.audit_head), keys.present()
            _take_snapshot(paths, connect, copy, file, steps)
            schema, counts, listed = snapshot.examine(copy, keys.database_keys())
            slots = tuple(dict.fromkeys(slot.kind for slot in header.slots))

            def about(members: tuple[Member, ...]) -> Manifest:
                made = Manifest(keys.store_id, schema, app, made_at, reason, slots, counts, members)
                return made.signed(keys.derive(PURPOSE))

            present = blob_archive.there(listed, paths.blobs)
            attachments = blob_archive.packed(present, paths.blobs, made_at) if present else None
            parts = _parts(header.encode(), head, copy, attachments)
            packed = archive.write(file, partial, parts, about, steps)
        finally:
            _tidy(copy, partial)
    return describe(file, packed)


def _take_snapshot(paths: StorePaths, connect: Callable[[], Connection], copy: Path, file: Path, steps: Steps) -> None:
    with contextlib.closing(connect()) as connection:
        attached = blob_archive.there(blob_archive.listed(connection), paths.blobs)
        beside = blob_archive.total(attached) if attached else 0
        snapshot.take(connection, paths.database, copy, file, steps, beside=beside)


def _parts(
    header: bytes, head: bytes | None, copy: Path, attachments: archive.Content | None
) -> list[tuple[str, archive.Content]]:
    """Return what goes into the file, in its order; what there is none of is left out."""
    contents = (header, head, copy, attachments)
    return [(name, each) for name, each in zip(manifest.ORDER, contents, strict=True) if each is not None]


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    descriptor = files.open_lock_file(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy("another backup of this store is being made", path=path, hint="Wait for it.") from None
        yield
    finally:
        os.close(descriptor)


def _tidy(copy: Path, partial: Path) -> None:
    """Remove what we made, or what a killed backup left; only one of this store runs at a time."""
    mine = partial.name[: -len("01234567.partial")]
    for path in (*copy.parent.glob(f"{copy.name}*"), *partial.parent.glob(f"{mine}*.partial")):
        path.unlink(missing_ok=True)


def _free_name(folder: Path, store_id: str, made_at: int) -> Path:
    moment = datetime.fromtimestamp(made_at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"sophia-{store_id[:8]}-{moment}{'' if n == 1 else f'-{n}'}{SUFFIX}" for n in itertools.count(1))
    return next(path for path in map(folder.joinpath, names) if not os.path.lexists(path))
