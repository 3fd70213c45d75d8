"""A new store from a damaged one: every row that can be read, and the old one moved aside, never deleted.

The damaged store is only read. Killed at any moment, there is the old store or the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import engine, files, head, keyfile, migrations, restore, swap
from local_store.errors import Damaged, KeysMissing, NotFound, SchemaTooNew, StoreError, StoreFull
from local_store.keyfile import Keys
from local_store.keys import Credentials, open_keys
from local_store.mend import Mended, mend, title_from
from local_store.pages import Pages
from local_store.rescue import Rescued, rescue, sessions_lost
from local_store.steps import Progress, Steps, in_thread
from local_store.types import KeyPolicy, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

OVERHEAD: Final = 1 << 20
LEFT_BEHIND: Final = frozenset({"sophia.db", "sophia.db-wal", "sophia.db-shm", "store.head", "ballast", "run"})
"""What the new store does not take from the old folder: it has its own."""
NO_KEYS_HINT: Final = "Take keys.json out of a backup (`tar -xf FILE keys.json`), or `sophia restore` the whole backup."


@dataclass(frozen=True, slots=True)
class LostIn:
    """A session that lost something."""

    id: str
    title: str
    updated_at: int
    messages: int
    """How many of its messages were lost, or cut short."""
    itself: bool
    """True when its title and what else was said about it is gone too."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What came over, and what did not."""

    store: Path
    aside: Path | None
    """Where the damaged store is now; None where it stayed in its place."""
    pages: int
    damaged: Mapping[int, str]
    """The damaged pages, with the table or index that each was of."""
    kept: Mapping[str, int]
    """How many rows of each table came over."""
    lost: Mapping[str, int]
    """How many did not, as far as the indexes tell."""
    cut: int
    """Rows of which only the beginning came over."""
    sessions: tuple[LostIn, ...]
    mended: tuple[Mended, ...]

    @property
    def whole(self) -> bool:
        """True when nothing at all was lost."""
        return not self.lost and not self.cut and not self.sessions


async def salvage_store(
    paths: StorePaths,
    given: Credentials,
    policy: KeyPolicy | None = None,
    *,
    to: Path | None = None,
    progress: Progress | None = None,
    exchange: swap.Exchange = swap.exchange,
) -> Salvaged:
    """Build a new store from what can be read of the one at `paths`; put it in its place, or in the new folder `to`.

    Raises NotFound, KeysMissing; Damaged when the first page is gone, without which nothing is found; StoreBusy while
    anybody has the store open; NeedsPassphrase, Locked, WrongPassphrase, WrongKey; StoreFull.
    """
    return await in_thread(lambda steps: _salvage(paths, given, policy or KeyPolicy(), to, steps, exchange), progress)


def _salvage(
    paths: StorePaths, given: Credentials, policy: KeyPolicy, to: Path | None, steps: Steps, exchange: swap.Exchange
) -> Salvaged:
    root, target = paths.root.resolve(), (to or paths.root).resolve()
    _require(paths)
    if to is not None and target.exists():
        raise StoreError(f"{str(target)!r} exists already", path=target, hint="Name a new folder.")
    with files.typed_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with swap.restoring(target), restore.alone(paths):
        keys = open_keys(paths, given, policy, create=False)
        fresh = swap.prepare(target)
        try:
            inside = StorePaths(fresh, paths.device_dir)
            done, mended, pages, lost = _rebuild(paths, inside, keys, steps)
            _take_along(root, fresh)
            newest = head.adopt(inside, paths, keys)
            aside = swap.put_in_place(fresh, target, exchange)
        except BaseException:
            _discard(fresh)
            raise
        if to is None:
            head.settle(paths, keys, newest)
    rows = {name: count for name, count in sorted(done.rows.items()) if count}
    return Salvaged(target, aside, pages, dict(sorted(done.bad.items())), rows, done.missing, done.cut, lost, mended)


def _require(paths: StorePaths) -> None:
    if not paths.database.exists():
        raise NotFound(f"there is no database in {str(paths.root)!r}", path=paths.root, hint=engine.RESTORE_HINT)
    if keyfile.read(paths) is None:
        raise KeysMissing(f"{str(paths.keys)!r} is missing, and nothing opens without it", path=paths.keys,
                          hint=NO_KEYS_HINT)  # fmt: skip


def _discard(fresh: Path) -> None:
    """Remove what was built, unless it is the old store already that has this name."""
    if (fresh / swap.MARK).exists():
        swap.discard(fresh)


def _rebuild(
    old: StorePaths, new: StorePaths, keys: Keys, steps: Steps
) -> tuple[Rescued, tuple[Mended, ...], int, tuple[LostIn, ...]]:
    files.private_folder(new.run)
    files.write_private(new.keys, files.read_private(old.keys) or b"")
    files.create_private(new.database)
    with Pages(old.database, keys.database_keys()) as pages:
        if pages.schema > migrations.SCHEMA:
            message = f"{str(old.database)!r} has schema {pages.schema}, this version knows {migrations.SCHEMA}"
            raise SchemaTooNew(message, path=old.database, hint="Update the app, then try again.")
        _require_room(new, old)
        opener = engine.Opener(new.database, pages.key)
        with contextlib.closing(opener.writer()) as connection, engine.engine_errors(new.database):
            migrations.migrate(connection, new.database, keys.store_id)
            done, mended, lost = _fill(pages, connection, steps)
        with contextlib.closing(opener.reader()) as connection, engine.engine_errors(new.database):
            _prove(connection, new.database, steps)
        count = pages.count
    files.sync_file(new.database)
    return done, mended, count, lost


def _fill(pages: Pages, connection: Connection, steps: Steps) -> tuple[Rescued, tuple[Mended, ...], tuple[LostIn, ...]]:
    # The folder is thrown away should this be cut short, so nothing has to be undone.
    for setting in ("foreign_keys=OFF", "journal_mode=OFF", "synchronous=OFF", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    with without_triggers(connection):
        connection.execute("BEGIN")
        done = rescue(pages, connection, steps)
        mended = tuple(mend(connection))
        for session_id in done.sessions:
            title = title_from(connection, session_id)
            connection.execute("UPDATE session SET title = ? WHERE id = ? AND title = ''", [title, session_id])
        defer_index(connection)
        connection.execute("COMMIT")
    lost = tuple(LostIn(*each, each[0] in done.sessions) for each in sessions_lost(connection, done))
    connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    return done, mended, lost


def defer_index(connection: Connection) -> None:
    """Let the search index be made in the background, once the store is open."""
    connection.execute("INSERT INTO message_fts (message_fts) VALUES ('delete-all')")
    top = connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0]
    connection.execute("UPDATE search_state SET above = 0, upto = ?1, reached = ?1", [top])


@contextlib.contextmanager
def without_triggers(connection: Connection) -> Iterator[None]:
    """Let rows in as they were: triggers would refuse gaps, and act a second time."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f'DROP TRIGGER "{name}"')
    yield
    for _, sql in triggers:
        connection.execute(sql)


def _prove(connection: Connection, path: Path, steps: Steps) -> None:
    """Read the new database to its end. Raises Damaged when it is not sound."""
    for pragma in ("cipher_integrity_check", "integrity_check", "foreign_key_check"):
        with steps.engine(connection):
            found = connection.execute(f"PRAGMA {pragma}").fetchall()
        if found and found != [("ok",)]:
            complaint = " ".join(map(str, found[0]))
            raise Damaged(f"the new store is not sound: {complaint}", path=path, hint=engine.RESTORE_HINT)


def _require_room(new: StorePaths, old: StorePaths) -> None:
    sizes = [each.stat().st_size for each in old.root.glob("sophia.db*")]
    free, needed = shutil.disk_usage(new.root).free, sum(sizes) + OVERHEAD
    if free < needed:
        message = f"{str(new.root.parent)!r} has {free:,} bytes free; the new store needs about {needed:,}"
        raise StoreFull(message, path=new.root.parent, hint="Free some space, or name a folder on another disk: --to.")


def _take_along(root: Path, fresh: Path) -> None:
    """Bring over what lies beside the database, without a copy where the file system can do so."""
    with files.typed_errors(root):
        for path in sorted(root.iterdir()):
            if path.name in LEFT_BEHIND or path.name.startswith(".") or path.is_symlink():
                continue
            if path.is_dir():
                shutil.copytree(path, fresh / path.name, copy_function=_same_file, symlinks=True)
                files.sync_folder(fresh / path.name)
            elif not (fresh / path.name).exists():
                shutil.copy2(path, fresh / path.name)
                files.sync_file(fresh / path.name)


def _same_file(source: str, target: str) -> str:
    """Give a file that never changes a second name; copy it where that cannot be."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)
        files.sync_file(Path(target))
    return target
