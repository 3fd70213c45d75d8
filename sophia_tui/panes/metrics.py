"""The metrics pane: how the servers are, what this app measured, and how it went over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.reactive import reactive
from textual.widgets import ContentSwitcher, Static

from sophia_core.metrics.view.cards import overview
from sophia_core.metrics.view.page import header
from sophia_core.metrics.view.sections import TITLES, summary, table_of
from sophia_core.metrics.view.seen import Seen, Source
from sophia_core.metrics.view.table import Table, column_at, laid_out
from sophia_core.metrics.view.text import Line, Piece
from sophia_tui.metrics.plot_area import PlotArea
from sophia_tui.metrics.sectionbar import SectionBar
from sophia_tui.metrics.sheet import Sheet
from sophia_tui.metrics.state import PaneState

Run = Callable[..., None]
"""Runs a command by its name, with what it is given."""
EVERY_S: Final = 1.0
FAR_S: Final = 3.0
"""Where the way to the terminal is long."""
CATCH_UP: Final = 5
"""Looks between two at what is not in memory."""
SECTION_KEYS: Final = dict(zip(("1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "c"), TITLES, strict=True))
KEYS: Final = {
    "all": (("← →", "sections"), ("1-9 a c", "go to one"), ("p", "pause")),
    "page": (("↑ ↓", "scroll"),),
    "table": (("s", "sort"), ("S", "turn round"), ("↑ ↓", "rows"), ("Enter", "open")),
    "plot": (("n N", "signal"), ("+ -", "zoom"), ("[ ]", "move"), ("0", "now"), ("r", "range")),
}


class MetricsPane(Vertical):
    """Looks once a second, as long as somebody looks at it."""

    DEFAULT_CSS = """
    MetricsPane { height: 1fr; padding: 0 1; }
    MetricsPane > #health { height: 1; }
    MetricsPane > #keys { height: 1; color: $text-muted; }
    MetricsPane > ContentSwitcher { height: 1fr; margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"wish('metrics.view', '{section}')", show=False) for key, section in SECTION_KEYS.items()),
        Binding("left", "wish('metrics.view', 'previous')", show=False),
        Binding("right", "wish('metrics.view', 'next')", show=False),
        Binding("p,space", "wish('metrics.pause')", show=False),
        Binding("s", "wish('metrics.table', 'next')", show=False),
        Binding("S", "wish('metrics.table', 'reverse')", show=False),
        Binding("n", "wish('metrics.plot', 'next')", show=False),
        Binding("N", "wish('metrics.plot', 'previous')", show=False),
        Binding("r", "wish('metrics.range', 'next')", show=False),
        Binding("plus,equals_sign", "wish('metrics.zoom', 'in')", show=False),
        Binding("minus", "wish('metrics.zoom', 'out')", show=False),
        Binding("0", "wish('metrics.zoom', 'reset')", show=False),
        Binding("left_square_bracket", "wish('metrics.zoom', 'back')", show=False),
        Binding("right_square_bracket", "wish('metrics.zoom', 'forward')", show=False),
    ]

    state: reactive[PaneState] = reactive(PaneState(), init=False)
    health = query_one("#health", Sheet)
    sections = query_one(SectionBar)
    sheet = query_one("#sheet", Sheet)
    plot = query_one(PlotArea)
    switcher = query_one(ContentSwitcher)

    def __init__(
        self,
        source: Source,
        run: Run,
        *,
        ascii_only: bool = False,
        plain: bool = False,
        clock: Callable[[], float] = time.time,
        leave: str = "Esc chat",
    ) -> None:
        """`run` runs what the keys and the mouse ask for; `plain`: no plots, only lines of blocks."""
        super().__init__(id="metrics")
        self._source, self._run, self._clock = source, run, clock
        self._ascii, self._plain, self._leave = ascii_only, plain, leave
        self.seen = Seen(0.0)
        self._table: Table | None = None
        self.looks = 0
        """How often it looked, for those who count."""

    def show_of(self, source: Source, clock: Callable[[], float]) -> None:
        """Shows what somebody else tells from now on, by their clock."""
        self._source, self._clock = source, clock
        self.plot.show_of(source, clock)
        self.tick()

    def compose(self) -> ComposeResult:
        health = Sheet(id="health")
        health.can_focus = False
        yield health
        yield SectionBar()
        with ContentSwitcher(initial="sheet"):
            yield Sheet(id="sheet")
            yield PlotArea(self._source, self._clock, plain=self._plain, ascii_only=self._ascii)
        yield Static("", id="keys", markup=False)

    def on_mount(self) -> None:
        self.set_interval(FAR_S if self.app.has_class("-far") else EVERY_S, self.tick)
        self._turn_to()
        self.tick()

    def on_show(self) -> None:
        """The keys are the page's."""
        self.tick()
        self.take_keys()

    def take_keys(self) -> None:
        """The keys are the page's where they are nobody's."""
        if self.is_mounted and self.is_on_screen and self.screen.focused is None:
            self._focus()

    def on_descendant_blur(self) -> None:
        """The pane was chosen once more, which takes the focus from whatever had it."""
        self.call_after_refresh(self.take_keys)

    def on_resize(self, event: events.Resize) -> None:
        """The lines are laid out anew for another width."""
        self._show()
        self._show_keys()

    def tick(self) -> None:
        """Looks, unless nobody looks at it or it is to stay as it is."""
        if not self.is_mounted or not self.is_on_screen or self.state.paused:
            return
        self.looks += 1
        self.seen = self._source.now()
        self._show()
        if self.looks % CATCH_UP == 1:
            catching: Any = self._source.catch_up  # not a coroutine: it may be replaced before it begins
            self.run_worker(catching, group="catch-up", exclusive=True, exit_on_error=False)

    def watch_state(self, before: PaneState, now: PaneState) -> None:
        """A person chose something: it is shown at once, also while paused."""
        if not self.is_mounted:
            return
        if before.section != now.section:
            self._turn_to()
        if before.paused and not now.paused:
            self.tick()
        self._show(chosen=True)
        self._show_keys()

    def _turn_to(self) -> None:
        section = self.state.section
        self.sections.current = section
        self.switcher.current = "plot-area" if section == "plot" else "sheet"
        self.sheet.begin_anew()
        if self.is_on_screen:
            self._focus()
        self._show_keys()

    def _focus(self) -> None:
        """The keys are those of what is shown."""
        (self.plot if self.state.section == "plot" else self.sheet).focus(scroll_visible=False)

    def _show(self, *, chosen: bool = False) -> None:
        if not self.is_mounted or not self.size.width:
            return
        width = self.content_size.width
        self.health.show([header(self.seen, width, paused=self.state.paused, ascii_only=self._ascii)])
        self.sections.counts = {each: summary(self.seen, each) for each in TITLES}
        if self.state.section == "plot":
            if chosen or not self.state.paused:
                self.plot.look(self.state, anew=chosen)
        elif self.state.section == "overview":
            self._table = None
            self.sheet.show(overview(self.seen, width - 1, ascii_only=self._ascii))
        else:
            self._show_table(width - 1)

    def _show_table(self, width: int) -> None:
        order = self.state.order()
        self._table = table = table_of(
            self.seen, self.state.section, order.column, down=order.down, ascii_only=self._ascii
        )
        if table.rows:
            head, lines = laid_out(table, width, ascii_only=self._ascii)
            self.sheet.show(lines, head, rows=True)
        else:
            empty: Line = (Piece(table.empty, "muted"),)
            self.sheet.show([empty])

    def _show_keys(self) -> None:
        kind = {"overview": "page", "plot": "plot"}.get(self.state.section, "table")
        shown = [each for each in KEYS[kind] if each[0] != "Enter" or self.state.section == "slow"]
        keys = [f"{key} {what}" for key, what in (*shown, *KEYS["all"])]
        if self._ascii:
            keys = [each.replace("← →", "arrows").replace("↑ ↓", "up down") for each in keys]
        words = "  ".join([*keys, self._leave])
        while len(keys) > 1 and len(words) > self.content_size.width > 0:
            keys.pop()
            words = "  ".join([*keys, self._leave])
        self.query_one("#keys", Static).update(words, layout=False)

    @property
    def table(self) -> Table | None:
        """The table that is shown; None where none is."""
        return self._table

    def action_wish(self, name: str, *args: str) -> None:
        """A key of the pane: a command."""
        self._run(name, *args)

    @on(SectionBar.Chosen)
    def _section_chosen(self, event: SectionBar.Chosen) -> None:
        event.stop()
        self._run("metrics.view", event.section)

    @on(Sheet.HeadClicked)
    def _head_clicked(self, event: Sheet.HeadClicked) -> None:
        event.stop()
        table = self._table
        column = column_at(table, self.content_size.width - 1, event.x) if table else ""
        if table and column:
            self._run("metrics.table", "reverse" if column == table.sort else column)

    @on(Sheet.Entered)
    def _entered(self, event: Sheet.Entered) -> None:
        event.stop()
        if self._table and event.row < len(self._table.rows) and (then := self._table.rows[event.row].then):
            self._run(*then)

    @on(PlotArea.Wheeled)
    def _wheeled(self, event: PlotArea.Wheeled) -> None:
        event.stop()
        self._run("metrics.zoom", event.way)
