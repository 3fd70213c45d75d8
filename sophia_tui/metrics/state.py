"""What the metrics pane shows and how; pure. The commands change it, the pane draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from sophia_core.metrics.view.plots import FIRST, RANGES, Window
from sophia_core.metrics.view.sections import ORDER, TITLES, Section
from sophia_core.metrics.view.table import Table

Zoom: TypeAlias = Literal["in", "out", "reset", "back", "forward"]
SHOWN: Final[tuple[Section, ...]] = tuple(TITLES)


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which column a table is sorted, and which way round; None: the usual way of that column."""

    column: str = ""
    down: bool | None = None


@dataclass(frozen=True, slots=True)
class PaneState:
    """Everything a person chose."""

    section: Section = "overview"
    signal: str = FIRST
    window: Window = field(default_factory=Window)
    range_s: float = RANGES["5m"]
    """What the window goes back to."""
    paused: bool = False
    sorting: Mapping[Section, Sorting] = field(default_factory=dict)

    def beside(self, step: int) -> PaneState:
        """The section to the right or left."""
        return replace(self, section=SHOWN[(SHOWN.index(self.section) + step) % len(SHOWN)])

    def zoomed(self, how: Zoom) -> PaneState:
        """Another stretch of time."""
        match how:
            case "in" | "out":
                window = self.window.zoomed(how)
            case "back" | "forward":
                window = self.window.moved(how)
            case "reset":
                window = Window(self.range_s)
        return replace(self, window=window)

    def ranged(self, seconds: float) -> PaneState:
        """The last hours or days, up to now."""
        return replace(self, window=Window(seconds), range_s=seconds)

    def next_range(self) -> float:
        """The next longer range; the shortest one after the longest."""
        return next((each for each in RANGES.values() if each > self.range_s), min(RANGES.values()))

    def order(self) -> Sorting:
        """How the table that is shown is sorted."""
        return self.sorting.get(self.section, Sorting())

    def sorted(self, column: str, down: bool | None = None) -> PaneState:
        """The table that is shown, in the order of another column."""
        return replace(self, sorting={**self.sorting, self.section: Sorting(column, down)})

    def sorted_next(self, table: Table) -> PaneState:
        """The table in the order of its next column."""
        keys = [column.key for column in table.columns]
        at = keys.index(table.sort) + 1 if table.sort in keys else 0
        return self.sorted(keys[at % len(keys)])

    def reversed(self, table: Table) -> PaneState:
        """The table the other way round."""
        usual = ORDER.get(self.section, (table.columns[0].key, False))
        return self.sorted(table.sort or usual[0], not table.down)
