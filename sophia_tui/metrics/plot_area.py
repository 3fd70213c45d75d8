"""The section with the plot: what is plotted, the lines, and their newest values. Lines of blocks where no plot is."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Static

from sophia_core.metrics.view.plots import MOST_TRACKS, Window, chosen, legend, sparks, title
from sophia_core.metrics.view.seen import Source, Track
from sophia_core.metrics.view.text import Line, Piece
from sophia_tui.metrics.sheet import Sheet
from sophia_tui.metrics.state import PaneState

if TYPE_CHECKING:
    from sophia_tui.metrics.plot import Plot

LEAST_WIDE: Final = 50
LEAST_TALL: Final = 8
"""Cells below which a plot says less than a line of blocks."""
MOST_POINTS: Final = 240
"""Dots that all lines together may have: what can be drawn without anybody waiting for it."""
AGAIN: Final = 120.0
"""A stretch is asked for anew when so much of it has passed, and at most once a second."""
SHOWN_SPARKS: Final = 40
TONES: Final = ("$text-primary", "$text-warning", "$text-success", "$text-error")


class PlotArea(Vertical, can_focus=True):
    """Asks for the history of a signal and draws it."""

    DEFAULT_CSS = """
    PlotArea { height: 1fr; }
    PlotArea > #plotted, PlotArea > #lines { height: 1; }
    PlotArea > #plotted { text-style: bold; }
    PlotArea > #sparks { display: none; }
    PlotArea.-sparks > #sparks { display: block; }
    PlotArea.-sparks > #lines { display: none; }
    PlotArea.-sparks > Plot { display: none; }
    """

    plotted = query_one("#plotted", Static)
    legend = query_one("#lines", Static)
    blocks = query_one("#sparks", Sheet)

    class Wheeled(Message):
        """The wheel was turned over the plot."""

        def __init__(self, way: str) -> None:
            super().__init__()
            self.way = way

    def __init__(self, source: Source, clock: Callable[[], float], *, plain: bool, ascii_only: bool) -> None:
        """`plain`: no plot, for whom its lines would be noise or all of one colour."""
        super().__init__(id="plot-area")
        self._source, self._clock = source, clock
        self._plain, self._ascii = plain or ascii_only, ascii_only
        self._plot: Plot | None = None
        self.missing = ""
        """Why there is no plot, where that can be mended."""
        self._state = PaneState()
        self._tracks: Sequence[Track] = ()
        self._shown: tuple[str, Window] | None = None
        self._asked = 0.0
        self.cost_s = 0.0
        """What the last look at the history took, asking included."""

    def show_of(self, source: Source, clock: Callable[[], float]) -> None:
        """Another source, by its clock."""
        self._source, self._clock, self._shown = source, clock, None

    @property
    def has_plot(self) -> bool:
        """Whether there are lines to be drawn, rather than blocks."""
        return self._plot is not None and not self.has_class("-sparks")

    def drawn_dots(self) -> list[int]:
        """The columns in which there are dots of a line."""
        return self._plot.drawn_dots() if self._plot is not None else []

    def compose(self) -> ComposeResult:
        yield Static("", id="plotted", markup=False)
        blocks = Sheet(id="sparks")
        blocks.can_focus = False
        yield blocks
        yield Static("", id="lines", markup=False)

    def on_mount(self) -> None:
        self._fit()
        if not self._plain:
            self.run_worker(self._bring(), group="bring", exit_on_error=False)

    async def _bring(self) -> None:
        """Imports the library beside everything else that goes on, and puts the plot in its place."""
        try:
            module = await asyncio.to_thread(importlib.import_module, "sophia_tui.metrics.plot")
        except ImportError:
            self.missing = "`pip install 'sophia[metrics]'` brings plots."
            self._draw()
            return
        plot: Plot = module.Plot(id="plot")
        await self.mount(plot, before="#lines")
        self._plot = plot
        self.call_after_refresh(self._draw)

    def on_resize(self, event: events.Resize) -> None:
        """Smaller or larger: another way to draw may be the right one."""
        self._draw()

    def _fit(self) -> None:
        small = self.size.width < LEAST_WIDE or self.size.height < LEAST_TALL
        self.set_class(self._plain or small or self._plot is None, "-sparks")

    def look(self, state: PaneState, *, anew: bool = False) -> None:
        """Shows what is asked for; the history is read again when some of it has passed."""
        key = (state.signal, state.window)
        now = time.monotonic()
        rest = max(0.95, state.window.span / AGAIN)
        self._state = state
        if self._shown == key and not anew and now - self._asked < rest:
            return
        if self._shown is not None and self._shown[0] != state.signal:
            self._tracks = ()  # the lines of another signal are not what its name says
        self._shown, self._asked = key, now
        self.run_worker(self._look(state), group="history", exclusive=True, exit_on_error=False)

    async def _look(self, state: PaneState) -> None:
        began = time.perf_counter()
        now = self._clock()
        start, end = state.window.ends(now)
        points = max(40, min(MOST_POINTS, self.size.width))
        self._tracks = await self._source.history(state.signal, start, end, points)
        self.cost_s = time.perf_counter() - began
        await asyncio.sleep(0)  # a key comes between the reading, which may be out of memory at once, and the drawing
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted or not self.display:
            return
        self._fit()  # each time: it may have been brought, or shown, since
        state, now = self._state, self._clock()
        tracks, more = chosen(self._tracks)
        self._say(tracks)
        if self.has_class("-sparks"):
            lines: list[Line] = sparks(
                [each for each in self._tracks if each.points][:SHOWN_SPARKS],
                state.signal,
                state.window,
                now,
                max(20, self.blocks.size.width - 1),
                ascii_only=self._ascii,
            )
            self.blocks.show([*lines, *self._note()])
        elif self._plot is not None:
            thinned = [_thinned(each, MOST_POINTS // max(1, len(tracks))) for each in tracks]
            self._plot.draw(thinned, state.signal, state.window, now)
            self._say_lines(tracks, more)

    def _note(self) -> list[Line]:
        return [(), (Piece(self.missing, "muted"),)] if self.missing else []

    def _say(self, tracks: Sequence[Track]) -> None:
        state = self._state
        gap = " - " if self._ascii else " · "
        nothing = "" if tracks else f"{gap}nothing was measured"
        self.plotted.update(Content(f"{title(state.signal)}{gap}{state.window.words()}{nothing}"), layout=False)

    def _say_lines(self, tracks: Sequence[Track], more: int) -> None:
        parts: list[Content] = []
        for number, (name, value) in enumerate(legend(tracks, self._state.signal)):
            parts.append(Content.styled("━━ ", TONES[number % MOST_TRACKS]))
            parts.append(Content(f"{name} {value}   "))
        if more:
            parts.append(Content.styled(f"and {more} more under lines of blocks", "dim"))
        self.legend.update(Content("").join(parts), layout=False)

    def on_plot_wheeled(self, event: Plot.Wheeled) -> None:
        """The pane knows what that means."""
        event.stop()
        self.post_message(self.Wheeled(event.way))


def _thinned(track: Track, most: int) -> Track:
    """No more points than can be drawn in time: of each few the one that stands out most, and every gap."""
    over = len(track.points) / max(1, most)
    if over <= 1:
        return track
    kept: list[tuple[float, float | None]] = []
    step = int(over) + 1
    for first in range(0, len(track.points), step):
        few = track.points[first : first + step]
        gap = next((each for each in few if each[1] is None), None)
        kept.append(gap or max(few, key=lambda each: each[1] or 0.0))
    return Track(track.name, tuple(kept), track.resets)
