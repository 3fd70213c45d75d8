"""What can be done with the metrics pane: sections, plots, stretches of time, the order of tables. Imports nothing of
Textual, so that a shell can list them."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from sophia_core.metrics.view.seen import Seen
    from sophia_tui.panes.metrics import MetricsPane

Sections = Literal[
    "overview", "plot", "models", "tenants", "targets", "routes", "slow", "own", "objectives", "alerts", "cost",
    "next", "previous",
]  # fmt: skip
Ranges = Literal["5m", "1h", "6h", "24h", "7d", "next"]


class Holder(Protocol):
    """An app with a metrics pane."""

    def show_pane(self, name: str) -> None:
        """Shows it."""
        ...

    def query_one(self, selector: str, expect_type: type[MetricsPane], /) -> MetricsPane:
        """Finds it."""
        ...


class MetricsCommands:
    """Each shows the pane first, so that one sees what it did."""

    def __init__(self, app: Holder) -> None:
        self._app = app

    def _pane(self) -> MetricsPane:
        from sophia_tui.panes.metrics import MetricsPane

        self._app.show_pane("metrics")
        pane = self._app.query_one("#metrics", MetricsPane)
        pane.take_keys()
        return pane

    @command("metrics.view", needs_app=True)
    async def view(self, section: Sections) -> None:
        """Show a section of the metrics: overview, plot, models, tenants, targets, routes, slow turns, alerts …"""
        pane = self._pane()
        match section:
            case "next" | "previous":
                pane.state = pane.state.beside(1 if section == "next" else -1)
            case _:
                pane.state = replace(pane.state, section=section)

    @command("metrics.plot", slash="plot", needs_app=True)
    async def plot(self, signal: str) -> None:
        """Plot a signal over time, such as gpu_power; next and previous go through those that somebody tells."""
        from sophia_core.metrics.view.plots import PLOTTED, next_signal

        pane, wanted = self._pane(), signal.strip().casefold()
        if wanted in ("next", "previous"):
            wanted = next_signal(_told(pane.seen), pane.state.signal, 1 if wanted == "next" else -1)
        elif wanted not in PLOTTED:
            near = difflib.get_close_matches(wanted, PLOTTED, n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(PLOTTED)}."
            raise CommandError(f"There is no signal {signal!r}.", hint)
        pane.state = replace(pane.state, section="plot", signal=wanted)

    @command("metrics.zoom", needs_app=True)
    async def zoom(self, way: Literal["in", "out", "reset", "back", "forward"]) -> None:
        """Plot a shorter or longer stretch, move it back or forward, or go back to the last hour up to now."""
        pane = self._pane()
        pane.state = replace(pane.state.zoomed(way), section="plot")

    @command("metrics.range", needs_app=True)
    async def range(self, stretch: Ranges) -> None:
        """Plot the last minutes, hours or days up to now."""
        from sophia_core.metrics.view.plots import RANGES

        pane = self._pane()
        long = pane.state.next_range() if stretch == "next" else RANGES[stretch]
        pane.state = replace(pane.state.ranged(long), section="plot")

    @command("metrics.pause", needs_app=True)
    async def pause(self) -> None:
        """Let the metrics pane stay as it is, or go on again; what is measured meanwhile is kept."""
        pane = self._pane()
        pane.state = replace(pane.state, paused=not pane.state.paused)

    @command("metrics.table", needs_app=True)
    async def table(self, column: str) -> None:
        """Sort the table that is shown by a column; next takes the next one, reverse turns it round."""
        pane, wanted = self._pane(), column.strip().casefold()
        table = pane.table
        if table is None:
            raise CommandError("No table is shown.", "/metrics.view models shows one.")
        if wanted == "next":
            pane.state = pane.state.sorted_next(table)
        elif wanted == "reverse":
            pane.state = pane.state.reversed(table)
        elif any(each.key == wanted for each in table.columns):
            pane.state = pane.state.sorted(wanted)
        else:
            columns = ", ".join(each.key for each in table.columns)
            raise CommandError(f"This table has no column {column!r}.", f"It has {columns}.")


def _told(seen: Seen) -> list[str]:
    """The signals that some target tells, quantiles as they are plotted."""
    found: dict[str, None] = {}
    for reading in seen.readings.values():
        found.update(dict.fromkeys(reading.values))
        found.update(dict.fromkeys(f"{signal}_{which}" for signal in reading.quantiles for which in ("p50", "p95")))
    return list(found)
