"""What was measured: in memory for minutes, in the store for weeks; gaps stay gaps."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_store import StorePaths
from local_store.samples import Sample
from sophia_core.events import Bus
from sophia_core.metrics.history import Remembered, joined, step_for, with_gaps
from sophia_core.metrics.ports import Quantiles, Reading
from sophia_core.metrics.recent import KEEP_S, MOST_SERIES, Recent, flat
from sophia_core.vault import Vault

NOW = 1_790_000_000.0
BUSY = ("gpu_utilization", ())


def remembered(recent: Recent, vault: Vault, now: float = NOW, interval: float = 1.0) -> Remembered:
    return Remembered(recent, vault, lambda target: interval, lambda: now)


def closed(tmp_path: Path) -> Vault:
    return Vault(StorePaths(tmp_path / "s", tmp_path / "d"), Bus(), allow_keyring=False)


def test_a_reading_becomes_series_and_says_whether_it_is_up() -> None:
    told = Quantiles(0.1, 0.2, None, 0.15, 7)
    by = {"gpu": {"0": {"gpu_power": 300.0}}, "tenant": {"acme": {"requests_per_s": 1.0}}}
    found = flat(Reading("box", NOW, "up", values={"x": 1.0, "y": float("nan")}, quantiles={"q": told}, by=by))
    assert found == {
        ("up", ()): 1.0,
        ("x", ()): 1.0,
        ("q_p50", ()): 0.1,
        ("q_p95", ()): 0.2,
        ("gpu_power", (("gpu", "0"),)): 300.0,
    }


def test_a_target_with_endless_numbers_is_cut() -> None:
    many = Reading("box", NOW, "up", values={f"s{number}": 1.0 for number in range(1000)})
    assert len(flat(many)) == MOST_SERIES


def test_memory_forgets_what_is_old_and_what_came_no_more() -> None:
    recent = Recent()
    recent.add("box", 0.0, {("old", ()): 1.0})
    for second in range(1, int(KEEP_S) * 2):
        recent.add("box", float(second), {BUSY: float(second)})
    assert recent.keys("box", "old") == []
    since = recent.since("box")
    assert since is not None and KEEP_S <= KEEP_S * 2 - 1 - since < KEEP_S * 1.4
    assert recent.line("box", BUSY, 1700.0, 1703.0) == [(1700.0, 1700.0), (1701.0, 1701.0), (1702.0, 1702.0)]


def test_a_clock_that_is_put_back_begins_anew() -> None:
    recent = Recent()
    recent.add("box", 100.0, {BUSY: 1.0})
    recent.add("box", 50.0, {BUSY: 2.0})
    assert recent.line("box", BUSY, 0.0, 200.0) == [(50.0, 2.0)]


def test_gaps_are_nobodys_numbers() -> None:
    line = [(0.0, 1.0), (1.0, 1.0), (9.0, 2.0)]
    assert with_gaps(line, 3.0, 10.0) == ((0.0, 1.0), (1.0, 1.0), (5.0, None), (9.0, 2.0))
    assert with_gaps(line, 3.0, 20.0)[-1] == (14.5, None)
    assert with_gaps([], 3.0, 10.0) == ()


@given(st.lists(st.floats(0, 1e4), max_size=50, unique=True).map(sorted), st.floats(0.5, 100))
def test_no_line_is_drawn_over_more_than_the_limit(times: list[float], limit: float) -> None:
    drawn = with_gaps([(at, 1.0) for at in times], limit, 1e4)
    assert [at for at, value in drawn if value is not None] == times
    assert all(b - a <= limit for (a, one), (b, two) in pairwise(drawn) if None not in (one, two))


@given(st.floats(1, 1e8), st.integers(2, 2000))
def test_no_more_points_than_asked_for(seconds: float, points: int) -> None:
    step = step_for(seconds, points)
    assert seconds / step <= points or step == 86_400


def test_points_are_joined_by_their_mean() -> None:
    assert joined([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 2) == [(0.5, 2.0), (2.0, 5.0)]


async def test_minutes_come_from_memory_without_a_store(tmp_path: Path) -> None:
    recent = Recent()
    for second in range(60):
        recent.add("box", NOW - 60 + second, {BUSY: second / 100, ("gpu_power", (("gpu", "1"),)): 5.0})
    history = remembered(recent, closed(tmp_path))
    (track,) = await history.history("gpu_utilization", NOW - 60, NOW, 60)
    assert track.name == "box" and len(track.points) == 60 and None not in [value for _, value in track.points]
    assert await history.history("gpu_power", NOW - 60, NOW, 60) == ()
    (part,) = await history.history("gpu_power", NOW - 60, NOW, 60, part="gpu")
    assert part.name == "box gpu 1"
    assert await history.history("gpu_utilization", NOW - 60, NOW, 60, target="other") == ()
    assert await history.history("gpu_utilization", NOW, NOW - 60, 60) == ()


async def test_what_is_asked_rarely_has_no_gaps_for_that(tmp_path: Path) -> None:
    recent = Recent()
    for look in range(12):
        recent.add("box", NOW - 60 + look * 5, {BUSY: 0.5})
    (track,) = await remembered(recent, closed(tmp_path), interval=5.0).history("gpu_utilization", NOW - 60, NOW, 60)
    assert len(track.points) == 12 and None not in [value for _, value in track.points]


@pytest.fixture
async def vault(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = closed(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_a_week_comes_from_the_store_with_its_gap(vault: Vault) -> None:
    """A day in the middle was not measured; of what has quantiles the 95th is drawn; the app's own counts are rates."""
    assert vault.store is not None
    kept, now_ms = vault.store.metrics, int(time.time() * 1000)
    start = now_ms - 7 * 86_400_000
    for hour in range(7 * 24):
        if not 60 <= hour < 90:
            taken = [
                Sample("time_to_first_token_p95", 0.25, {"target": "box"}),
                Sample("chat_requests_total", 36.0, {"target": "sophia", "provider": "box"}),
            ]
            await kept.append(taken, start + hour * 3_600_000)
    await kept.prune()
    history = remembered(Recent(), vault, now_ms / 1000)
    (track,) = await history.history("time_to_first_token", start / 1000, now_ms / 1000, 240)
    values = [value for _, value in track.points]
    assert values.count(None) == 1 and set(values) == {0.25, None} and len(values) > 120
    at = [at for at, _ in track.points]
    assert at == sorted(at) and at[-1] <= now_ms / 1000
    (turns,) = await history.history("chat_requests_total", start / 1000, now_ms / 1000, 240, part="provider")
    assert {value for _, value in turns.points} == {0.01, None}


async def test_the_store_answers_where_memory_begins_too_late(vault: Vault) -> None:
    assert vault.store is not None
    now = time.time()
    for second in range(120):
        await vault.store.metrics.append([Sample(BUSY[0], 0.5, {"target": "box"})], int((now - 120 + second) * 1000))
    recent = Recent()
    recent.add("box", now - 1, {BUSY: 0.9})
    (track,) = await remembered(recent, vault, now).history("gpu_utilization", now - 120, now, 120)
    assert len(track.points) > 100
