"""Writes the table of docs/when-things-fail-store.md by letting every fault of the store happen.

    python -m tools.store_faults            writes it into the page
    python -m tools.store_faults --check    writes nothing; fails when the page says something else

Each fault happens to a store of its own in a temporary folder: files are cut, exchanged, taken away or held by somebody
else, and what a row says is what the store then answered. Nothing outside that folder is touched.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import re
import resource
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store, recovery
from local_store.engine import Opener
from local_store.errors import StoreError
from local_store.keys import Credentials
from local_store.restore import restore_backup, verify_backup

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs/when-things-fail-store.md"
PASSPHRASE: Final = "correct horse"  # noqa: S105 - of stores that live for a moment
POLICY: Final = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1), busy_timeout=0.1)
BACKUP: Final = "made.sophia-backup"
PAGE_BYTES: Final = 4096
HEAD: Final = ("| what happens | error | what you read | what to do |", "|---|---|---|---|")
Cause = Callable[["Case"], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Case:
    """A store to which a fault happens."""

    paths: StorePaths
    backup: Path
    """One of this store."""

    async def open(self, **other: object) -> Store:
        """Open it with its passphrase, or as told."""
        given = {"passphrase": PASSPHRASE, "allow_keyring": False, "policy": POLICY, "create": False} | other
        return await open_store(self.paths, **given)  # type: ignore[arg-type]

    async def state(self) -> StoreError | None:
        """What a store that opens says of itself."""
        async with await self.open() as store:
            if store.rolled_back is not None:
                return StoreError(store.rolled_back.detail, hint=store.rolled_back.hint)
            return StoreError(store.read_only, hint=store.read_only_hint) if store.read_only else None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong; `cause` lets it happen and raises or returns what the store says."""

    title: str
    cause: Cause
    opens: bool = False
    """Whether the store can be used all the same, and only says so."""


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _changing(change: Callable[[Case], object]) -> Cause:
    """The fault that opening finds after `change`."""

    async def cause(case: Case) -> object:
        change(case)
        return await case.state()

    return cause


def _using(use: Callable[[Store, Case], Awaitable[object]]) -> Cause:
    """The fault that an open store meets."""

    async def cause(case: Case) -> object:
        async with await case.open() as store:
            return await use(store, case)

    return cause


def _plain_database(case: Case) -> None:
    import sqlite3

    case.paths.database.unlink()
    with sqlite3.connect(case.paths.database) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def _another_code(told: bytes) -> bytes:
    """The key file with another code over all of it."""
    at = told.rindex(b'"mac"') + 5
    return told[:at] + re.sub(rb'"[^"]{4}', b'"0000', told[at:], count=1)


async def _wrong_recovery_key(case: Case) -> object:
    async with await case.open() as store:
        await store.keys.confirm_recovery_key(store.keys.new_recovery_key())
    return await case.open(passphrase=None, recovery_key=recovery.encode(bytes(32)))


def _exchanged(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


async def _older_copy(case: Case) -> object:
    before = case.paths.database.read_bytes()
    async with await case.open() as store:
        await store.sessions.create("later")
    case.paths.database.write_bytes(before)
    return await case.state()


async def _newer_schema(case: Case) -> object:
    async with await case.open() as store:
        await store._database.write(lambda connection: connection.execute("PRAGMA user_version = 99").fetchall())
    return await case.state()


async def _foreign_database(case: Case) -> object:
    other = StorePaths(case.paths.root.with_name("other"), case.paths.device_dir)
    async with await open_store(other, passphrase=PASSPHRASE, allow_keyring=False, policy=POLICY):
        pass
    case.paths.database.write_bytes(other.database.read_bytes())
    return await case.state()


async def _network(case: Case) -> object:
    mounts = case.paths.root.with_name("mountinfo")
    mounts.write_text("21 1 0:19 / / rw - nfs4 server:/home rw\n", "utf-8")
    return await case.open(policy=KeyPolicy(argon2=POLICY.argon2, mounts=mounts))


async def _keys_being_exchanged(case: Case) -> object:
    held = os.open(case.paths.presence_lock, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        return await case.open()
    finally:
        os.close(held)


async def _vanished(store: Store, case: Case) -> object:
    case.paths.root.rename(case.paths.root.with_name("elsewhere"))
    return await store.sessions.create("x")


@contextmanager
def _files_may_grow_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def _no_growth(store: Store, case: Case) -> object:
    with _files_may_grow_to(PAGE_BYTES):
        return await store.sessions.create("x" * 1000)


async def _blob_gone(store: Store, case: Case) -> object:
    blob = await store.blobs.put(bytes(2 << 20), "image/png")
    for file in case.paths.blobs.iterdir():
        file.unlink()
    return await store.blobs.get(blob.id)


async def _blob_changed(store: Store, case: Case) -> object:
    blob = await store.blobs.put(bytes(2 << 20), "image/png")
    for file in case.paths.blobs.iterdir():
        _rewrite(file, _flipped(len(file.read_bytes()) // 2))
    return await store.blobs.get(blob.id)


def _flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _backup(change: Callable[[bytes], bytes]) -> Cause:
    async def cause(case: Case) -> object:
        _rewrite(case.backup, change)
        return await verify_backup(case.backup, case.paths, _credentials(), POLICY)

    return cause


def _credentials() -> Credentials:
    return Credentials(PASSPHRASE, None, allow_keyring=False, typed_only=False)


async def _restore_while_open(store: Store, case: Case) -> object:
    return await restore_backup(case.backup, case.paths, _credentials(), POLICY)


async def _damaged_page(store: Store, case: Case) -> object:
    """A page in the middle of what people said: its message has a stand-in, and a check names it."""
    pages = case.paths.database.stat().st_size // PAGE_BYTES
    opener = Opener(case.paths.database, store._keys.database_keys()[-1])
    connection = opener.reader()
    try:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'part'").fetchone()[0]
    finally:
        connection.close()
    assert root <= pages  # noqa: S101
    await store.close()
    _rewrite(case.paths.database, _flipped((root - 1) * PAGE_BYTES + 100))
    async with await case.open() as again:
        found = [each for each in await again.check(full=True) if not each.ok and each.name == "pages"]
    return StoreError(found[0].detail, hint=found[0].fix or "")


async def _after_close(case: Case) -> object:
    store = await case.open()
    await store.close()
    return await store.sessions.list()


FAULTS: Final = (
    Fault("there is no store yet, and none is to be made", _changing(lambda case: _gone(case))),
    Fault("nobody is there to type the passphrase", lambda case: case.open(passphrase=None)),
    Fault("a wrong passphrase", lambda case: case.open(passphrase=f"{PASSPHRASE}!")),
    Fault("a wrong recovery key", _wrong_recovery_key),
    Fault("`keys.json` is gone", _changing(lambda case: case.paths.keys.unlink())),
    Fault("`keys.json` is cut short", _changing(lambda case: _rewrite(case.paths.keys, lambda told: told[:200]))),
    Fault(
        "a letter of `keys.json` was changed",
        _changing(lambda case: _rewrite(case.paths.keys, _another_code)),
    ),
    Fault(
        "`keys.json` is a pipe, a folder or a device",
        _changing(lambda case: _exchanged(case.paths.keys, os.mkfifo)),
    ),
    Fault(
        "`sophia.db` is a symbolic link",
        _changing(lambda case: _exchanged(case.paths.database, lambda path: path.symlink_to("/dev/zero"))),
    ),
    Fault("`sophia.db` is gone", _changing(lambda case: case.paths.database.unlink())),
    Fault("`sophia.db` is empty", _changing(lambda case: _rewrite(case.paths.database, lambda _: b""))),
    Fault("`sophia.db` is a plain SQLite file", _changing(_plain_database)),
    Fault("`sophia.db` is of another store", _foreign_database),
    Fault("the first page is damaged", _changing(lambda case: _rewrite(case.paths.database, _flipped(99)))),
    Fault(
        "the end of the file is missing",
        _changing(lambda case: _rewrite(case.paths.database, lambda told: told[: -20 * PAGE_BYTES])),
    ),
    Fault("a page in the middle is damaged", _using(_damaged_page), opens=True),
    Fault("an earlier copy was put back", _older_copy, opens=True),
    Fault("a newer version wrote it", _newer_schema, opens=True),
    Fault("it lies on a network disk", _network),
    Fault("another process exchanges its keys", _keys_being_exchanged),
    Fault("its folder vanishes while it is open", _using(_vanished)),
    Fault("no file may grow any more (`ulimit -f`)", _using(_no_growth)),
    Fault("it is used after it was closed", _after_close),
    Fault("there is no such session", _using(lambda store, case: store.sessions.get("01ARZ3NDEKTSV4RRFFQ69G5FAV"))),
    Fault("a title of ten million characters", _using(lambda store, case: store.sessions.create("x" * 10**7))),
    Fault("a text that is no text, as an id", _using(lambda store, case: store.messages.get("\ud800"))),
    Fault("the file of an attachment is gone", _using(_blob_gone)),
    Fault("the file of an attachment was changed", _using(_blob_changed)),
    Fault("the last key slot is to be removed", _using(lambda store, case: store.keys.remove("passphrase"))),
    Fault(
        "no keyring and no ssh-agent is there to hold a key", _using(lambda store, case: store.keys.add_ssh_agent(""))
    ),
    Fault("a backup is restored while the store is open", _using(_restore_while_open)),
    Fault("a backup is cut short", _backup(lambda told: told[:-5000])),
    Fault("a byte of a backup was changed", _backup(lambda told: _flipped(len(told) // 2)(told))),
    Fault("a file that is no backup", _backup(lambda told: b"x" * 100_000)),
    Fault("a pipe in place of a backup", lambda case: _piped(case)),
)


def _gone(case: Case) -> None:
    case.paths.root.rename(case.paths.root.with_name("elsewhere"))


async def _piped(case: Case) -> object:
    _exchanged(case.backup, os.mkfifo)
    return await verify_backup(case.backup, case.paths, _credentials(), POLICY)


async def row(fault: Fault, mould: Path) -> str:
    """The row of one fault. Raises AssertionError when it had no consequence, or one without a next step."""
    with TemporaryDirectory(prefix="sophia-faults-") as name:
        folder = Path(name)
        shutil.copytree(mould, folder, dirs_exist_ok=True)
        case = Case(StorePaths(folder / "sophia", folder / "device"), folder / BACKUP)
        said: object = None
        raised = ""
        try:
            said = await fault.cause(case)
        except StoreError as error:
            said, raised = error, type(error).__name__
        assert isinstance(said, StoreError), f"{fault.title}: {said!r}"  # noqa: S101
        assert bool(raised) != fault.opens, fault.title  # noqa: S101
        cells = (fault.title, f"`{raised}`" if raised else "none: it opens", _shown(said.message, folder))
        return f"| {' | '.join((*cells, _shown(said.hint, folder)))} |"


async def _make(folder: Path) -> None:
    paths = StorePaths(folder / "sophia", folder / "device")
    async with await open_store(paths, passphrase=PASSPHRASE, allow_keyring=False, policy=POLICY) as store:
        session = await store.sessions.create("Greetings")
        for number in range(3):
            await store.turns.begin(session.id, None, f"Hello {number}", request_id=f"r{number}")
        await store.backups.make(folder / BACKUP)


def _shown(text: str, folder: Path) -> str:
    """A sentence as the page shows it: without what only this run has."""
    text = text.replace(str(folder), "~").replace(folder.name, "…")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "2026-11-22 20:00 UTC", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "5f3c…", text)
    text = re.sub(r"\b\d+ pages\b", "… pages", text)
    text = re.sub(r"page \d+", "page 42", text)
    text = re.sub(r"\b\d{1,3}(,\d{3})+ bytes|has \d{1,3}(,\d{3})+$", "… bytes", text)
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


async def rows() -> list[str]:
    """All rows."""
    with TemporaryDirectory(prefix="sophia-faults-") as name:
        await _make(Path(name))
        return [await row(fault, Path(name)) for fault in FAULTS]


def page(told: str, made: list[str]) -> str:
    """The page with these rows in place of those it has."""
    begin, end = "<!-- made by tools/store_faults.py -->\n", "\n<!-- end -->"
    before, _, rest = told.partition(begin)
    return before + begin + "\n".join((*HEAD, *made)) + end + rest.partition(end)[2]


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    told = PAGE.read_text("utf-8")
    fresh = page(told, asyncio.run(rows()))
    if parser.parse_args(arguments).check:
        return int(fresh != told)
    with suppress(OSError):
        PAGE.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
