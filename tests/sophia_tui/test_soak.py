"""A short while of somebody who uses everything: nothing is raised, and no round leaves anything behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import HELD, SETTLED, Left, Told, soak

LONG_S = 600.0
"""So long is never needed, however busy the machine is."""


async def test_using_everything_leaves_nothing_behind(tmp_path: Path) -> None:
    told = await soak(tmp_path, LONG_S, most=2)
    assert told.wrong == []
    before, after = told.rounds
    assert (after.threads, after.listeners, after.widgets) == (before.threads, before.listeners, before.widgets)
    assert after.tasks <= before.tasks + 2 and after.files <= before.files + 2


@pytest.mark.parametrize(("each_mb", "grows"), [(0.05, False), (0.5, True)])
def test_memory_is_held_to_what_it_was_once_it_had_settled(each_mb: float, grows: bool) -> None:
    def left(rss_mb: float) -> Left:
        return Left(rss_mb, tasks=1, threads=1, files=1, listeners=1, widgets=1, objects=1)

    told = Told([left(100.0 + 2 * number) for number in range(SETTLED)])
    told.rounds += [left(130.0 + each_mb * number) for number in range(HELD)]
    told.judge()
    assert bool(told.wrong) is grows
