"""Reading the tables of somebody else's database without believing its schema."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FETCHED_AT_ONCE = 200
LARGEST = 256 * 1024 * 1024
"""Characters and bytes of one conversation: rows may refer to the same long text a thousand times."""


class TooLarge(Exception):
    """One conversation is more than may be held in memory."""

    def __str__(self) -> str:
        return f"it is larger than {LARGEST // 2**20} MiB"


class Tables:
    """The real tables of a database and their columns."""

    def __init__(self, connection: sqlite3.Connection, largest: int = LARGEST) -> None:
        self._connection, self._largest = connection, largest
        self._columns: dict[str, frozenset[str]] = {}
        self._read = 0
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
        for name, sql in found:
            # The engine writes the text of a real table so; a virtual one may hide behind a comment.
            if isinstance(name, str) and isinstance(sql, str) and sql[:13].upper() == "CREATE TABLE ":
                columns = connection.execute("SELECT name FROM pragma_table_info(?)", [name]).fetchall()
                self._columns[name] = frozenset(str(column[0]) for column in columns)

    def begin(self) -> None:
        """Begin with another conversation: from here on `rows` and `one` raise TooLarge after so much."""
        self._read = 0

    def fits(self, size: int) -> bool:
        """Say whether the conversation may have so much more."""
        return self._read + size <= self._largest

    def _limited(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        try:
            for row in self._connection.execute(query, values):
                self._read += sum(len(value) for value in row if isinstance(value, str | bytes))
                if self._read > self._largest:
                    raise TooLarge
                yield row
        except sqlite3.DataError:
            raise TooLarge from None

    def size(self, table: str, column: str, value: object, content: str) -> int | None:
        """How many bytes the content of the row with that value has; None where it is no bytes, or there is none."""
        if not self.has(table, column, content):
            return None
        query = f"SELECT length({content}) FROM {table} WHERE \"{column}\" = ? AND typeof({content}) = 'blob' LIMIT 1"
        row = self._connection.execute(query, [value]).fetchone()
        return None if row is None else int(row[0])

    def has(self, table: str, *columns: str) -> bool:
        """Say whether there is such a table with these columns."""
        return table in self._columns and self._columns[table].issuperset(columns)

    def keys(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """The row ids of a table with some small columns, in the order the rows were made."""
        if not self.has(table):
            return []
        wanted = ", ".join(column if column in self._columns[table] else "NULL" for column in columns)
        return self._connection.execute(f"SELECT rowid, {wanted} FROM {table} ORDER BY rowid").fetchall()

    def grouped(self, table: str, by: str) -> Mapping[str, list[int]]:
        """The row ids of a table by one of its columns."""
        groups: dict[str, list[int]] = defaultdict(list)
        for rowid, key in self.keys(table, by):
            groups[text(key)].append(rowid)
        return groups

    def rows(self, table: str, rowids: Sequence[int], *columns: str) -> list[dict[str, Any]]:
        """These rows, in this order; a column that the table lacks is None."""
        if not rowids or not self.has(table):
            return []
        wanted = ", ".join(f'"{column}"' if column in self._columns[table] else "NULL" for column in columns)
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(rowids), FETCHED_AT_ONCE):
            part = rowids[start : start + FETCHED_AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT rowid, {wanted} FROM {table} WHERE rowid IN ({marks})"
            for row in self._limited(query, part):
                found[row[0]] = dict(zip(columns, row[1:], strict=True))
        return [found[rowid] for rowid in rowids if rowid in found]

    def one(self, table: str, column: str, value: object, *columns: str) -> dict[str, Any] | None:
        """The first row with that value in an indexed column."""
        if not self.has(table, column):
            return None
        wanted = ", ".join(f'"{each}"' if each in self._columns[table] else "NULL" for each in columns)
        query = f'SELECT {wanted} FROM {table} WHERE "{column}" = ? LIMIT 1'
        row = next(self._limited(query, [value]), None)
        return None if row is None else dict(zip(columns, row, strict=True))


def text(value: object) -> str:
    """A value as text, whatever its type."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else str(value)


def number(value: object) -> int | None:
    """A value as a count; None when it is none."""
    return value if isinstance(value, int) and value >= 0 else None


def from_json(value: object) -> Any:
    """What a JSON column holds; None when it is no JSON."""
    if not isinstance(value, str | bytes) or not value:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
