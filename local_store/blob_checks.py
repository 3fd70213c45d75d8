"""Are the attachments what was once put? Damage to one concerns no other."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import blob_files, engine
from local_store.errors import StoreError
from local_store.types import CheckResult, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_NAMED: Final = 5
AT_ONCE: Final = 200
FIX: Final = (
    "`sophia restore` brings them back from a backup that still has them; attaching the same file again mends it."
)
MESSAGE_OF: Final = """
    SELECT s.title, p.name FROM part p JOIN message m ON m.id = p.message_id JOIN session s ON s.id = m.session_id
    WHERE p.blob_id = ? LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class LostBlob:
    """An attachment that cannot be read any more."""

    id: str
    reason: str
    session: str
    """The title of a session it belongs to; empty when nothing refers to it."""
    name: str


def blob_checks(connect: Callable[[], Connection], paths: StorePaths, *, full: bool) -> list[CheckResult]:
    """Return whether all attachments are there; `full` reads and proves every one. Blocks."""
    try:
        with closing(connect()) as connection, engine.engine_errors(paths.database):
            lost = list(lost_blobs(connection, paths.blobs, full=full))
            count = connection.execute("SELECT count(*) FROM blob").fetchone()[0]
    except StoreError as error:
        return [CheckResult("attachments", False, error.message, error.hint or engine.RESTORE_HINT)]
    if not lost:
        return [CheckResult("attachments", True, f"{count:,}, every one there")]
    named = "; ".join(f"{each.name or each.id[:16]}: {each.reason}" for each in lost[:MOST_NAMED])
    return [CheckResult("attachments", False, f"{len(lost):,} of {count:,} cannot be read: {named}", FIX)]


def lost_blobs(connection: Connection, folder: Path, *, full: bool) -> Iterator[LostBlob]:
    """Yield the attachments that are missing or damaged; without `full`, only whether the files are as long as said."""
    key = _hash_key(connection)
    last = ""
    while found := connection.execute(
        "SELECT id, size, file, key FROM blob WHERE id > ? ORDER BY id LIMIT ?", [last, AT_ONCE]
    ).fetchall():
        for id, size, file, own in found:
            reason = _fault(connection, folder, key, (id, size, file, own), full=full)
            if reason:
                row = connection.execute(MESSAGE_OF, [id]).fetchone() or ("", "")
                yield LostBlob(id, reason, *row)
        last = found[-1][0]


def _hash_key(connection: Connection) -> bytes:
    found = connection.execute("SELECT value FROM meta WHERE key = 'blob_key'").fetchone()
    return b"" if found is None else bytes.fromhex(found[0])


def _fault(
    connection: Connection, folder: Path, hash_key: bytes, row: tuple[str, int, str | None, bytes], *, full: bool
) -> str:
    id, size, file, key = row
    if file is not None and not full:
        return "" if blob_files.looks_whole(folder / file, size) else "its file is missing or has another length"
    if not full:
        return ""
    code = hmac.new(hash_key, digestmod=hashlib.sha256)
    try:
        if file is None:
            code.update(connection.execute("SELECT content FROM blob WHERE id = ?", [id]).fetchone()[0])
        else:
            path = folder / file
            with blob_files.opened(path, size) as opened:
                for block in blob_files.unsealed(opened, path, key, size):
                    code.update(block)
    except StoreError as error:
        return error.message
    return "" if code.hexdigest() == id else "it is not what was put"
