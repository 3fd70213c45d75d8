"""Looking at the metrics: sections, plots, the order of tables."""

from __future__ import annotations

from sophia_core.metrics.view.text import words
from sophia_tui.panes.metrics import MetricsPane
from tests.metrics.worlds import NOW, World, world
from tests.sophia_tui.every.walk import Walk, scene


async def opened(walk: Walk, source: World) -> MetricsPane:
    """The pane, over these machines."""
    await walk.press("f5")
    pane = walk.app.query_one("#metrics", MetricsPane)
    await walk.until(lambda: pane.is_mounted and pane.size.height, "the pane")
    pane.show_of(source, lambda: NOW)
    await walk.settle()
    return pane


@scene("metrics.view", "metrics.table", "metrics.pause")
async def sections(walk: Walk) -> None:
    source = World(world(3))
    pane = await opened(walk, source)
    assert "gh200-00" in words(pane.sheet.lines[0])
    await walk.press("f2")
    await walk.begin("/metrics.view models")
    await walk.until(lambda: pane.table and pane.state.section == "models", "the models")
    assert walk.app.switcher.current == "metrics", "it is shown from anywhere"
    await walk.press("s")
    await walk.until(lambda: pane.table and pane.table.sort == "errors", "the next column")
    assert "no column" in await walk.do("/metrics.table colour")
    await walk.press("f5", "p")
    looks = source.looks
    pane.tick()
    assert pane.state.paused and source.looks == looks
    await walk.press("p", "right")
    assert pane.state.section == "tenants" and source.looks > looks
    await walk.press("escape")
    assert walk.app.switcher.current == "chat"


@scene("metrics.plot", "metrics.zoom", "metrics.range")
async def plots(walk: Walk) -> None:
    source = World(world(2))
    pane = await opened(walk, source)
    await walk.do("/plot gpu_power")
    assert pane.state.signal == source.asked[-1][0] == "gpu_power"
    assert "Did you mean" in await walk.do("/plot gpu_powr")
    await walk.press("f5", "n")
    assert pane.state.signal != "gpu_power"
    await walk.do("/metrics.range 6h")
    await walk.do("/metrics.zoom in")
    await walk.settle()
    _, start, end = source.asked[-1]
    assert (end, end - start) == (NOW, 10_800)
    await walk.until(lambda: pane.plot.has_plot and pane.plot.drawn_dots(), "the lines")
