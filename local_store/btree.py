"""The trees in a database's pages, and the rows in them: what the engine does, but around the pages that are missing.

A page that is missing is noted with the rows it may have led to. Leaves that nothing leads to any more, because the
page above them is missing, are found by looking at every page; which table they are of is for the caller to say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from local_store.pages import USABLE, Pages

TABLE_LEAF, TABLE_INSIDE, INDEX_LEAF, INDEX_INSIDE = 13, 5, 10, 2
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
LEAST_LOCAL: Final = (USABLE - 12) * 32 // 255 - 23
MOST_LOCAL: Final = {True: USABLE - 35, False: (USABLE - 12) * 64 // 255 - 23}
INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
DEEPEST: Final = 40

Value = None | int | float | str | bytes


class Malformed(Exception):
    """A page is proven to be as it was written, and yet is none of a tree."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a cell holds."""

    rowid: int
    values: tuple[Value, ...]
    page: int
    whole: bool = True
    """False when a page with its end is missing: the last value may be cut short, and those after it are not there."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A table or an index, as the schema has it."""

    kind: str
    name: str
    table: str
    root: int
    sql: str


@dataclass(slots=True)
class Walk:
    """What one way through a tree met."""

    missing: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Pages that are missing, with the lowest and the highest row number that they may have led to."""


class Forest:
    """All trees of one database."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.seen: set[int] = set()
        """Pages that some tree reached, those for the ends of long rows included."""
        self.walks: dict[str, Walk] = {}

    def trees(self) -> list[Tree]:
        """Return what the schema says there is, as far as it can be read."""
        found = []
        for row in self.rows(Tree("table", "sqlite_schema", "sqlite_schema", 1, "")):
            match row.values:
                case (str(kind), str(name), str(table), int(root), *rest) if root > 0:
                    found.append(Tree(kind, name, table, root, str(rest[0] or "") if rest else ""))
        return found

    def rows(self, tree: Tree) -> Iterator[Row]:
        """Return the rows of the tree, in order, around what is missing."""
        walk = self.walks.setdefault(tree.name, Walk())
        yield from self._below(tree.root, LOWEST, HIGHEST, walk, DEEPEST)

    def orphans(self, kind: int) -> Iterator[list[Row]]:
        """Return the rows of each leaf of that kind that no tree reached and that is in use; a leaf at a time.

        All trees must have been walked before. When it is not known which pages are in use, there are none.
        """
        free, known = self.pages.free()
        if not known:
            return
        for number in range(1, self.pages.count + 1):
            if number in self.seen or number in free:
                continue
            content = self.pages.page(number)
            if content is not None and content[0] == kind:
                try:
                    yield [self._row(content, at, number, kind) for at in _cells(content, number)]
                except (Malformed, IndexError, struct.error):
                    continue

    def _below(self, number: int, low: int, high: int, walk: Walk, depth: int) -> Iterator[Row]:
        content = None if number in self.seen or depth == 0 else self.pages.page(number)
        self.seen.add(number)
        if content is None:
            walk.missing[number] = (low, high)
            return
        try:
            yield from self._inside(content, number, low, high, walk, depth)
        except (Malformed, IndexError, struct.error):
            walk.missing[number] = (low, high)

    def _inside(self, content: bytes, number: int, low: int, high: int, walk: Walk, depth: int) -> Iterator[Row]:
        kind = content[100 if number == 1 else 0]
        for at in _cells(content, number):
            if kind in (TABLE_LEAF, INDEX_LEAF):
                yield self._row(content, at, number, kind)
                continue
            (child,) = struct.unpack_from(">I", content, at)
            if kind == TABLE_INSIDE:
                last, _ = _varint(content, at + 4)
                yield from self._below(child, low, _signed(last), walk, depth - 1)
                low = _signed(last) + 1
            else:
                yield from self._below(child, low, high, walk, depth - 1)
                yield self._row(content, at + 4, number, kind)
        if kind in (TABLE_INSIDE, INDEX_INSIDE):
            (child,) = struct.unpack_from(">I", content, (100 if number == 1 else 0) + 8)
            yield from self._below(child, low, high, walk, depth - 1)
        elif kind not in (TABLE_LEAF, INDEX_LEAF):
            raise Malformed

    def _row(self, content: bytes, at: int, number: int, kind: int) -> Row:
        size, at = _varint(content, at)
        rowid = 0
        if kind == TABLE_LEAF:
            rowid, at = _varint(content, at)
        local = _local(size, in_table=kind == TABLE_LEAF)
        payload, whole = content[at : at + local], True
        if local < size:
            (more,) = struct.unpack_from(">I", content, at + local)
            payload, whole = self._rest(payload, size, more)
        return Row(_signed(rowid), tuple(_values(payload)), number, whole)

    def _rest(self, payload: bytes, size: int, more: int) -> tuple[bytes, bool]:
        """Follow the pages that hold the end of a long row, as far as they are there."""
        pieces, length = [payload], len(payload)
        while length < size:
            content = self.pages.page(more) if more else None
            if content is None:
                self.seen.add(more)
                return b"".join(pieces), False
            self.seen.add(more)
            (more,) = struct.unpack_from(">I", content)
            piece = content[4 : 4 + min(USABLE - 4, size - length)]
            pieces.append(piece)
            length += len(piece)
        return b"".join(pieces), True


def _cells(content: bytes, number: int) -> tuple[int, ...]:
    """Where the cells of a page of a tree begin."""
    header = 100 if number == 1 else 0
    (count,) = struct.unpack_from(">H", content, header + 3)
    begin = header + (12 if content[header] in (TABLE_INSIDE, INDEX_INSIDE) else 8)
    if count > USABLE // 4:
        raise Malformed
    return struct.unpack_from(f">{count}H", content, begin)


def _local(size: int, *, in_table: bool) -> int:
    """How much of a payload is on the page itself."""
    most = MOST_LOCAL[in_table]
    if size <= most:
        return size
    fitting = LEAST_LOCAL + (size - LEAST_LOCAL) % (USABLE - 4)
    return fitting if fitting <= most else LEAST_LOCAL


def _values(payload: bytes) -> Iterator[Value]:
    """The values of a record; one that was cut short ends with what there is of the value it was cut in."""
    end, at = _varint(payload, 0)
    place = end
    while at < end:
        kind, at = _varint(payload, at)
        size = INTEGER_BYTES.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        piece = payload[place : place + size]
        place += size
        if len(piece) == size:
            yield _value(kind, piece)
            continue
        if kind >= 13 and kind % 2:
            yield piece.decode("utf-8", "ignore")
        return


def _value(kind: int, piece: bytes) -> Value:
    if kind == 0:
        return None
    if kind in INTEGER_BYTES:
        return int.from_bytes(piece, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", piece)[0])
    if kind in (8, 9):
        return kind - 8
    if kind < 12:
        raise Malformed
    return piece.decode("utf-8", "replace") if kind % 2 else piece


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """An integer of variable length, unsigned, and where what follows it begins."""
    value = 0
    for place in range(at, at + 8):
        byte = content[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | content[at + 8], at + 9


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
