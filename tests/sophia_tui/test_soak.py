"""A short while of somebody who uses everything: nothing is raised, and no round leaves anything behind."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import soak

LONG_S = 600.0
"""So long is never needed, however busy the machine is."""


async def test_using_everything_leaves_nothing_behind(tmp_path: Path) -> None:
    told = await soak(tmp_path, LONG_S, most=2)
    assert told.wrong == []
    before, after = told.rounds
    assert (after.threads, after.listeners, after.widgets) == (before.threads, before.listeners, before.widgets)
    assert after.tasks <= before.tasks + 2 and after.files <= before.files + 2
