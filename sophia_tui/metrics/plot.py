"""The plot itself. Imported in a thread, and only where there is something to plot: it brings numpy along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import floor
from typing import ClassVar, Final, Literal

from rich.style import Style
from textual import events, on
from textual.app import ComposeResult, RenderResult
from textual.binding import BindingType
from textual.containers import Grid
from textual.message import Message
from textual.visual import VisualType
from textual.widgets import Static
from textual_hires_canvas import Canvas, HiResMode
from textual_plot import PlotWidget
from textual_plot.axis_formatter import AxisFormatter, NumericAxisFormatter
from textual_plot.plot_widget import FloatScalar

from sophia_core.metrics.view.plots import Window, pieces, say, time_words, top_of
from sophia_core.metrics.view.seen import Track

LINES: Final = ("plot--one", "plot--two", "plot--three", "plot--four")
MARGIN: Final = 9
"""Cells for the values at the left."""
BRAILLE: Final = 0x2800
DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot within a sign, by row and column."""
TICK: Final = 18
"""Cells that a moment on the axis takes, with what is blank beside it."""


class _Moments(AxisFormatter):
    """Moments as the time of day, or the day."""

    def __init__(self, room: Callable[[], int]) -> None:
        self.span, self._room = 3600.0, room

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        count = max(1, self._room() // TICK)
        return [min_ + (max_ - min_) * (number + 0.5) / count for number in range(count)] if max_ > min_ else []

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [time_words(each, self.span) for each in ticks]


class _Values(NumericAxisFormatter):
    """Values in the unit of what is plotted."""

    signal = ""

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [say(self.signal, each) for each in ticks]


class QuickCanvas(Canvas):
    """As its base, in half the time: dots are gathered as the bits of a sign, and the style is looked up once."""

    _style: Style | None = None

    def set_hires_pixels(
        self,
        coordinates: Iterable[tuple[FloatScalar, FloatScalar]],
        hires_mode: HiResMode | None = None,
        style: str = "white",
    ) -> None:
        """Dots of Braille, the only ones that are used here."""
        cells: dict[tuple[int, int], int] = {}
        for x, y in coordinates:
            across, down = floor(x * 2), floor(y * 4)
            cell = across >> 1, down >> 2
            cells[cell] = cells.get(cell, 0) | DOTS[down & 3][across & 1]
        width, height = self.size
        for (across, down), bits in cells.items():
            if 0 <= across < width and 0 <= down < height:
                self.set_pixel(across, down, chr(BRAILLE + bits), style)

    @property
    def rich_style(self) -> Style:
        """The style of everything that has none of its own."""
        if self._style is None:
            self._style = super().rich_style
        return self._style

    def forget_style(self) -> None:
        """Looks it up again."""
        self._style = None

    def notify_style_update(self) -> None:
        """Another theme."""
        super().notify_style_update()
        self.forget_style()


class _NoLegend(Static):
    """In the place of the legend: the area says elsewhere which line is whose, and nothing is laid out for it."""

    DEFAULT_CSS = "_NoLegend { display: none; }"

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Says nothing."""


class Plot(PlotWidget, can_focus=False, inherit_bindings=False):
    """Lines over time. Keys and wheel are the pane's: they choose another stretch, which is asked for anew."""

    DEFAULT_CSS = """
    Plot {
        height: 1fr;
        max-height: 32;  /* taller ones say no more, and take longer than anybody should wait for a key */
        & > .plot--axis { color: $border-blurred; }
        & > .plot--tick { color: $text-muted; text-style: none; }
        & > .plot--one { color: $text-primary; }
        & > .plot--two { color: $text-warning; }
        & > .plot--three { color: $text-success; }
        & > .plot--four { color: $text-error; }
        & > .plot--reset { color: $text-muted; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {*LINES, "plot--reset"}
    BINDINGS: ClassVar[list[BindingType]] = []

    @dataclass
    class Wheeled(Message):
        """The wheel was turned over it."""

        way: Literal["in", "out"]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, allow_pan_and_zoom=False)
        self._putting = self._asked = False
        self._moments, self._values = _Moments(lambda: self.size.width - MARGIN), _Values()
        self.set_reactive(PlotWidget.margin_left, MARGIN)
        self.set_reactive(PlotWidget.margin_top, 0)
        self.set_reactive(PlotWidget.margin_bottom, 1)
        self.set_x_formatter(self._moments)
        self.set_y_formatter(self._values)

    def compose(self) -> ComposeResult:
        with Grid():
            for name in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield QuickCanvas(1, 1, id=name)
        yield _NoLegend(id="legend")

    def draw(self, tracks: Sequence[Track], signal: str, window: Window, now: float) -> None:
        """Shows these lines over that stretch, torn where nothing was measured."""
        start, end = window.ends(now)
        self._moments.span = window.span
        self._values.signal = signal
        self.clear()
        self.set_xlimits(start, end)
        self.set_ylimits(0.0, top_of(tracks, signal))
        for track, line in zip(tracks, LINES, strict=False):
            colour = str(self.get_component_rich_style(line, partial=True))
            for piece in pieces(track):
                xs, ys = [at for at, _ in piece], [value for _, value in piece]
                if len(piece) == 1:
                    self.scatter(xs, ys, marker_style=colour, hires_mode=HiResMode.BRAILLE)
                else:
                    self.plot(xs, ys, line_style=colour, hires_mode=HiResMode.BRAILLE)
            for at in track.resets:
                if start <= at <= end:
                    self.add_v_line(at, str(self.get_component_rich_style("plot--reset", partial=True)))
        self._put_on_canvas()

    def render(self) -> RenderResult:
        """Draws at its own time: with the layout of the whole screen before and its drawing after, all in one turn of
        the loop, a key would wait for twice as long."""
        if self._putting:
            return super().render()
        if self._needs_rerender and not self._asked:
            self._asked = True
            self.call_later(self._put_on_canvas)
        return ""

    def _put_on_canvas(self) -> None:
        """Each canvas is marked for drawing once, not with every dot on it."""
        self._asked, self._putting = False, True
        with ExitStack() as held:
            held.callback(setattr, self, "_putting", False)
            for canvas in self.query(QuickCanvas):
                canvas.forget_style()
                held.enter_context(canvas.batch_refresh())
            self.render()

    def drawn_dots(self) -> list[int]:
        """The columns in which there are dots of a line."""
        canvas = self.query_one("#plot", QuickCanvas)
        signs = range(BRAILLE, BRAILLE + 256)
        width, height = canvas.size
        return [x for x in range(width) if any(ord(canvas.get_pixel(x, y)[0]) in signs for y in range(height))]

    @on(events.MouseScrollUp)
    def wheel_up(self, event: events.MouseScrollUp) -> None:
        """Nearer."""
        event.stop()
        self.post_message(self.Wheeled("in"))

    @on(events.MouseScrollDown)
    def wheel_down(self, event: events.MouseScrollDown) -> None:
        """Further away."""
        event.stop()
        self.post_message(self.Wheeled("out"))
