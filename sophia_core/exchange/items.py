"""Reads the elements of a JSON array one at a time, however long the file and however hostile.

Only where an element begins and ends is found here; what it says, `json` decodes. So one element that is too long,
nested too deeply or no JSON at all costs itself and not the file, and memory holds one element, not the file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

LONGEST_ITEM: Final = 256 * 1024 * 1024
"""Bytes of one conversation."""
MOST_VALUES: Final = 10_000_000
"""Commas and opening brackets of one conversation: a list of nothing but empty lists takes twenty times its bytes in
memory."""
DEEPEST: Final = 200
"""Levels of brackets; real files have about ten."""
LISTS: Final = frozenset({"sessions", "conversations", "chats", "data"})
"""Names of the array, in files whose outermost value is an object."""

_PLAIN = rb'[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+"'
_LEAF = rb"[{\[](?:" + _PLAIN + rb")*+[}\]]"
_TWIG = rb"[{\[](?:" + _PLAIN + rb"|" + _LEAF + rb")*+[}\]]"
_BETWEEN = re.compile(rb"(?:" + _PLAIN + rb"|" + _TWIG + rb")*+", re.DOTALL)
"""Everything up to the next bracket that holds more than two levels, or whose end is not in this block; ends at a quote
only when its string goes on after the block."""
_WITHIN = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]*+")
_BLANK = re.compile(rb"[\s\x00]*+")


class BadFile(Exception):
    """The rest of the file cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class BadItem:
    """An element that cannot be used."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """An element of the array."""

    number: int
    """From 1."""
    value: Any
    mended: bool = False
    """True when it had bytes that are not UTF-8."""


class Items:
    """The elements of the file's array, in order; `header` holds what an outermost object says before it."""

    def __init__(self, blocks: Iterator[bytes], *, longest: int = LONGEST_ITEM) -> None:
        self._scan = _Scanner(utf8(blocks))
        self._longest = longest
        self._number = 0
        self.header: dict[str, Any] = {}

    def __iter__(self) -> Iterator[Item | BadItem]:
        """Raises BadFile where the file stops being JSON."""
        while (opening := self._scan.peek()) is not None:
            if opening == b"[":
                yield from self._array()
            elif opening == b"{":
                yield from self._object()
            else:
                raise BadFile("it is no JSON" if not self._number else "something follows the end of the JSON")

    def _array(self) -> Iterator[Item | BadItem]:
        self._scan.skip()
        if self._scan.peek() == b"]":
            self._scan.skip()
            return
        while True:
            yield self._item()
            match self._scan.peek():
                case b",":
                    self._scan.skip()
                case b"]":
                    self._scan.skip()
                    return
                case None:
                    raise BadFile("it ends in the middle: it was cut off")
                case _:
                    raise BadFile(f"it is broken after element {self._number}")

    def _object(self) -> Iterator[Item | BadItem]:
        """An object that holds the array, or one that is itself the only element."""
        self._scan.skip()
        members: dict[str, Any] = {}
        contained = False
        while self._scan.peek() != b"}":
            name = self._name()
            if name in LISTS and self._scan.peek() == b"[" and "id" not in members and "mapping" not in members:
                contained, self.header = True, members
                yield from self._array()
            elif isinstance(found := self._value(), BadItem):
                members[name] = None
                yield found
            else:
                members[name] = found.value
            if self._scan.peek() == b",":
                self._scan.skip()
            elif self._scan.peek() != b"}":
                raise BadFile("it ends in the middle: it was cut off")
        self._scan.skip()
        if not contained:
            self._number += 1
            yield Item(self._number, members)

    def _name(self) -> str:
        if self._scan.peek() != b'"':
            raise BadFile("it is no JSON" if not self._number else f"it is broken after element {self._number}")
        found = self._value()
        if isinstance(found, BadItem) or self._scan.peek() != b":":
            raise BadFile("it is no JSON")
        self._scan.skip()
        return str(found.value)

    def _item(self) -> Item | BadItem:
        self._number += 1
        return self._value()

    def _value(self) -> Item | BadItem:
        raw = self._scan.value(self._longest)
        if isinstance(raw, str):
            return BadItem(self._number, raw)
        return _decoded(raw, self._number)


def _decoded(raw: bytes, number: int) -> Item | BadItem:
    mended = False
    if len(raw) > MOST_VALUES and sum(map(raw.count, (b",", b"[", b"{"))) > MOST_VALUES:
        return BadItem(number, f"it has more than {MOST_VALUES:,} values")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text, mended = raw.decode("utf-8", "replace"), True
    try:
        return Item(number, json.loads(text, object_pairs_hook=_all_pairs), mended)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        return BadItem(number, f"it is no JSON: {reason[:100]}")


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose repeated names are all kept: the later ones with a number."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found = {}
    told: Counter[str] = Counter()
    for name, value in pairs:
        fresh = name
        while fresh in found:
            # Counted on from where the last one of that name was: a file may hold a million.
            told[name] += 1
            fresh = f"{name} ({told[name] + 1})"
        found[fresh] = value
    return found


class _Scanner:
    """Finds the ends of values in a stream of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._buffer = b""
        self._at = 0

    def _fill(self) -> bool:
        """Drop what is done and read on; False at the end of the file."""
        block = next(self._blocks, b"")
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        return bool(block)

    def peek(self) -> bytes | None:
        """The next byte that is no blank; None at the end."""
        while True:
            found = _BLANK.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._fill():
                return None

    def skip(self) -> None:
        """Go past the byte that `peek` showed."""
        self._at += 1

    def value(self, longest: int) -> bytes | str:
        """The bytes of the value that begins here, or why it cannot be used. Raises BadFile when it has no end."""
        opening = self.peek()
        if opening is None:
            raise BadFile("it ends in the middle: it was cut off")
        kept = _Kept(longest)
        if opening in b"{[":
            self._nested(kept)
        elif opening == b'"':
            self._at += 1
            kept.add(b'"')
            self._string(kept)
        else:
            self._scalar(kept)
        return kept.result()

    def _scalar(self, kept: _Kept) -> None:
        while True:
            found = _SCALAR.match(self._buffer, self._at)
            end = found.end() if found else self._at
            kept.add(self._buffer[self._at : end])
            self._at = end
            if end < len(self._buffer) or not self._fill():
                return

    def _string(self, kept: _Kept) -> None:
        """From inside a string to behind its closing quote."""
        while True:
            found = _WITHIN.match(self._buffer, self._at)
            end = found.end() if found else self._at
            closed = self._buffer[end : end + 1] == b'"'
            kept.add(self._buffer[self._at : end + closed])
            self._at = end + closed
            if closed:
                return
            # A backslash at the end of the block stays for the next one.
            if not self._fill():
                raise BadFile("it ends in the middle of a text: it was cut off")

    def _nested(self, kept: _Kept) -> None:
        """From an opening bracket to behind the one that closes it."""
        start = self._at
        self._at += 1
        depth = 1
        while True:
            found = _BETWEEN.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            byte = self._buffer[self._at : self._at + 1]
            if not byte:
                kept.add(self._buffer[start : self._at])
                if not self._fill():
                    raise BadFile("it ends in the middle: it was cut off")
                start = self._at
                continue
            self._at += 1
            if byte == b'"':
                kept.add(self._buffer[start : self._at])
                self._string(kept)
                start = self._at
                continue
            depth += 1 if byte in b"{[" else -1
            if depth > DEEPEST:
                kept.refuse(f"it is nested more than {DEEPEST} levels deep")
            if depth == 0:
                kept.add(self._buffer[start : self._at])
                return


class _Kept:
    """The bytes of one value, as long as they are wanted."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0
        self._reason = ""

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._longest:
            self.refuse(f"it is longer than {self._longest // 2**20} MiB")
        if not self._reason:
            self._parts.append(part)

    def refuse(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._parts.clear()

    def result(self) -> bytes | str:
        return self._reason or b"".join(self._parts)


def utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The stream as UTF-8, whichever Unicode encoding it has; a byte order mark is taken off."""
    first = b""
    for block in blocks:
        first += block
        if len(first) >= 4:
            break
    encoding = json.detect_encoding(first) if first else "utf-8"
    if encoding in ("utf-8", "utf-8-sig"):
        yield first.removeprefix(b"\xef\xbb\xbf")
        yield from blocks
        return
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in chain([first], blocks):
        # An empty block would be taken as the end of the file.
        if text := decoder.decode(block):
            yield text.encode("utf-8", "replace")
