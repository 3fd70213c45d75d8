"""Counts that outlive the process, on the real store."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from local_store import StorePaths
from local_store.samples import Retention
from sophia_core.events import Bus, TurnFinished
from sophia_core.metrics.keeping import Keeper
from sophia_core.metrics.own import Own
from sophia_core.objectives.books import OwnBooks
from sophia_core.objectives.objectives import Objectives
from sophia_core.objectives.settings import ObjectiveSettings
from sophia_core.vault import Vault

NOW = time.time() - 60
HOUR = 3600.0


class Day:
    """One process after the other on one store, each at its time."""

    def __init__(self, home: Path) -> None:
        self._paths = StorePaths(home / "store", home / "device")

    async def lived(self, at: float, good: int, bad: int) -> Objectives:
        """A process that saw so many turns, and what it knew before it closed."""
        bus, now = Bus(), lambda: at
        vault = Vault(self._paths, bus, allow_keyring=False)
        await vault.open()
        own = Own(now)
        keeper = Keeper(vault, bus, own, Retention, clock=now)
        objectives = Objectives(ObjectiveSettings(), bus, OwnBooks(own, vault, now), now)
        bus.subscribe(own)
        bus.subscribe(objectives)
        keeper.start()
        await objectives.load()
        for ok in [True] * good + [False] * bad:
            answered = TurnFinished("s", "a", "r", "", "complete", "gh200")
            bus.publish(answered if ok else replace(answered, status="failed", error_type="timeout"))
        await keeper.close()
        await vault.close()
        return objectives


async def test_what_one_process_counted_the_next_one_knows(tmp_path: Path) -> None:
    day = Day(tmp_path)
    await day.lived(NOW - 40 * 24 * HOUR, good=500, bad=0)  # longer ago than the objective's window
    await day.lived(NOW - 30 * HOUR, good=90, bad=10)
    await day.lived(NOW - 3 * HOUR, good=50, bad=0)
    availability = (await day.lived(NOW, good=1, bad=0)).states()[0]
    assert availability.events == 151
    assert availability.good is not None
    assert round(availability.good * 151) == 141
    assert availability.state == "breached", "more than a thousandth failed, and for six hours nothing does"
