"""What looking at a long run costs: any point of its past, a look at it while it goes on, and a thousand steps drawn.

    python -m benchmarks.swarm_replay [--events N] [--steps N]

The events are in memory here: what reading them from the store adds is what `benchmarks.swarm` measures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sophia_core.first_look import first_look
from sophia_core.swarm.run_log import Happened
from sophia_core.swarm.view.folding import fold
from sophia_core.swarm.view.history import History
from sophia_core.swarm.view.state import OF_A_RUN, section_named
from sophia_tui.panes.swarm import SwarmPane
from sophia_tui.top import TopApp
from sophia_tui.transcript import calm_collector
from tests.swarm.worlds import World, many

POINT_MS: Final = 300.0
BLOCK_MS: Final = 16.0
SIZES: Final = ((80, 24), (200, 50))
POINTS: Final = 40
TICKS: Final = 40


def percent(times: Sequence[float], share: float) -> float:
    """The time below which so large a share of them lies."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


async def replay(events: list[Happened]) -> bool:
    """Any point of the past."""
    history = History(events[0].run_id)

    async def page(after: int, limit: int) -> Sequence[Happened]:
        return events[after : after + limit]

    began = time.perf_counter()
    await history.catch_up(page)
    took = time.perf_counter() - began
    print(f"heard {len(events):,} events in {took * 1000:,.0f} ms, {len(events) / took:,.0f} a second")
    chance, times = random.Random(3), []
    for number in (chance.randrange(1, len(events)) for _ in range(POINTS)):
        began = time.perf_counter()
        found = await history.at(number, page)
        times.append((time.perf_counter() - began) * 1000)
        assert found.number == number
    assert (await history.at(len(events) // 2, page)) == fold(events[0].run_id, events[: len(events) // 2])
    print(f"any point: p50 {percent(times, 0.5):.1f} ms, longest {max(times):.1f} ms (at most {POINT_MS:.0f})")
    return max(times) <= POINT_MS


class Growing(World):
    """Tells some more of the run each time it is asked."""

    def __init__(self, events: list[Happened], begun: int) -> None:
        super().__init__(events, dead=False)
        self.all, self.told = events, begun
        self.kept[events[0].run_id] = events[:begun]

    def more(self, count: int) -> None:
        """So many events later."""
        self.told = min(len(self.all), self.told + count)
        self.kept[self.all[0].run_id] = self.all[: self.told]


class Pane(TopApp):
    """The pane alone."""

    def __init__(self, world: World, at: float) -> None:
        super().__init__(first_look(), Any)  # type: ignore[arg-type]
        self._world, self._at = world, at

    def compose(self) -> Any:
        yield SwarmPane(self._world, lambda *_: None, clock=lambda: self._at)


async def draw(events: list[Happened], size: tuple[int, int]) -> bool:
    """A run of a thousand steps, drawn while it goes on."""
    world = Growing(events, len(events) // 2)
    app, good = Pane(world, events[-1].at / 1000), True
    async with app.run_test(size=size) as pilot:
        pane = app.query_one(SwarmPane)
        await pilot.pause()
        calm_collector()
        for section in sorted(OF_A_RUN):
            pane.state = replace(pane.state, section=section_named(section) or "graph", step="each/1")
            for _ in range(5):
                await pilot.pause()
            times = [await _tick(pane, pilot, world) for _ in range(TICKS)]
            p95, longest = percent(times, 0.95), max(times)
            steps = pane.seen.view.total if pane.seen.view else 0
            figures = f"p50 {percent(times, 0.5):.1f}, p95 {p95:.1f}, longest {longest:.1f} ms"
            print(f"{size[0]}x{size[1]} {section:7} {steps} steps: {figures}")
            good = good and longest <= BLOCK_MS
    return good


async def _tick(pane: SwarmPane, pilot: Any, world: Growing) -> float:
    """Processor time of one turn of the loop at most: what is read and folded, laid out, and drawn."""
    world.more(20)
    folding = time.thread_time()
    seen = await pane._looking.look(pane.state.run, None, lists=False)
    folded = (time.thread_time() - folding) * 1000
    began = time.thread_time()
    pane.seen = seen
    pane.show()
    laid = (time.thread_time() - began) * 1000
    began = time.thread_time()
    pane.screen._compositor.render_update(full=False)
    drawn = (time.thread_time() - began) * 1000
    await pilot.pause()
    return max(folded, laid + drawn)


async def main() -> int:
    """Measures; the exit code says whether the limits were kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=1_000)
    chosen = parser.parse_args()
    events = many(chosen.steps, chosen.events)
    good = await replay(events)
    for size in SIZES:
        good = await draw(many(chosen.steps, 12_000), size) and good
    print("good" if good else "a limit was not kept")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
