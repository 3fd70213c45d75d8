"""What a target tells, read again and again at little cost.

    reader = Reader(only=catalog.names("vllm"))
    exposition = await reader.read(body)

A target tells the same series in the same order nearly every time. What a line begins with is therefore remembered,
and of a repeated text only the numbers of the wanted lines are looked at. What is new goes through a real parser, in
slices between which other work is done. Nothing here raises for what a target says: what cannot be read is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType
from typing import Final, TypeAlias

from backend_client.scraping.lines import MAX_LABELS, MAX_LINE, Sample, samples_of

MAX_BODY: Final = 8 << 20
"""Bytes that are looked at."""
MAX_LINES: Final = 250_000
MAX_SERIES: Final = 50_000
MAX_NEW: Final = 10_000
"""Lines that are parsed in one look; the rest of a large page is parsed in the next ones."""
PIECE: Final = 256 << 10
"""Bytes that are taken apart in one go."""
BATCH: Final = 32
"""New lines that are parsed in one go."""
BATCH_BYTES: Final = 4 << 10
SLICE_S: Final = 0.003
"""After so much reading other work is done."""
AT_ONCE: Final = 10_000
"""Lines of a familiar text that are read without a pause."""

UNREADABLE: Final = "unreadable lines"
TWICE: Final = "series told twice"
TOO_LONG: Final = f"lines over {MAX_LINE >> 10} KiB"
TOO_MANY_LABELS: Final = f"series with more than {MAX_LABELS} labels"
LATER: Final = f"lines beyond {MAX_NEW:,} new ones at once"
TOO_MANY: Final = f"series beyond {MAX_SERIES:,}"
CUT: Final = f"everything after {MAX_BODY >> 20} MiB or {MAX_LINES:,} lines"
UNFINISHED: Final = "an unfinished last line"

_SUFFIXES: Final = ("_bucket", "_sum", "_count", "_total", "_created", "_info")
_COMMENT: Final = ord("#")
_EOF: Final = b"# EOF"

Picker: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes]]
Steps: TypeAlias = Generator[None, None, "Exposition"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series of a target. The same one is the same object as long as it is told."""

    name: str
    labels: Mapping[str, str]
    """As the target says them: untrusted text."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which series a target tells, in its order; the same object as long as they are the same."""

    series: tuple[Series, ...]
    places: Mapping[str, tuple[int, ...]]
    """By name, where its series are."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """What a target told at one moment."""

    layout: Layout
    values: Sequence[float]
    """Of each series of the layout; NaN and infinities are as they were told."""
    types: Mapping[str, str] = field(default_factory=dict)
    """By family what it says it is: counter, gauge, histogram, summary, untyped …"""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What was left out: how many, by reason."""

    def of(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return labels and value of every series of this name."""
        series, values = self.layout.series, self.values
        return [(series[at].labels, values[at]) for at in self.layout.places.get(name, ())]

    def kind_of(self, name: str) -> str:
        """Return what the family of this name says it is, or `untyped`."""
        stem = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
        return self.types.get(name) or self.types.get(stem, "untyped")


@dataclass(slots=True)
class _Familiar:
    """How the last text was laid out, so that the next one like it need not be looked at closely."""

    lines: int
    comments: Picker
    said: Sequence[bytes]
    """What the comments said: where one family ends and the next begins."""
    wanted: Picker
    heads: list[bytes]
    """How the wanted lines begin, up to their values."""
    lengths: list[int]


@dataclass(slots=True)
class _Pass:
    """What one whole look at a text finds."""

    dropped: Counter[str]
    values: dict[Series, float] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)
    """Of each value the number of its line."""
    heads: list[bytes] = field(default_factory=list)
    """Of each value how its line begins; empty where the line has to be parsed every time."""
    comments: list[int] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    fresh: list[tuple[int, bytes, str]] = field(default_factory=list)
    """Lines that are not known yet, with their number and the family they were told under."""
    fresh_bytes: int = 0
    parsed: int = 0
    same: dict[tuple[str, frozenset[tuple[str, str]]], Series] | None = None
    orderly: bool = True
    """Every line is a plain sample of the family that was announced last."""
    family: str = ""


class Reader:
    """Reads what one target tells, of all series or of those whose names are in `only`."""

    def __init__(self, only: Collection[str] | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._only = None if only is None else frozenset(name.encode() for name in only)
        self._clock = clock
        self._known: dict[bytes, Series] = {}
        self._types: Mapping[str, str] = {}
        self._layout = Layout((), {})
        self._familiar: _Familiar | None = None

    async def read(self, body: bytes, *, cut: bool = False) -> Exposition:
        """Return what `body` tells; other tasks have their turn meanwhile. `cut`: it goes on, but was not read on."""
        steps, began = self._steps(body, cut), self._clock()
        try:
            while True:
                next(steps)
                if self._clock() - began > SLICE_S:
                    await asyncio.sleep(0)
                    began = self._clock()
        except StopIteration as end:
            return _outcome(end)

    def read_now(self, body: bytes, *, cut: bool = False) -> Exposition:
        """The same without letting anybody else have a turn."""
        steps = self._steps(body, cut)
        try:
            while True:
                next(steps)
        except StopIteration as end:
            return _outcome(end)

    def _steps(self, body: bytes, cut: bool) -> Steps:
        dropped = Counter[str]()
        lines = yield from _lines(body, cut, dropped)
        if not dropped and (values := self._as_before(lines)) is not None:
            return Exposition(self._layout, values, self._types)
        return (yield from self._anew(lines, dropped))

    def _as_before(self, lines: Sequence[bytes]) -> list[float] | None:
        """The values of a text laid out like the last one; None where it is laid out otherwise."""
        last = self._familiar
        if last is None or len(lines) != last.lines or last.comments(lines) != last.said:
            return None
        wanted = last.wanted(lines)
        if not all(map(bytes.startswith, wanted, last.heads)):
            return None
        numbers = [line[length:] for line, length in zip(wanted, last.lengths, strict=True)]
        if b"_" in b"".join(numbers):
            return None
        try:
            return list(map(float, numbers))
        except ValueError:
            return None

    def _anew(self, lines: Sequence[bytes], dropped: Counter[str]) -> Steps:
        """What a text tells, line by line."""
        found = _Pass(dropped)
        for at, line in enumerate(lines):
            if self._take(found, at, line) or not at & 63:
                yield
        self._parse(found)
        yield
        return self._finish(found, lines)

    def _take(self, found: _Pass, at: int, line: bytes) -> bool:
        """Note what one line says; True where many were parsed for it."""
        head, _, number = line.rpartition(b" ")
        series = self._known.get(head)
        if series is not None and (value := _number(number)) is not None:
            self._note(found, at, head, series, value, found.family)
        elif not line or line.isspace():
            found.comments.append(at)
        elif line.lstrip()[0] == _COMMENT:
            self._comment(found, at, line)
        elif self._only is not None and (name := _name(line)) and name not in self._only:
            found.orderly &= _belongs(name.decode("ascii", "replace"), found.family)
        elif reason := LATER if found.parsed >= MAX_NEW else _too_much(line):
            found.orderly = False
            found.dropped[reason] += 1
        else:
            found.fresh.append((at, line, found.family))
            found.fresh_bytes += len(line)
            found.parsed += 1
        if len(found.fresh) >= BATCH or found.fresh_bytes >= BATCH_BYTES:
            self._parse(found)
            return True
        return False

    def _comment(self, found: _Pass, at: int, line: bytes) -> None:
        found.comments.append(at)
        words = line[:MAX_LINE].split(None, 3)
        if len(words) == 4 and words[1] == b"TYPE":
            found.family = words[2].decode("utf-8", "replace")
            if len(found.types) < MAX_SERIES and self._wanted_family(words[2]):
                found.types[found.family] = words[3].strip().decode("utf-8", "replace").lower()[:20]

    def _wanted_family(self, family: bytes) -> bool:
        wanted = self._only
        return wanted is None or family in wanted or any(family + end.encode() in wanted for end in _SUFFIXES)

    def _parse(self, found: _Pass) -> None:
        """Read the lines that were not known."""
        fresh, found.fresh, found.fresh_bytes = found.fresh, [], 0
        texts = [line.decode("utf-8", "replace").strip(" \t\r") for _, line, _ in fresh]
        for (at, line, family), sample in zip(fresh, samples_of(texts), strict=True):
            if sample is None:
                found.orderly = False
                found.dropped[UNREADABLE] += 1
            elif self._only is None or sample[0].encode() in self._only:
                self._add(found, at, line, family, sample)

    def _add(self, found: _Pass, at: int, line: bytes, family: str, sample: Sample) -> None:
        name, labels, value = sample
        if len(labels) > MAX_LABELS or len(found.values) >= MAX_SERIES:
            found.orderly = False
            found.dropped[TOO_MANY_LABELS if len(labels) > MAX_LABELS else TOO_MANY] += 1
            return
        if found.same is None:
            found.same = {(each.name, frozenset(each.labels.items())): each for each in self._layout.series}
        key = (name, frozenset(labels.items()))
        series = found.same.get(key)
        if series is None:
            series = found.same[key] = Series(name, labels)
        self._note(found, at, _head(line, value), series, value, family)

    def _note(self, found: _Pass, at: int, head: bytes, series: Series, value: float, family: str) -> None:
        if series in found.values:
            found.dropped[TWICE] += 1
            found.orderly = False
            return
        found.orderly &= bool(head) and _belongs(series.name, family)
        found.values[series] = value
        found.places.append(at)
        found.heads.append(head)

    def _finish(self, found: _Pass, lines: Sequence[bytes]) -> Exposition:
        series = tuple(found.values)
        if series != self._layout.series:
            self._layout = _layout(series)
        self._known = {head: each for head, each in zip(found.heads, series, strict=True) if head}
        self._types = MappingProxyType(found.types)
        comments, wanted = _picker(found.comments), _picker(found.places)
        # Without a choice every line that is no comment is looked at, wherever it stands.
        sure = found.orderly or (self._only is None and not found.dropped and all(found.heads))
        heads = [head + b" " for head in found.heads]
        familiar = _Familiar(len(lines), comments, comments(lines), wanted, heads, list(map(len, heads)))
        self._familiar = familiar if sure and not found.dropped and len(lines) <= AT_ONCE else None
        return Exposition(self._layout, list(found.values.values()), self._types, MappingProxyType(found.dropped))


def _outcome(end: StopIteration) -> Exposition:
    found: Exposition = end.value
    return found


def _lines(body: bytes, cut: bool, dropped: Counter[str]) -> Generator[None, None, list[bytes]]:
    """The whole lines of a text, taken apart piece by piece."""
    lines: list[bytes] = []
    start, size = 0, min(len(body), MAX_BODY)
    cut |= size < len(body)
    while start < size and len(lines) <= MAX_LINES:
        end = body.rfind(b"\n", start, min(start + PIECE, size)) + 1 or body.find(b"\n", start, size) + 1
        if not end:
            break
        lines += body[start : end - 1].split(b"\n")
        start = end
        yield
    if len(lines) > MAX_LINES:
        del lines[MAX_LINES:]
        cut = True
    if cut:
        dropped[CUT] += 1
    elif body[start:size].strip() not in (b"", _EOF):
        dropped[UNFINISHED] += 1
    return lines


def _layout(series: tuple[Series, ...]) -> Layout:
    places: dict[str, list[int]] = {}
    for at, each in enumerate(series):
        places.setdefault(each.name, []).append(at)
    return Layout(series, {name: tuple(found) for name, found in places.items()})


def _picker(places: Sequence[int]) -> Picker:
    """Picks the lines at these places."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda lines: tuple(lines[at] for at in places)


def _name(line: bytes) -> bytes:
    """The name that a line begins with; empty where it does not begin with one."""
    words = line.partition(b"{")[0].split(None, 1)
    return words[0] if words else b""


def _belongs(name: str, family: str) -> bool:
    """Whether samples of this name may stand under a family's announcement."""
    return name.startswith(family) and bool(family) and (name == family or name[len(family) :] in _SUFFIXES)


def _too_much(line: bytes) -> str:
    """Why a line is not even parsed; empty where it is."""
    if len(line) > MAX_LINE:
        return TOO_LONG
    # In a value the quote is escaped, so that this text stands there once for a label, or twice.
    return TOO_MANY_LABELS if line.count(b'="') > 2 * MAX_LABELS else ""


def _number(text: bytes) -> float | None:
    if b"_" in text:
        return None  # Python's own way to write numbers
    try:
        return float(text)
    except ValueError:
        return None


def _head(line: bytes, value: float) -> bytes:
    """How a line begins, up to the space before its value; empty where something stands behind that."""
    head, _, number = line.rpartition(b" ")
    told, bare = _number(number), head.strip()
    if told is None or b"#" in line or not (bare.endswith(b"}") or len(bare.split()) == 1):
        return b""
    return head if told == value or (told != told and value != value) else b""
