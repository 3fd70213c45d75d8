"""Metrics: samples of a second, rolled up to ten seconds, a minute and an hour, in a side file.

What is appended is one row per moment, so that a scrape of many series writes one page. Every five minutes of samples
the same transaction rolls up what came since and drops what is too old; a reader itself folds what is not yet rolled
up, so nothing waits for that. Backups leave metrics out: they can be measured again, and are many.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local_store import samples
from local_store.errors import BadValue
from local_store.ids import now_ms
from local_store.samples import LEVELS, Appended, Clock, History, Key, Point, Refusal, Retention, Sample, Series, Tick
from local_store.side import Script, Side, Sides

if TYPE_CHECKING:
    from sqlite3 import Connection

NAME: Final = "metrics"
ROLL_MS: Final = 300_000
"""How much is appended before it is rolled up."""
MOST_TICKS: Final = 1000
MOST_POINTS: Final = 200_000
RECENT_MS: Final = 3_600_000
"""Series that had a sample within this time make no room for others."""
SCRIPTS: Final[tuple[Script, ...]] = (
    (
        "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "INSERT INTO state VALUES ('rolled', 0), ('epoch', random())",
        "CREATE TABLE series (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, kind TEXT NOT NULL,"
        " labels TEXT NOT NULL, seen INTEGER NOT NULL, UNIQUE (name, kind, labels)) STRICT",
        "CREATE TABLE tick (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, ids BLOB NOT NULL,"
        " numbers BLOB NOT NULL) STRICT",
        "CREATE INDEX tick_by_time ON tick (at)",
        "CREATE TABLE bucket (level INTEGER NOT NULL, series INTEGER NOT NULL, at INTEGER NOT NULL,"
        " until INTEGER NOT NULL, count INTEGER NOT NULL, sum REAL NOT NULL, min REAL NOT NULL, max REAL NOT NULL,"
        " first REAL NOT NULL, last REAL NOT NULL, rise REAL, PRIMARY KEY (level, series, at)) STRICT, WITHOUT ROWID",
    ),
)
# A late point, older than what is there, adds to the sums but cannot tell what a counter did in between.
ADD = """
    INSERT INTO bucket VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (level, series, at) DO UPDATE SET
        rise = rise + excluded.rise + iif(excluded.until < until, 0.0,
            iif(excluded.first >= last, excluded.first - last, max(excluded.first, 0.0))),
        last = iif(excluded.until < until, last, excluded.last), until = max(until, excluded.until),
        count = count + excluded.count, sum = sum + excluded.sum,
        min = min(min, excluded.min), max = max(max, excluded.max)
"""
POINTS = """
    SELECT series, at, until, count, sum, min, max, first, last, rise FROM bucket
    WHERE level = ? AND series IN (SELECT value FROM json_each(?)) AND at >= ? AND at < ? ORDER BY series, at
"""
UNROLLED = """
    SELECT at, ids, numbers FROM tick
    WHERE seq > (SELECT value FROM state WHERE name = 'rolled') AND at >= ? AND at < ? ORDER BY seq
"""
TICKS = "SELECT at, ids, numbers FROM tick WHERE at >= ? AND at < ? ORDER BY at, seq"
SERIES = "SELECT id, name, labels, kind, seen FROM series"
FOREVER: Final = 1 << 62


@dataclass(slots=True)
class _Known:
    """The ids of series met before; they hold while the file's epoch is the same."""

    epoch: int
    ids: dict[Key, int]


class Metrics:
    """The samples of this store. The file is made when the first one comes."""

    def __init__(self, sides: Sides, *, retention: Retention | None = None, clock: Clock = now_ms) -> None:
        self._side: Side = sides.add(NAME, SCRIPTS)
        self._clock = clock
        self._known = _Known(0, {})
        self.retention = retention or Retention()

    async def append(self, taken: Iterable[Sample], at: int | None = None) -> Appended:
        """Keep samples of one moment, now unless `at` says otherwise, and say which were refused. Raises StoreError.

        A series that is sampled by several processes needs a label that tells them apart.
        """
        moment, keys, refused = self._clock() if at is None else at, dict[Key, float](), Counter[Refusal]()
        if not 0 <= moment <= self._clock() + RECENT_MS:
            raise BadValue("samples have a time, and none from the future")
        for sample in taken:
            key = samples.key_of(sample)
            if isinstance(key, str):
                refused[key] += 1
            else:
                keys[key] = float(sample.value)
        known, retention, now = self._known, self.retention, self._clock()

        def operation(connection: Connection) -> tuple[_Known, Appended]:
            found, missing = _identify(connection, keys, known, retention, moment)
            told = Counter(refused)
            if missing:
                told["too many series"] += missing
            if found:
                values = {id_: keys[key] for key, id_ in found.ids.items()}
                tick = samples.pack(moment, values)
                connection.execute("INSERT INTO tick (at, ids, numbers) VALUES (?, ?, ?)", tick)
                if _due(connection, moment):
                    _roll_up(connection)
                    _drop_old(connection, retention, now)
            return found, Appended(len(found.ids), dict(told))

        if not keys:
            return Appended(0, dict(refused))
        found, appended = await self._side.write(operation)
        if found.epoch != self._known.epoch:
            self._known = _Known(found.epoch, {})
        self._known.ids.update(found.ids)
        return appended

    async def series(self, name: str = "", labels: Mapping[str, str] | None = None) -> list[Series]:
        """Return the series of that name (all when empty) that have these labels among theirs."""
        wanted = set((labels or {}).items())

        def operation(connection: Connection) -> list[Series]:
            rows = connection.execute(f"{SERIES} WHERE ?1 = '' OR name = ?1 ORDER BY name, labels, kind", [name])
            return [series for row in rows if wanted <= set((series := _series(row)).labels)]

        return await self._side.read(operation)

    async def range(self, series: Iterable[Series | int], start: int, end: int, step: int) -> History:
        """Return points of `step` milliseconds from `start` until before `end`, coarser where less is not kept.

        Raises BadValue for a stretch that would have far more points than anybody can see.
        """
        ids = sorted({each if isinstance(each, int) else each.id for each in series})
        level = self.retention.level_for(step, self._clock() - start)
        size = max(-(-step // LEVELS[level]), 1) * LEVELS[level]
        if end < start or start < 0 or (end - start) // size * max(len(ids), 1) > MOST_POINTS:
            raise BadValue("that stretch has too many points", hint="Ask for a shorter one, or for longer steps.")

        def operation(connection: Connection) -> History:
            counters = _counters(connection)
            # One point more, so that a counter's first one knows where it came from.
            begin = start - start % size - size
            found = _rolled(connection, level, ids, begin, end) if level else {}
            statement = UNROLLED if level else TICKS
            ticks = (Tick(*row) for row in connection.execute(statement, [begin, end]))
            fresh = samples.fold(ticks, LEVELS[level], counters, frozenset(ids))
            for id_, points in fresh.items():
                found.setdefault(id_, []).extend(points.values())
            rough = size > LEVELS[level]
            done = {id_: _finish(found.get(id_, []), size, start, as_is=not (rough or id_ in fresh)) for id_ in ids}
            return History(size, done)

        return await self._side.read(operation)

    async def prune(self, retention: Retention | None = None) -> None:
        """Roll up what came, and drop what is older or more than `retention` allows."""
        limits, now = retention or self.retention, self._clock()

        def operation(connection: Connection) -> None:
            _roll_up(connection)
            _drop_old(connection, limits, now)

        await self._side.write(operation)

    async def size(self) -> int:
        """Return how many bytes the file has."""
        return await self._side.size()


def _finish(points: list[Point], size: int, start: int, *, as_is: bool) -> tuple[Point, ...]:
    """The points as they are told; `as_is` when they are of that size and in order."""
    if not as_is:
        joined = samples.coarsen(points, size)
        points = [joined[at] for at in sorted(joined)]
    return samples.linked(points, size, start - start % size)


def _series(row: tuple[Any, ...]) -> Series:
    id_, name, labels, kind, seen = row
    return Series(id_, name, tuple((key, value) for key, value in json.loads(labels)), kind, seen)


def _state(connection: Connection, name: str) -> int:
    return int(connection.execute("SELECT value FROM state WHERE name = ?", [name]).fetchone()[0])


def _counters(connection: Connection) -> frozenset[int]:
    return frozenset(id_ for (id_,) in connection.execute("SELECT id FROM series WHERE kind = 'counter'"))


def _identify(
    connection: Connection, keys: Iterable[Key], known: _Known, retention: Retention, at: int
) -> tuple[_Known, int]:
    """Return the ids of series, new ones among them, and how many got none because there are too many."""
    epoch = _state(connection, "epoch")
    ids = known.ids if known.epoch == epoch else {}
    found = _Known(epoch, {key: ids[key] for key in keys if key in ids})
    missing = [key for key in keys if key not in ids]
    refused = 0
    for key in missing:
        id_ = _find(connection, key)
        if id_ is None and not refused:
            id_ = _add(connection, key, retention, at)
        if id_ is None:
            # Some of the others may be there: they are looked for all the same, but none is made.
            refused += 1
        else:
            found.ids[key] = id_
    found.epoch = _state(connection, "epoch") if missing else epoch
    return found, refused


def _find(connection: Connection, key: Key) -> int | None:
    name, kind, labels = key
    values = [name, kind, _text(labels)]
    row = connection.execute("SELECT id FROM series WHERE name = ? AND kind = ? AND labels = ?", values).fetchone()
    return None if row is None else int(row[0])


def _text(labels: samples.Labels) -> str:
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def _add(connection: Connection, key: Key, retention: Retention, at: int) -> int | None:
    """Return the id of a new series; the one that was silent for longest makes room, if it was for an hour."""
    if connection.execute("SELECT count(*) FROM series").fetchone()[0] >= retention.series:
        oldest = connection.execute("SELECT id, seen FROM series ORDER BY seen, id LIMIT 1").fetchone()
        if oldest is None or oldest[1] > at - RECENT_MS:
            return None
        _remove(connection, [oldest[0]])
    name, kind, labels = key
    values = [name, kind, _text(labels), at]
    added = connection.execute("INSERT INTO series (name, kind, labels, seen) VALUES (?, ?, ?, ?)", values)
    return int(added.lastrowid or 0)


def _remove(connection: Connection, ids: list[int]) -> None:
    # Other processes know series by their ids: the new epoch tells them to look again.
    connection.execute("UPDATE state SET value = random() WHERE name = 'epoch'")
    for level in range(1, len(LEVELS)):
        connection.executemany("DELETE FROM bucket WHERE level = ? AND series = ?", [(level, id_) for id_ in ids])
    connection.executemany("DELETE FROM series WHERE id = ?", [(id_,) for id_ in ids])


def _due(connection: Connection, at: int) -> bool:
    waiting = connection.execute(
        "SELECT min(seq), max(seq) FROM tick WHERE seq > (SELECT value FROM state WHERE name = 'rolled')"
    ).fetchone()
    first = connection.execute("SELECT at FROM tick WHERE seq = ?", [waiting[0]]).fetchone()
    # Also when the clock was put back.
    return first is not None and (abs(at - first[0]) >= ROLL_MS or waiting[1] - waiting[0] >= MOST_TICKS)


def _roll_up(connection: Connection) -> None:
    """Add what was appended since the last time to every level; in the transaction that remembers that it is done."""
    rows = connection.execute(UNROLLED, [0, FOREVER]).fetchall()
    if not rows:
        return
    present = frozenset(id_ for (id_,) in connection.execute("SELECT id FROM series"))
    folded = samples.fold((Tick(*row) for row in rows), LEVELS[1], _counters(connection), present)
    for id_, points in folded.items():
        last = max(point.until for point in points.values())
        connection.execute("UPDATE series SET seen = max(seen, ?) WHERE id = ?", [last, id_])
        finer = list(points.values())
        for level in range(1, len(LEVELS)):
            finer = list(samples.coarsen(finer, LEVELS[level]).values())
            connection.executemany(ADD, [(level, id_, *point) for point in finer])
    connection.execute("UPDATE state SET value = (SELECT max(seq) FROM tick) WHERE name = 'rolled'")


def _rolled(connection: Connection, level: int, ids: list[int], start: int, end: int) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = {}
    for row in connection.execute(POINTS, [level, json.dumps(ids), start - start % LEVELS[level], end]):
        found.setdefault(row[0], []).append(Point._make(row[1:]))
    return found


def _drop_old(connection: Connection, retention: Retention, now: int) -> None:
    """Drop what is too old; and the oldest of the finest detail first while the file is too large."""
    ids = [id_ for (id_,) in connection.execute("SELECT id FROM series")]
    for level in range(len(LEVELS)):
        _drop(connection, level, ids, now - retention.keep(level))
    gone = connection.execute("SELECT id FROM series WHERE seen < ?", [now - retention.hours]).fetchall()
    if gone:
        _remove(connection, [id_ for (id_,) in gone])
    for share in (2, 8, 32, 128, 512):
        for level in range(len(LEVELS)):
            if _used(connection) <= retention.bytes:
                return
            _drop(connection, level, ids, now - retention.keep(level) // share)


def _drop(connection: Connection, level: int, ids: list[int], before: int) -> None:
    if level == 0:
        rolled = _state(connection, "rolled")
        connection.execute("DELETE FROM tick WHERE at < ? AND seq <= ?", [before, rolled])
    else:
        statement = "DELETE FROM bucket WHERE level = ? AND series = ? AND at < ?"
        connection.executemany(statement, [(level, id_, before) for id_ in ids])


def _used(connection: Connection) -> int:
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "cipher_page_size")
    )
    return (pages - free) * size
