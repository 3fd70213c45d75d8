"""What the metrics pane costs: a look with twenty machines, a redraw of the plot, and a pane that nobody looks at.

    python -m benchmarks.metrics_pane [--live]

Processor time of the thread that draws; the longest block is what a key may have to wait for. Turning to a section
counts, with what is made for it then. `--live`: the whole app, which asks twenty servers with 3,000 series each.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from backend_client.scraping import types as signals
from sophia_core.first_look import first_look
from sophia_core.metrics.view.sections import TITLES, Section
from sophia_core.metrics.view.seen import Seen
from sophia_tui.panes.metrics import MetricsPane
from sophia_tui.top import TopApp
from sophia_tui.transcript import calm_collector
from tests.metrics.worlds import NOW, World, world

NODES: Final = 20
TIMES: Final = 30
LIMIT_MS: Final = 16.0
SECTIONS: Final = frozenset({"overview", "targets", "models", "plot"})


def _next(seen: Seen, number: int) -> Seen:
    """The same machines a second later: every number is another one."""
    readings = {}
    for name, each in seen.readings.items():
        values = {signal: value * (1 + 0.01 * (number % 7)) for signal, value in each.values.items()}
        values[signals.RUNNING] = float(number)
        readings[name] = replace(each, values=values)
    return replace(seen, at=seen.at + number, readings=readings)


class Blocks:
    """How long the loop was kept from other work, by each of its turns."""

    def __init__(self) -> None:
        self.turns: list[float] = []
        run: Any = asyncio.events.Handle._run

        def timed(handle: Any) -> None:
            began = time.thread_time()
            run(handle)
            self.turns.append((time.thread_time() - began) * 1000)

        handles: Any = asyncio.events.Handle
        handles._run = timed
        self._run = run

    def end(self) -> None:
        """As it was."""
        handles: Any = asyncio.events.Handle
        handles._run = self._run


async def _measure(size: tuple[int, int]) -> None:
    source = World(world(NODES))
    app = TopApp(first_look(), source)
    async with app.run_test(size=size) as pilot:
        pane = app.query_one(MetricsPane)
        pane.show_of(source, lambda: NOW)
        base = source.seen
        gc.collect()
        calm_collector()  # as the app itself does once it stands
        print(f"{size[0]}x{size[1]}, {NODES} machines, {len(base.targets)} targets")
        for section in [each for each in TITLES if each in SECTIONS]:
            turning = await _turned(pane, section)
            await _section(app, pane, source, base, section, turning)
        pane.display = False
        await pilot.pause()
        before = source.looks
        pane.tick()
        print(f"  hidden: {source.looks - before} looks")


async def _turned(pane: MetricsPane, section: Section) -> float:
    """The longest block of turning to a section, in milliseconds."""
    blocks = Blocks()
    pane.state = replace(pane.state, section=section)
    async with asyncio.timeout(30):
        while section == "plot" and not (pane.plot.has_plot and pane.plot.drawn_dots()):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
    blocks.end()
    return max(blocks.turns)


async def _section(app: TopApp, pane: MetricsPane, source: World, base: Seen, section: str, turning: float) -> None:
    blocks, began = Blocks(), time.thread_time()
    for number in range(TIMES):
        source.seen = _next(base, number)
        pane.tick()
        if section == "plot":
            pane.plot.look(pane.state, anew=True)
        for _ in range(60):
            await asyncio.sleep(0)
        await asyncio.sleep(1 / 30)  # a frame, so that it is drawn
    spent = (time.thread_time() - began) * 1000 / TIMES
    blocks.end()
    longest = sorted(blocks.turns)[-TIMES // 10 :]
    verdict = "ok" if max(longest[-1], turning) <= LIMIT_MS else "TOO LONG"
    print(
        f"  {section:9} {spent:5.1f} ms a look, blocks up to {longest[0]:.1f} ms (once {longest[-1]:.1f}), "
        f"turning to it {turning:.1f} ms  {verdict}"
    )


async def _live(port: int, seconds: float, size: tuple[int, int] = (120, 40)) -> None:
    """The real app over real pages: what its loop is kept from, in each second."""
    from sophia_core.first_look import FirstLook
    from sophia_core.settings import load_settings
    from sophia_tui.app import SophiaApp

    named = "".join(
        f'[[metrics.targets]]\nname = "t{n}"\nkind = "vllm"\nurl = "http://127.0.0.1:{port}/{n}"\n'
        for n in range(NODES)
    )
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "config.toml").write_text(f"[metrics]\n{named}")
        nobody = {"SOPHIA_BASE_URL": "http://127.0.0.1:9/v1", "SOPHIA_MODEL": "m", "SOPHIA_NO_KEYRING": "1"}
        loaded = load_settings({**nobody, "SOPHIA_HOME": home})
        app = SophiaApp(FirstLook.of(loaded), lambda: loaded)
        async with app.run_test(size=size) as pilot:
            await app.ready.wait()
            metrics = app.runtime.metrics
            await _until(lambda: sum(each.health == "up" for each in metrics.readings().values()) == NODES)
            calm_collector()
            print(f"the whole app, {NODES} servers with 3,000 series each, {size[0]}x{size[1]}")
            await _watched("chat", seconds)
            for key, name in (("f5", "overview"), ("2", "plot")):
                await pilot.press(key)
                await _looked(app.query_one("#metrics", MetricsPane), name, seconds)
        await app.runtime.close()


async def _looked(pane: MetricsPane, section: str, seconds: float) -> None:
    await _until(lambda: pane.is_mounted and pane.is_on_screen and pane.state.section == section)
    if section == "plot":
        await _until(lambda: pane.plot.has_plot and pane.plot.drawn_dots())
    looks = pane.looks
    await _watched(section, seconds)
    assert pane.looks > looks, "nobody looked"


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.05)


async def _watched(what: str, seconds: float) -> None:
    await asyncio.sleep(2.0)
    blocks, began, wall = Blocks(), time.process_time(), time.perf_counter()
    longest = []
    for _ in range(round(seconds * 5)):
        first = len(blocks.turns)
        await asyncio.sleep(0.2)
        longest.append(max(blocks.turns[first:]))
    blocks.end()
    share = (time.process_time() - began) / (time.perf_counter() - wall)
    longest.sort()
    middle, late = longest[len(longest) // 2], longest[int(len(longest) * 0.95)]
    verdict = "ok" if late <= LIMIT_MS else "TOO LONG"
    print(
        f"  {what:9} {share:5.1%} of a core; longest block of each 0.2 s: half the time {middle:.1f} ms, "
        f"p95 {late:.1f} ms, once {longest[-1]:.1f} ms  {verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    if not given.live:
        for terminal in ((80, 24), (120, 40), (200, 50)):
            asyncio.run(_measure(terminal))
        return
    from benchmarks.scraping import serve

    receiver, sender = multiprocessing.Pipe(duplex=False)
    servers = multiprocessing.get_context("spawn").Process(target=serve, args=(sender, False), daemon=True)
    servers.start()
    port, _ = receiver.recv()
    asyncio.run(_live(port, given.seconds))
    servers.terminate()


if __name__ == "__main__":
    main()
