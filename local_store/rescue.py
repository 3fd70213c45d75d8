"""The rows of a damaged database, brought into a new one: all that can be read, and a stand-in for what is known to
have been there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from local_store import engine
from local_store.btree import HIGHEST, INDEX_LEAF, LOWEST, TABLE_LEAF, Forest, Row, Tree, Value
from local_store.ids import now_ms, time_of
from local_store.mend import stand_in
from local_store.pages import Pages
from local_store.steps import Steps
from local_store.text import title_key

if TYPE_CHECKING:
    from sqlite3 import Connection

AT_ONCE: Final = 500
MADE_ANEW: Final = ("sqlite_", "_sqlite_", "message_fts", "search_")
CUT: Final = "\n\n[The rest of this message cannot be read: its page is damaged.]"
IDENTIFIERS: Final = frozenset({"id", "session_id", "message_id", "answer_id"})
IDENTIFIER: Final = re.compile("[0-9A-HJKMNP-TV-Z]{26}")
EVERYWHERE: Final = (LOWEST, HIGHEST)
EARLIEST: Final = 10**11
WITH_LONG_TEXT: Final = {"message": "text", "journal": "text"}
"""Tables whose rows are kept, with the beginning of that text, when the page with the rest of it is damaged."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, as far as it matters for whether a value can be in it."""

    name: str
    type: str
    needed: bool
    key: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was: its columns in the order in which its rows have them."""

    name: str
    columns: tuple[Column, ...]
    rowid: str | None
    """The column that is the row's number; None for a table whose rows have none."""

    def takes(self, values: Sequence[Value]) -> bool:
        """Say whether a row of this table may have these values."""
        least = max((place for place, each in enumerate(self.columns, 1) if each.needed), default=0)
        pairs = list(zip(self.columns, values, strict=False))
        fits = least <= len(values) <= len(self.columns) and all(self._takes(*pair) for pair in pairs)
        return fits and all(_likely(*pair) for pair in pairs)

    def _takes(self, column: Column, value: Value) -> bool:
        if column.name == self.rowid:
            return value is None
        if value is None:
            return not column.needed
        kinds: dict[str, tuple[type, ...]] = {"TEXT": (str,), "INTEGER": (int,), "REAL": (int, float), "BLOB": (bytes,)}
        return isinstance(value, kinds.get(column.type, (object,)))


def _likely(column: Column, value: Value) -> bool:
    """Tell apart what has the same types: an id looks like one, and a time is not the number of a row."""
    if isinstance(value, str) and column.name in IDENTIFIERS:
        return IDENTIFIER.fullmatch(value) is not None
    return not (isinstance(value, int) and column.name.endswith("_at") and 0 < value < EARLIEST)


@dataclass(slots=True)
class Rescued:
    """What came over."""

    rows: dict[str, int] = field(default_factory=dict)
    """How many rows of each table."""
    missing: dict[str, int] = field(default_factory=dict)
    """How many more each table had, as far as its indexes tell."""
    cut: int = 0
    """Rows of which only the beginning could be read."""
    bad: dict[int, str] = field(default_factory=dict)
    """Damaged pages, with the table or index that each was of."""
    messages: dict[str, int] = field(default_factory=dict)
    """How many messages were lost, or cut short, by session."""
    sessions: set[str] = field(default_factory=set)
    """Sessions whose own row was lost."""


def rescue(pages: Pages, new: Connection, steps: Steps) -> Rescued:
    """Copy what is in `pages` into the empty store `new`, where nothing may watch over references. One transaction."""
    return _Rescue(pages, new, steps).run()


class _Rescue:
    def __init__(self, pages: Pages, new: Connection, steps: Steps) -> None:
        self._forest, self._new, self._steps = Forest(pages), new, steps
        self._pages = pages
        self._done = Rescued()
        self._indexed: dict[str, int] = {}
        steps.total = pages.count

    def run(self) -> Rescued:
        trees = self._forest.trees()
        present = tables_of(self._new)
        was = _as_it_was(trees, present)
        for tree in trees:
            if tree.kind == "table" and tree.name in was and not tree.name.startswith(MADE_ANEW):
                self._copy(was[tree.name], self._forest.rows(tree))
        known = self._indexes(trees)
        self._orphans([table for name, table in was.items() if not name.startswith(MADE_ANEW)], trees)
        self._count(known)
        self._stand_in(known)
        self._name_pages()
        return self._done

    def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        waiting: dict[tuple[str, ...], list[tuple[Value, ...]]] = {}
        for number, row in enumerate(rows):
            named = self._named(table, row)
            if named is not None:
                group = waiting.setdefault(tuple(named), [])
                group.append(tuple(named.values()))
                if len(group) >= AT_ONCE:
                    self._insert(table.name, tuple(named), group)
                    group.clear()
            if number % AT_ONCE == 0:
                self._steps.reach(len(self._forest.seen))
        for names, group in waiting.items():
            self._insert(table.name, names, group)

    def _named(self, table: Table, row: Row) -> dict[str, Value] | None:
        """The values by the names of their columns; None when the row cannot be one."""
        if not row.whole:
            return self._beginning(table, row)
        if len(row.values) > len(table.columns):
            return None
        named = {column.name: value for column, value in zip(table.columns, row.values, strict=False)}
        if table.rowid is not None:
            named[table.rowid] = row.rowid
        return named

    def _beginning(self, table: Table, row: Row) -> dict[str, Value] | None:
        """A row whose end is on a damaged page: kept when what it is about is known."""
        text = WITH_LONG_TEXT.get(table.name)
        named: dict[str, Value] = {column.name: value for column, value in zip(table.columns, row.values, strict=False)}
        said = None if text is None else named.get(text)
        if text is None or not isinstance(said, str):
            return None
        self._done.cut += 1
        named[text] = said + CUT
        if table.rowid is not None:
            named[table.rowid] = row.rowid
        if table.name == "journal":
            return {**named, "reasoning": ""}
        at = time_of(str(named["id"]))
        self._note(str(named["session_id"]))
        status = "complete" if named["role"] == "user" else "partial"
        return {**{name: named[name] for name in ("seq", "id", "session_id", "parent_id", "role", "text")},
                "status": status, "created_at": at, "finished_at": at}  # fmt: skip

    def _insert(self, table: str, names: tuple[str, ...], group: list[tuple[Value, ...]]) -> None:
        columns, places = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
        # What the new store made itself stays: the same rows come from the old one.
        made = self._new.executemany(f'INSERT OR IGNORE INTO "{table}" ({columns}) VALUES ({places})', group).rowcount
        self._done.rows[table] = self._done.rows.get(table, 0) + max(0, made)

    def _indexes(self, trees: Sequence[Tree]) -> dict[str, dict[int, dict[str, Value]]]:
        """Walk the indexes; return what those of messages and sessions know of rows that did not come over."""
        known: dict[str, dict[int, dict[str, Value]]] = {"message": {}, "session": {}}
        there = {name: self._there(name) for name in known}
        for tree in trees:
            if tree.kind == "table" and tree.name.startswith(MADE_ANEW) and tree.root > 0:
                self._pass_through(tree)
            if tree.kind != "index":
                continue
            columns = self._columns_of(tree)
            if tree.table not in known or not columns:
                self._pass_through(tree)
                continue
            for row in self._forest.rows(tree):
                seq = row.values[-1]
                if (
                    row.whole
                    and isinstance(seq, int)
                    and seq not in there[tree.table]
                    and len(row.values) == len(columns) + 1
                ):
                    known[tree.table].setdefault(seq, {}).update(zip(columns, row.values, strict=False))
        return known

    def _pass_through(self, tree: Tree) -> None:
        rows = sum(1 for _ in self._forest.rows(tree))
        whole = tree.kind == "index" and " WHERE " not in tree.sql.upper()
        if whole and not tree.table.startswith(MADE_ANEW):
            self._indexed[tree.table] = max(self._indexed.get(tree.table, 0), rows)
        self._steps.reach(len(self._forest.seen))

    def _columns_of(self, tree: Tree) -> list[str]:
        """The names of the columns of an index, from the new store, which has the same one."""
        return [str(row[2]) for row in self._new.execute(f'PRAGMA index_info("{tree.name}")')]

    def _orphans(self, tables: Sequence[Table], trees: Sequence[Tree]) -> None:
        """Bring over the leaves that nothing leads to, where a table has a gap that they fit into."""
        there = {tree.name for tree in trees}
        for kind in (TABLE_LEAF, INDEX_LEAF):
            gaps = {
                table: [*self._forest.walks[table.name].missing.values()] if table.name in there else [EVERYWHERE]
                for table in tables
                if (table.rowid is not None) == (kind == TABLE_LEAF)
                and (table.name not in there or self._forest.walks[table.name].missing)
            }  # fmt: skip
            if not gaps:
                continue
            for rows in self._forest.orphans(kind):
                if (table := _owner(rows, gaps)) is not None:
                    self._copy(table, rows)

    def _count(self, known: dict[str, dict[int, dict[str, Value]]]) -> None:
        missing = {name: count - self._done.rows.get(name, 0) for name, count in self._indexed.items()}
        for name, rows in known.items():
            for seq in self._there(name) & set(rows):
                del rows[seq]
            missing[name] = len(rows)
        self._done.missing = {name: count for name, count in missing.items() if count > 0}

    def _there(self, table: str) -> set[int]:
        return {row[0] for row in self._new.execute(f'SELECT seq FROM "{table}"')}

    def _stand_in(self, known: dict[str, dict[int, dict[str, Value]]]) -> None:
        for seq, of in sorted(known["session"].items()):
            if isinstance(session_id := of.get("id"), str):
                self._stand_in_session(seq, session_id, of)
        roles = dict(self._new.execute("SELECT id, role FROM message").fetchall()) if known["message"] else {}
        for seq, of in sorted(known["message"].items()):
            message_id, session_id, parent = of.get("id"), of.get("session_id"), of.get("parent_id")
            if isinstance(message_id, str) and isinstance(session_id, str):
                parent_id = parent if isinstance(parent, str) else None
                asked = roles.get(parent_id or "") != "user"
                roles[message_id] = "user" if asked else "assistant"
                self._note(session_id)
                stand_in(self._new, seq, message_id, session_id, parent_id, asked=asked, at=time_of(message_id))

    def _stand_in_session(self, seq: int, session_id: str, of: dict[str, Value]) -> None:
        self._done.sessions.add(session_id)
        used = of.get("updated_at")
        at = time_of(session_id)
        flags = [int(bool(of.get(name))) for name in ("pinned", "archived")]
        self._new.execute(
            "INSERT OR IGNORE INTO session (seq, id, title, title_key, created_at, updated_at, pinned, archived)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [seq, session_id, "", title_key(""), at, used if isinstance(used, int) else now_ms(), *flags],
        )

    def _note(self, session_id: str) -> None:
        self._done.messages[session_id] = self._done.messages.get(session_id, 0) + 1

    def _name_pages(self) -> None:
        for name, walk in self._forest.walks.items():
            self._done.bad.update(dict.fromkeys(walk.missing, name))
        for number in range(1, self._pages.count + 1):
            if number not in self._done.bad and self._pages.page(number) is None:
                self._done.bad[number] = "the end of a long row" if number in self._forest.seen else "nothing in use"


def tables_of(connection: Connection) -> dict[str, Table]:
    """Return the tables of a database by their names."""
    found = {}
    for schema, name, kind, _, without_rowid, _ in connection.execute("PRAGMA table_list").fetchall():
        if schema == "main" and kind == "table":
            found[name] = _table(connection, name, without_rowid=bool(without_rowid))
    return found


def _table(connection: Connection, name: str, *, without_rowid: bool) -> Table:
    columns = [
        Column(column, kind.upper(), bool(needed) and default is None, key)
        for _, column, kind, needed, default, key in connection.execute(f'PRAGMA table_info("{name}")')
    ]
    keys = [column for column in columns if column.key]
    if without_rowid:
        # Rows of such a table begin with its key.
        order = [*sorted(keys, key=lambda each: each.key), *(each for each in columns if not each.key)]
        return Table(name, tuple(order), None)
    alias = keys[0].name if len(keys) == 1 and keys[0].type == "INTEGER" else "rowid"
    return Table(name, tuple(columns), alias)


def _as_it_was(trees: Sequence[Tree], present: dict[str, Table]) -> dict[str, Table]:
    """The tables of the old store that the new one has too, with the columns they had; as they are now where that
    cannot be read."""
    with contextlib.closing(engine.load().connect(":memory:")) as scratch:
        for tree in trees:
            if tree.kind == "table" and tree.name in present and tree.sql and not tree.name.startswith(MADE_ANEW):
                with contextlib.suppress(engine.load().Error):
                    scratch.execute(tree.sql)
        was = tables_of(scratch)
    kept = {}
    for name, table in present.items():
        old = was.get(name, table)
        names = {column.name for column in table.columns}
        if {column.name for column in old.columns} <= names:
            kept[name] = old
    return kept


def _owner(rows: Sequence[Row], gaps: dict[Table, list[tuple[int, int]]]) -> Table | None:
    """The table with a gap that all these rows fit into; the one with the most columns when there are several."""
    fitting = [
        table
        for table, ranges in gaps.items()
        if rows
        and all(not row.whole or table.takes(row.values) for row in rows)
        and any(row.whole for row in rows)
        and (table.rowid is None or any(all(low <= row.rowid <= high for row in rows) for low, high in ranges))
    ]
    exact = [table for table in fitting if len(table.columns) == max(len(row.values) for row in rows)]
    return max(exact or fitting, key=lambda each: len(each.columns), default=None)


def sessions_lost(connection: Connection, done: Rescued) -> Iterator[tuple[str, str, int, int]]:
    """Name what was lost: id, title, last use and number of messages of every session that lost something."""
    for session_id in sorted({*done.messages, *done.sessions}):
        row = connection.execute("SELECT title, updated_at FROM session WHERE id = ?", [session_id]).fetchone()
        if row is not None:
            yield session_id, row[0], row[1], done.messages.get(session_id, 0)
