"""The pictures of the metrics pane: nothing to see, one machine, many, all gone, money, alerts, lines."""

from __future__ import annotations

import time
from dataclasses import replace

from sophia_core.metrics.view.seen import CostLine, Seen
from tests.metrics.worlds import NOW, World, fallen, world
from tests.sophia_tui.every.metrics_pane import opened as metrics
from tests.sophia_tui.every.states import state
from tests.sophia_tui.every.walk import Walk


@state()
async def metrics_empty(walk: Walk) -> None:
    """Nobody tells numbers: how that is changed."""
    await metrics(walk, World(Seen(NOW)))


@state()
async def metrics_one_machine(walk: Walk) -> None:
    await metrics(walk, World(world(1)))


@state()
async def metrics_many_machines(walk: Walk) -> None:
    await metrics(walk, World(world(20)))


@state()
async def metrics_all_down(walk: Walk) -> None:
    await metrics(walk, World(fallen(world(3), "down", "connection refused")))


@state()
async def metrics_stale_and_locked(walk: Walk) -> None:
    locked = replace(fallen(world(2), "stale", "it did not answer in 2 s"), note="The store is locked.")
    await metrics(walk, World(locked))


@state()
async def metrics_cost(walk: Walk) -> None:
    """What was spent, what the month will cost, and how budgets stand."""
    spent = (
        CostLine("paid answers today", 4.2, 5.0),
        CostLine("this month", 61.3, note="$88.20 by its end ($74.00 to $102.40)."),
        CostLine("gh200 idle today", 51.2, note="$3.20 an hour; $9.10 booked to answers from here, busy 171 min"),
        CostLine("budget team", 83.0, 100.0, "2026-11"),
        CostLine("budget reviewer", 0.021, 0.02, "2026-11-23, stops now"),
    )
    await metrics(walk, World(replace(world(1), costs=spent)))
    await walk.do("/metrics.view cost")


@state()
async def metrics_alerts(walk: Walk) -> None:
    seen = world(2)
    known = (*seen.alerts, *(replace(each, key="other", action="acknowledge") for each in seen.alerts[:1]))
    await metrics(walk, World(replace(seen, alerts=known)))
    await walk.do("/metrics.view alerts")


@state(TZ="UTC")
async def metrics_plot(walk: Walk) -> None:
    time.tzset()
    pane = await metrics(walk, World(world(3)))
    await walk.do("/plot requests_running")
    await walk.until(lambda: pane.plot.has_plot and pane.plot.drawn_dots(), "the lines")
    await walk.press("p")
