"""Metrics: what was appended comes back, coarser the older it is, and hostile samples cost nobody else's."""

from __future__ import annotations

import asyncio
import tarfile
import time
from collections.abc import Mapping
from math import inf, isclose, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_store import BadValue, Store
from local_store.metrics import Metrics, _used
from local_store.samples import (
    LEVELS,
    Point,
    Retention,
    Sample,
    Tick,
    coarsen,
    fold,
    join,
    linked,
    pack,
    risen,
)

from .conftest import OpenStore

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_800_000_000_000 - 1_800_000_000_000 % DAY
"""Midnight of some day."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def metrics(store: Store, clock: Clock | None = None, **limits: int) -> Metrics:
    return Metrics(store.sides, retention=Retention(**limits), clock=clock or Clock())


def gauge(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, value, labels)


def counter(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, value, labels, "counter")


async def one(kept: Metrics, name: str, start: int, end: int, step: int) -> tuple[Point, ...]:
    [series] = await kept.series(name)
    return (await kept.range([series], start, end, step)).points[series.id]


def numbers(point: Point) -> list[float]:
    return [0.0 if each is None else each for each in point]


async def rows(kept: Metrics, statement: str) -> list[Any]:
    return await kept._side.read(lambda connection: connection.execute(statement).fetchall())


async def test_samples_come_back_as_points(store: Store) -> None:
    kept = metrics(store)
    for second in range(30):
        done = await kept.append(
            [gauge("use", second % 7, gpu="0"), gauge("use", 50.0, gpu="1"), counter("asked_total", second * 2)],
            NOW - 30_000 + second * 1000,
        )
        assert done.kept == 3 and not done.refused
    found = await kept.series("use")
    assert [dict(each.labels) for each in found] == [{"gpu": "0"}, {"gpu": "1"}]
    assert [each.id for each in await kept.series(labels={"gpu": "1"})] == [found[1].id]
    history = await kept.range(found, NOW - 30_000, NOW, 10_000)
    first = history.points[found[0].id]
    assert history.step == 10_000 and [point.at - NOW for point in first] == [-30_000, -20_000, -10_000]
    assert first[0][2:] == (10, sum(s % 7 for s in range(10)), 0, 6, 0, 2, None)
    assert [point.mean for point in history.points[found[1].id]] == [50, 50, 50]
    assert [point.rise for point in await one(kept, "asked_total", NOW - 30_000, NOW, 10_000)] == [18, 20, 20]
    seconds = await one(kept, "asked_total", NOW - 5_000, NOW, 1_000)
    assert [point.last for point in seconds] == [50, 52, 54, 56, 58] and {point.rise for point in seconds} == {2}


async def test_a_counter_that_begins_again_and_gaps_are_told_as_they_are(store: Store) -> None:
    kept = metrics(store)
    at = NOW - HOUR
    for minute, value in enumerate([10, 20, 5, 15, None, None, None, None, 100, 130]):
        if value is not None:
            await kept.append([counter("c_total", value), gauge("g", -value)], at + minute * 60_000)
    told = await one(kept, "c_total", at, NOW, 60_000)
    assert [point.rise for point in told] == [0, 10, 5, 10, 0, 30]
    assert [(point.at - at) // 60_000 for point in told] == [0, 1, 2, 3, 8, 9]
    assert (await one(kept, "g", at, NOW, HOUR))[0][2:8] == (6, -280, -130, -5, -10, -130)


async def test_what_is_rolled_up_reads_the_same(store: Store) -> None:
    """Every level and every step, before and after, whatever part is rolled up by then."""
    clock = Clock()
    kept = metrics(store, clock)
    begin = NOW - 20 * 60_000
    for second in range(0, 1200, 2):
        await kept.append([gauge("g", (second * 37) % 101), counter("c_total", second % 700)], begin + second * 1000)
    assert await rows(kept, "SELECT count(*) > 0 FROM bucket") == [(1,)]
    assert (await rows(kept, "SELECT value FROM state WHERE name = 'rolled'"))[0][0] not in (0, 600)
    for step in (10_000, 60_000, 300_000, HOUR):
        for name in ("g", "c_total"):
            ticks = [
                pack(begin + second * 1000, {1: float((second * 37) % 101 if name == "g" else second % 700)})
                for second in range(0, 1200, 2)
            ]
            whole = fold(ticks, step, {1} if name == "c_total" else ())[1]
            wanted = linked([whole[at] for at in sorted(whole)], step, begin - begin % step)
            before = await one(kept, name, begin, NOW, step)
            assert [numbers(each) for each in before] == [pytest.approx(numbers(each)) for each in wanted]
    await kept.prune()
    assert await one(kept, "g", begin, NOW, 60_000) != ()
    # Samples out of their time, as after the clock was put back, count too.
    await kept.append([gauge("g", 1000.0), counter("c_total", 1e6)], begin + 1)
    await kept.prune()
    hour = await one(kept, "g", begin, NOW, 60_000)
    assert hour[0].max == 1000 and hour[0].samples == 31
    assert max(point.rise or 0 for point in await one(kept, "c_total", begin, NOW, HOUR)) < 2000


async def test_older_detail_goes_and_coarser_stays(store: Store) -> None:
    clock = Clock()
    kept = metrics(store, clock)
    begin = NOW
    for minute in range(0, 9 * 24 * 60, 15):
        clock.now = begin + minute * 60_000
        await kept.append([gauge("g", minute), counter("c_total", minute)])
    await kept.prune()
    spans = dict(await rows(kept, "SELECT level, min(at) FROM bucket GROUP BY level"))
    assert clock.now - spans[1] <= 12 * HOUR and clock.now - spans[2] <= 8 * DAY and spans[3] == begin
    assert (await rows(kept, "SELECT count(*) FROM tick"))[0][0] <= 5
    for age, wanted in ((HOUR, 1000), (6 * HOUR, 10_000), (3 * DAY, 60_000), (9 * DAY, HOUR)):
        [series] = await kept.series("g")
        history = await kept.range([series], clock.now - age, clock.now + 1, 1000)
        assert history.step == wanted and history.points[series.id]
    whole = await one(kept, "c_total", begin, clock.now + 1, DAY)
    assert sum(point.rise or 0 for point in whole) == whole[-1].last and len(whole) == 9


async def test_hostile_samples_are_refused_and_the_rest_is_kept(store: Store) -> None:
    kept = metrics(store, series=5)
    wild: list[Any] = [
        gauge("ok", 1.0),
        gauge("nan", nan),
        gauge("inf", -inf),
        gauge("", 1.0),
        gauge("n" * 201, 1.0),
        gauge("many", 1.0, **{f"l{n}": "x" for n in range(21)}),
        gauge("long", 1.0, l="x" * 201),
        Sample("number", 1.0, {"l": 5}),  # type: ignore[dict-item]
        Sample("word", "seven"),  # type: ignore[arg-type]
        Sample("huge", 10**400),
        Sample("kind", 1.0, {}, "histogram"),  # type: ignore[arg-type]
        gauge("odd \x00\ud800", 2.0, **{"\udfff": "\n\"';DROP TABLE series;--"}),
    ]
    done = await kept.append(wild, NOW)
    assert done.kept == 2 and sum(done.refused.values()) == 10
    assert done.refused["not finite"] == 3 and done.refused["bad name"] == 3
    odd = (await kept.series())[0]
    assert odd.name == "odd \x00\ufffd" and odd.labels == (("\ufffd", "\n\"';DROP TABLE series;--"),)
    for at in (-1, NOW + DAY):
        with pytest.raises(BadValue):
            await kept.append([gauge("ok", 1.0)], at)
    with pytest.raises(BadValue):
        await kept.range([odd], 0, NOW, 1)
    assert (await kept.append([gauge("nan", nan)], NOW)).kept == 0


async def test_a_flood_of_labels_stops_at_the_limit_and_silent_series_make_room(store: Store) -> None:
    clock = Clock()
    kept, other = metrics(store, clock, series=20), metrics(store, clock, series=20)
    await kept.append([gauge("mine", 1.0)])
    assert (await other.append([gauge("mine", 2.0)])).kept == 1
    flood = await kept.append([gauge("bomb", n, id=str(n)) for n in range(100)])
    assert flood.kept == 19 and flood.refused == {"too many series": 81}
    again = await kept.append([gauge("mine", 1.0), *(gauge("bomb", n, id=str(n)) for n in range(100))])
    assert again.kept == 20 and len(await kept.series()) == 20
    clock.now += 2 * HOUR
    await kept.append([gauge("mine", 3.0)])
    await kept.prune()
    done = await kept.append([gauge("mine", 3.0), *(gauge("new", n, id=str(n)) for n in range(100))])
    assert done.kept == 20 and {each.name for each in await kept.series()} == {"mine", "new"}
    # The other one knows the ids from before, and must not write under those of series that are gone.
    assert (await other.append([gauge("bomb", 1.0, id="0"), gauge("mine", 4.0)])).kept == 1
    assert (await one(other, "mine", clock.now, clock.now + 1, 1000))[0].last == 4.0
    gone = await rows(kept, "SELECT count(*) FROM bucket WHERE series NOT IN (SELECT id FROM series)")
    assert gone == [(0,)]


async def test_the_file_stays_below_its_limit_and_the_finest_goes_first(store: Store) -> None:
    clock = Clock()
    kept = metrics(store, clock, bytes=300_000)
    for tick in range(600):
        clock.now += 10_000
        await kept.append([gauge("g", tick, n=str(n)) for n in range(40)])
    await kept.prune()
    assert 50_000 < await kept._side.read(_used) <= 300_000
    [hours] = await rows(kept, "SELECT count(*) FROM bucket WHERE level = 3")
    assert hours[0] >= 40 * 2
    assert (await kept.append([gauge("g", 1.0, n="0")])).kept == 1


async def test_a_file_made_anew_takes_samples_of_series_known_before(store: Store) -> None:
    kept = store.metrics
    await kept.append([gauge("first", 1.0), gauge("g", 1.0)])
    store.sides.on_renewed = lambda name, reason: None
    opened = kept._side._current
    assert opened is not None

    def spoiled(connection: object) -> None:
        from local_store import Damaged

        if not store.sides.renewed:
            raise Damaged("a page is bad")

    await kept._side.read(spoiled)
    assert store.sides.renewed
    assert (await kept.append([gauge("g", 2.0)])).kept == 1
    assert [each.name for each in await kept.series()] == ["g"]


async def test_two_processes_append_to_one_file(opening: OpenStore) -> None:
    one_, two = await opening(), await opening()
    for number in range(10):
        await asyncio.gather(
            one_.metrics.append([gauge("g", number, process="1")]),
            two.metrics.append([gauge("g", number, process="2")]),
        )
    found = await one_.metrics.series("g")
    history = await two.metrics.range(found, int(time.time() * 1000) - 60_000, int(time.time() * 1000) + 1000, HOUR)
    assert [sum(point.samples for point in history.points[each.id]) for each in found] == [10, 10]


async def test_metrics_are_in_no_backup(store: Store, folder: Any) -> None:
    await store.metrics.append([gauge("g", 1.0)])
    made = await store.backups.make(folder)
    with tarfile.open(made.path) as packed:
        assert "sophia.db" in packed.getnames() and not any("metrics" in name for name in packed.getnames())


VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=40)


@given(VALUES, st.integers(1, 39), st.booleans())
def test_folding_in_pieces_is_folding_at_once(values: list[float], cut: int, grows: bool) -> None:
    ticks = [pack(NOW + number * 700, {7: value, 9: 1.0}) for number, value in enumerate(values)]
    counters = {7} if grows else set[int]()
    whole = fold(ticks, 10_000, counters, {7})[7]
    pieces: dict[int, Point] = {}
    for part in (ticks[:cut], ticks[cut:]):
        for at, point in fold(part, 10_000, counters).get(7, {}).items():
            pieces[at] = join(pieces[at], point) if at in pieces else point
    assert pieces.keys() == whole.keys()
    for at in whole:
        assert numbers(pieces[at]) == pytest.approx(numbers(whole[at]), rel=1e-9, abs=1e-6)
    hours = coarsen(whole.values(), LEVELS[3])
    assert sum(point.samples for point in hours.values()) == len(values)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(0, 5))
def test_a_counter_rises_by_what_was_counted(steps: list[int], restart: int) -> None:
    values, total, counted = [0.0], 0.0, 0
    for number, step in enumerate(steps):
        total = float(step) if restart and number % (restart + 1) == restart and step < total else total + step
        counted += step
        values.append(total)
    assert isclose(risen(values), counted)


def test_a_tick_is_packed_and_read_back() -> None:
    values: Mapping[int, float] = {1: 1.5, 4_000_000_000: -0.0, 3: 1e300}
    tick = pack(NOW, values)
    assert isinstance(tick, Tick) and len(tick.ids) == 12 and len(tick.numbers) == 24
    found = fold([tick], 1000, set[int]())
    assert {id_: points[NOW].last for id_, points in found.items()} == values
