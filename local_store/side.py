"""Side files: databases beside the main one, for what may be lost and comes too often to be synced each time.

A side file is encrypted under a random key of its own, which the main database keeps, so whoever opens the store opens
them too and nobody else does. Its content is derived or can be collected again: a damaged file is put aside and made
anew, backups leave it out, and a power cut may cost the last writes. It is opened when it is first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from local_store import crypto, engine, files
from local_store.beside import Beside
from local_store.database import Database
from local_store.errors import (
    BadValue,
    Damaged,
    NotEncrypted,
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreError,
)
from local_store.presence import Presence
from local_store.types import CheckResult, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")
Script = tuple[str, ...]
"""The statements that bring a side file from one version to the next."""
Tell = Callable[[str, str], object]
"""Called with the name of a side file that was made anew, and why."""
KEY: Final = "side_key/"
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
TAKEN: Final = frozenset({"sophia", "keys", "open"})
FILES: Final = ("", "-journal", "-wal", "-shm")
BUSY_S: Final = 20.0
MOST_RENEWALS: Final = 3
"""How often one open store makes a file anew; on a disk that spoils everything it gives up."""


class SideOpener(engine.Opener):
    """Opens connections to one side file."""

    __slots__ = ()

    def writer(self) -> Connection:
        """Return a connection that writes without waiting for the disk: a power cut costs the last writes only."""
        connection = super().writer()
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


class SideDatabase(Database):
    """A database whose changes nobody follows, and that holds no messages."""

    def _beside(self) -> Beside | None:
        """Nothing."""
        return None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one side file and its locks are."""

    name: str
    file: Path
    presence: Path
    making: Path

    @property
    def aside(self) -> Path:
        """Where the last damaged file is."""
        return self.file.with_name(f"{self.file.name}.damaged")


@dataclass(slots=True)
class _Opened:
    opener: SideOpener
    connection: Connection
    presence: Presence
    used: int
    """Which of the keys fits."""
    renewed: str
    """Why the file was made anew; empty when it was not."""
    database: Database = field(init=False)


class Side:
    """One side file: `write` and `read`, awaited."""

    def __init__(self, place: _Place, scripts: tuple[Script, ...], main: Database, tell: Tell) -> None:
        self._place, self._scripts, self._main, self._tell = place, scripts, main, tell
        self._opening: asyncio.Task[_Opened] | None = None
        self._current: _Opened | None = None
        self._renewing = asyncio.Lock()
        self._renewals = 0
        self._closed = False

    @property
    def path(self) -> Path:
        return self._place.file

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Return what `operation` returned, once it is written; it may run twice. Raises StoreError."""
        return await self._use(lambda database: database.write(operation))

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Return what `operation` returned; all its statements see the same state. Raises StoreError."""
        return await self._use(lambda database: database.read(operation))

    async def _use(self, work: Callable[[Database], Awaitable[T]]) -> T:
        while True:
            opened = await self._get()
            try:
                return await work(opened.database)
            except StoreClosed:
                if self._closed:
                    raise
                async with self._renewing:
                    pass  # it is being made anew: wait for that, then go on with the new one
            except Damaged as error:
                await self._renew(opened, error)

    async def _get(self) -> _Opened:
        if self._closed:
            raise StoreClosed("the store is closed", path=self.path)
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open {self.path.name}")
            self._opening.add_done_callback(self._forget_failure)
        return await asyncio.shield(self._opening)

    def _forget_failure(self, opening: asyncio.Task[_Opened]) -> None:
        if (opening.cancelled() or opening.exception() is not None) and self._opening is opening:
            self._opening = None

    async def _open(self) -> _Opened:
        keys = await self._main.read(lambda connection: _keys(connection, self._place.name))
        if not keys:
            keys = await self._main.write(lambda connection: _keys(connection, self._place.name, make=True))
        opened = await asyncio.to_thread(_open_file, self._place, self._scripts, keys)
        opened.database = SideDatabase(opened.opener, opened.connection)
        if opened.renewed:
            self._tell(self._place.name, opened.renewed)
        if len(keys) > 1:
            await self._settle(opened, keys)
        self._current = opened
        return opened

    async def _settle(self, opened: _Opened, keys: list[bytes]) -> None:
        """Give the file its next key, if it has not got it, and forget the earlier one."""
        if opened.used == 0:
            try:
                await opened.database.exchange(lambda old, last: self._exchange(old, last, opened, keys[-1]))
            except StoreError:
                return  # both keys are kept, and the next opening tries again
        opened.used = len(keys) - 1
        # A store that cannot be written keeps both keys; one of them fits.
        with contextlib.suppress(StoreError):
            await self._main.write(lambda connection: _keep(connection, self._place.name, keys[-1:]))
            opened.used = 0

    def _exchange(self, old: engine.Opener, last: Connection, opened: _Opened, key: bytes) -> engine.Opener:
        new = SideOpener(old.path, key)
        with files.exclusive(self._place.making, BUSY_S), opened.presence.alone(), engine.engine_errors(old.path):
            keyed: Any = last
            with contextlib.closing(last):
                keyed.reset_key(b"x'" + key.hex().encode() + b"'")
                last.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            new.reader().close()
        opened.opener = new
        return new

    async def _renew(self, broken: _Opened, error: Damaged) -> None:
        """Put the damaged file aside, so that the next use makes a new one. Raises `error` when that cannot be."""
        async with self._renewing:
            if self._current is not broken:
                return  # another use of it was quicker
            if self._renewals >= MOST_RENEWALS or self._closed:
                raise error
            self._renewals += 1
            await broken.database.close()
            try:
                await asyncio.to_thread(_put_aside, self._place, broken.presence)
            except StoreError:
                raise error from None
            finally:
                broken.presence.end()
                self._opening = self._current = None
        self._tell(self._place.name, error.message)

    async def rotate(self) -> None:
        """Give the file a new key. What cannot be done now is done by the next opening. Raises StoreError."""
        if self._opening is None and not self.path.exists():
            await self._main.write(lambda connection: _keep(connection, self._place.name, []))
            return
        opened = await self._get()
        keys = await self._main.write(lambda connection: _add_key(connection, self._place.name))
        await self._settle(opened, keys)

    async def size(self) -> int:
        """Return how many bytes its files have."""
        return await asyncio.to_thread(_size, self.path)

    async def check(self) -> CheckResult:
        """Say whether every page of the file is as it was written; one that is not yet there is sound."""
        title = f"{self._place.name} file"
        if self._opening is None and not self.path.exists():
            return CheckResult(title, True, "not made yet")
        try:
            opened = await self._get()
            found = await asyncio.to_thread(_bad_pages, opened)
        except StoreError as error:
            return CheckResult(title, False, error.message, error.hint or None)
        if found:
            return CheckResult(title, False, found, "Nothing to do: it is made anew when it is used.")
        return CheckResult(title, True, "sound")

    async def close(self) -> None:
        """Write what waits, and close. May be called twice."""
        self._closed = True
        opening, self._opening = self._opening, None
        if opening is None:
            return
        await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            opened = opening.result()
            await opened.database.close()
            opened.presence.end()


class Sides:
    """The side files of one open store."""

    def __init__(self, paths: StorePaths, main: Database) -> None:
        self._paths, self._main = paths, main
        self._sides: dict[str, Side] = {}
        self.renewed: dict[str, str] = {}
        """The files made anew since the store was opened, and why."""
        self.on_renewed: Tell | None = None
        """Called on the event loop when one is."""

    def add(self, name: str, scripts: Iterable[Script] = ()) -> Side:
        """Return the side file `name`, which is opened on its first use; `scripts` make its tables, one a version."""
        if not NAME.fullmatch(name) or name in TAKEN:
            raise BadValue(f"{name!r} is no name for a side file")
        if name not in self._sides:
            self._sides[name] = self._side(name, tuple(scripts))
        return self._sides[name]

    def _side(self, name: str, scripts: tuple[Script, ...]) -> Side:
        root, run = self._paths.root, self._paths.run
        place = _Place(name, root / f"{name}.db", run / f"{name}.lock", run / f"{name}.making.lock")
        return Side(place, scripts, self._main, self._tell)

    def _tell(self, name: str, reason: str) -> None:
        self.renewed[name] = reason
        if self.on_renewed is not None:
            self.on_renewed(name, reason)

    async def rotate(self) -> None:
        """Give every side file a new key; one that cannot get it now gets it when it is opened the next time."""
        for name in await self._main.read(_names):
            used = self._sides.get(name)
            side = used or self._side(name, ())
            try:
                with contextlib.suppress(StoreError):
                    await side.rotate()
            finally:
                if used is None:
                    await side.close()

    async def check(self) -> list[CheckResult]:
        """Say of every side file whether it is sound."""
        return [await side.check() for side in self._sides.values()]

    async def close(self) -> None:
        """Close every side file. May be called twice."""
        for side in self._sides.values():
            await side.close()


def _names(connection: Connection) -> list[str]:
    found = connection.execute("SELECT key FROM meta WHERE key GLOB ? ORDER BY key", [f"{KEY}*"]).fetchall()
    names = [str(key).removeprefix(KEY) for (key,) in found]
    return [name for name in names if NAME.fullmatch(name) and name not in TAKEN]


def _keys(connection: Connection, name: str, *, make: bool = False) -> list[bytes]:
    """Return the key of that file, and the next one while they are being exchanged."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", [KEY + name]).fetchone()
    if row is not None:
        with contextlib.suppress(ValueError):
            keys = [bytes.fromhex(key) for key in str(row[0]).split()]
            if keys and all(len(key) == engine.KEY_BYTES for key in keys):
                return keys
    if not make:
        return []
    keys = [crypto.random_key()]
    _keep(connection, name, keys)
    return keys


def _keep(connection: Connection, name: str, keys: list[bytes]) -> None:
    if keys:
        values = [KEY + name, " ".join(key.hex() for key in keys)]
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values)
    else:
        connection.execute("DELETE FROM meta WHERE key = ?", [KEY + name])


def _add_key(connection: Connection, name: str) -> list[bytes]:
    keys = _keys(connection, name, make=True)
    if len(keys) == 1:
        # An exchange that was put off has a fresh one waiting already.
        keys.append(crypto.random_key())
        _keep(connection, name, keys)
    return keys


def _open_file(place: _Place, scripts: tuple[Script, ...], keys: list[bytes]) -> _Opened:
    if place.file.is_symlink():
        hint = "Replace it by the file it points to, or remove it."
        raise StoreError(f"{str(place.file)!r} is a symbolic link", path=place.file, hint=hint)
    presence = Presence(place.presence, BUSY_S)
    try:
        with files.exclusive(place.making, BUSY_S):
            try:
                return _open_made(place, scripts, keys, presence)
            except (Damaged, NotEncrypted) as error:
                _move_aside(place, presence, error)
                opened = _open_made(place, scripts, keys[-1:], presence)
                opened.used, opened.renewed = len(keys) - 1, error.message
                return opened
    except BaseException:
        presence.end()
        raise


def _open_made(place: _Place, scripts: tuple[Script, ...], keys: list[bytes], presence: Presence) -> _Opened:
    with files.typed_errors(place.file):
        if not place.file.exists() or place.file.stat().st_size == 0:
            # Leftovers of a log belong to a file that is gone; the engine would take them for this one's.
            _discard(place, FILES[1:])
    files.create_private(place.file)
    used, opener, connection = _with_one_of(place.file, keys)
    try:
        with engine.engine_errors(place.file):
            _prepare(connection, place.file, scripts)
    except BaseException:
        connection.close()
        raise
    return _Opened(opener, connection, presence, used, "")


def _with_one_of(path: Path, keys: list[bytes]) -> tuple[int, SideOpener, Connection]:
    openers = [SideOpener(path, key) for key in keys]
    if path.stat().st_size == 0:
        return len(keys) - 1, openers[-1], openers[-1].writer()
    for used, opener in enumerate(openers[:-1]):
        with contextlib.suppress(Damaged):
            return used, opener, opener.writer()
    return len(keys) - 1, openers[-1], openers[-1].writer()


def _prepare(connection: Connection, path: Path, scripts: tuple[Script, ...]) -> None:
    """Bring the tables to the present version."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == len(scripts) or not scripts:
        return
    if version > len(scripts):
        message = f"{str(path)!r} has version {version}, this version knows {len(scripts)}"
        raise SchemaTooNew(message, path=path, hint="Update the app, then try again.")
    with engine.transaction(connection):
        for script in scripts[version:]:
            for statement in script:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts):d}")


def _put_aside(place: _Place, presence: Presence) -> None:
    with files.exclusive(place.making, BUSY_S):
        _move_aside(place, presence, None)


def _move_aside(place: _Place, presence: Presence, why: StoreError | None) -> None:
    """Keep the damaged file, in place of an earlier one. Raises `why`, or StoreBusy, while others have it open."""
    try:
        with presence.alone(), files.typed_errors(place.file):
            if place.file.exists():
                place.file.replace(place.aside)
            _discard(place, FILES)
            files.sync_folder(place.file.parent)
    except StoreBusy:
        if why is None:
            raise
        raise why from None


def _discard(place: _Place, ends: Iterable[str]) -> None:
    for end in ends:
        place.file.with_name(place.file.name + end).unlink(missing_ok=True)


def _size(path: Path) -> int:
    total = 0
    for end in FILES:
        with contextlib.suppress(FileNotFoundError):
            total += path.with_name(path.name + end).stat().st_size
    return total


def _bad_pages(opened: _Opened) -> str:
    """Return the first complaint; on a connection of its own, which one bad page makes useless."""
    with contextlib.closing(opened.opener.reader()) as connection, engine.engine_errors(opened.opener.path):
        found = connection.execute("PRAGMA cipher_integrity_check").fetchall()
        found += [row for row in connection.execute("PRAGMA quick_check(1)").fetchall() if row != ("ok",)]
    return str(found[0][0]) if found else ""
