"""Is the store sound? One result per question, each with what to do when the answer is no."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from local_store import engine
from local_store.abandoned import orphaned
from local_store.audit import Audit
from local_store.database import Database
from local_store.errors import StoreError
from local_store.instance import Instance
from local_store.keys import Keys
from local_store.types import CheckResult, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_LINES = 5


class Checkup:
    """Looks at a store that is in use, without disturbing it."""

    def __init__(self, paths: StorePaths, database: Database, keys: Keys, instance: Instance, audit: Audit) -> None:
        self._paths = paths
        self._database = database
        self._keys = keys
        self._instance = instance
        self._audit = audit

    async def run(self, *, full: bool) -> list[CheckResult]:
        """Return the result of every check, in the order to look at them."""
        return [
            *await asyncio.to_thread(self._read_checks, full),
            await self._search_index(full),
            await self._audit_log(),
            await asyncio.to_thread(self._permissions),
            self._recovery_key(),
            self._key_slots(),
        ]

    def _read_checks(self, full: bool) -> list[CheckResult]:
        from local_store.blob_checks import blob_checks

        results = [self._asking("database", "integrity_check" if full else "quick_check", engine.RESTORE_HINT)]
        if full:
            results.append(self._pages())
        results.append(self._asking("references", "foreign_key_check", engine.RESTORE_HINT))
        results.append(self._streams())
        results += blob_checks(self._database.scratch, self._paths, full=full)
        return results

    def _pages(self) -> CheckResult:
        try:
            # A full disk can cut a checkpoint short; the log still has the page, so finish it before judging the file.
            self._database.checkpoint()
        except StoreError as error:
            return CheckResult("pages", False, error.message, error.hint or engine.RESTORE_HINT)
        return self._asking("pages", "cipher_integrity_check", engine.RESTORE_HINT)

    def _asking(self, name: str, pragma: str, fix: str) -> CheckResult:
        """Run a pragma on a connection of its own: one bad page makes a connection distrust all others."""
        try:
            with closing(self._database.scratch()) as connection, engine.engine_errors(self._paths.database):
                found = connection.execute(f"PRAGMA {pragma}").fetchall()
        except StoreError as error:
            return CheckResult(name, False, error.message, fix)
        # The engine says a hundred things in one value, a line each.
        complaints = [line for row in found if row != ("ok",) for line in " ".join(map(str, row)).splitlines()]
        if not complaints:
            return CheckResult(name, True, "sound")
        return CheckResult(name, False, _first_of(complaints), fix)

    def _streams(self) -> CheckResult:
        try:
            with closing(self._database.scratch()) as connection, engine.engine_errors(self._paths.database):
                count = len(orphaned(connection, self._instance))
        except StoreError as error:
            return CheckResult("answers", False, error.message, engine.RESTORE_HINT)
        if count:
            return CheckResult("answers", False, f"{count} answers of processes that are gone", "Start the app once.")
        return CheckResult("answers", True, "none is left unfinished")

    async def _search_index(self, full: bool) -> CheckResult:
        def operation(connection: Connection) -> str | None:
            command = "INSERT INTO message_fts (message_fts, rank) VALUES ('integrity-check', ?)"
            try:
                connection.execute(command, [int(full)])
            except engine.load().DatabaseError as error:
                return str(error)
            return None

        try:
            complaint = await self._database.write(operation)
        except StoreError as error:
            # Not what the index says but that it cannot be read: making it anew would meet the same pages.
            return CheckResult("search index", False, error.message, error.hint or engine.RESTORE_HINT)
        if complaint is None:
            return CheckResult("search index", True, "sound")
        fix = "`sophia store repair` makes it anew; no message is affected."
        return CheckResult("search index", False, complaint, fix)

    async def _audit_log(self) -> CheckResult:
        try:
            report = await self._audit.verify()
        except StoreError as error:
            return CheckResult("audit log", False, error.message, error.hint or engine.RESTORE_HINT)
        if report.ok:
            return CheckResult("audit log", True, f"{report.entries} entries, every one as it was written")
        return CheckResult("audit log", False, report.detail, report.hint)

    def _permissions(self) -> CheckResult:
        loose = [f"{path} is {mode:04o}" for path, mode in self._modes() if mode & 0o077]
        if not loose:
            return CheckResult("permissions", True, "only you can read the files")
        fix = "chmod 600 the files and 700 the folders."
        return CheckResult("permissions", False, _first_of(loose), fix)

    def _modes(self) -> Iterator[tuple[Path, int]]:
        root, device = self._paths.root, self._paths.device_dir
        for path in (
            root,
            self._paths.run,
            *root.glob("*"),
            *self._paths.run.glob("*"),
            *root.glob("blobs/*"),
            *device.glob("device*.key"),
        ):
            try:
                yield path, stat.S_IMODE(path.lstat().st_mode)
            except FileNotFoundError:
                # Another instance ended and took its lock file with it.
                continue

    def _recovery_key(self) -> CheckResult:
        if self._keys.recovery_confirmed():
            return CheckResult("recovery key", True, "shown and confirmed")
        return CheckResult(
            "recovery key", False, "not confirmed yet", "Show the recovery key, write it down, confirm it."
        )

    def _key_slots(self) -> CheckResult:
        slots = self._keys.slots()
        kinds = ", ".join(slot.kind for slot in slots)
        if any(slot.weak for slot in slots):
            return CheckResult("key slots", False, f"{kinds}: the device slot is weak", "Add a passphrase.")
        advice = f"; {self._keys.due}: `sophia keys rotate` ends that" if self._keys.due else ""
        return CheckResult("key slots", True, f"{kinds}{advice}")


def _first_of(complaints: Sequence[str]) -> str:
    more = len(complaints) - MOST_LINES
    return "; ".join(complaints[:MOST_LINES]) + (f"; and {more} more" if more > 0 else "")
