"""The databases of other programs: plain SQLite, read only, and believed in nothing.

| file       | program | tables that are read                                                            |
|------------|---------|---------------------------------------------------------------------------------|
| `logs.db`  | llm     | `conversations`, `responses` (to 0.31); `threads`, `turns`, `messages`, `parts` |
| `store.db` | oterm   | `chat`, `message`                                                               |

Only real tables are read: a view or a virtual table of that name could do anything. A column that is missing reads as
nothing, one of another type as its text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

from local_store import foreign_llm, foreign_oterm
from local_store.errors import BadValue, NotFound
from local_store.foreign_tables import Tables
from local_store.imports import Conversation, Skipped

ForeignKind = Literal["llm", "oterm"]
HEADER = b"SQLite format 3\0"
LONGEST_VALUE = 256 * 1024 * 1024
LONGEST_STATEMENT = 100_000


def is_sqlite(path: Path) -> bool:
    """Say whether the file is a plain SQLite database."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def kind_of(path: Path) -> ForeignKind | None:
    """Return whose database it is; None when nobody's that is known. Raises BadValue when it cannot be read."""
    with closing(_open(path)) as connection:
        try:
            tables = Tables(connection)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None
        if tables.has("responses", "prompt", "response") or tables.has("turns", "thread_id", "tip_message_hash"):
            return "llm"
        return "oterm" if tables.has("chat", "id") and tables.has("message", "chat_id", "text") else None


def read(path: Path, kind: ForeignKind) -> Iterator[Conversation | Skipped]:
    """The conversations of the database, one after the other. Where it is damaged, what cannot be read is skipped."""
    with closing(_open(path)) as connection:
        try:
            tables = Tables(connection)
            reader = foreign_llm.conversations if kind == "llm" else foreign_oterm.conversations
            yield from reader(tables)
        except sqlite3.Error as error:
            yield Skipped("", "", f"the rest cannot be read: {error}")


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise NotFound(f"there is no file {str(path)!r}", path=path)
    log = path.with_name(path.name + "-wal")
    # What still stands in the log would be missed in a file that is taken as immutable.
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    # A generator moves from thread to thread; it is never in two at once.
    address = f"{path.absolute().as_uri()}?{mode}"
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=2.0, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST_STATEMENT)
    try:
        for setting in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
            connection.execute(f"PRAGMA {setting}")
    except sqlite3.Error as error:
        connection.close()
        raise _unreadable(path, error) from None
    return connection


def _unreadable(path: Path, error: sqlite3.Error) -> BadValue:
    return BadValue(f"{str(path)!r} cannot be read as SQLite: {error}", path=path, hint="Is the file whole?")
