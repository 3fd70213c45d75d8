"""The objectives of this app: counted as things happen, kept with the metrics, told when one breaks or recovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sophia_core.commands import command
from sophia_core.events import Bus, Event, ObjectiveChanged, StoreStateChanged
from sophia_core.objectives.burning import Burn, burning, state_of
from sophia_core.objectives.counting import Counting, judged
from sophia_core.objectives.tally import Tally

if TYPE_CHECKING:
    from sophia_core.metrics.ports import ObjectiveState
    from sophia_core.objectives.settings import Objective, ObjectiveSettings

LOOK_EVERY_S: Final = 5.0
"""How often at most the burn rates are reckoned."""
BURNING_S: Final = 15.0
"""How often that is done while a budget burns and nothing happens: what is over is told also then."""


class Books(Protocol):
    """Where counts outlive the process."""

    def count(self, objective: str, good: bool) -> None:
        """Add one."""

    async def counted(self, objective: str, since: float) -> Sequence[tuple[float, float, float]] | None:
        """What was counted since then, by all processes: (begin, good, all) of stretches of at most an hour. None while
        they cannot be read."""


@dataclass(frozen=True, slots=True)
class ObjectiveRow:
    """How an objective stands, as a line of a list."""

    objective: str
    promised: str
    kept: str
    events: int
    budget_left: str
    burning: str
    state: str


class Objectives:
    """Listens to the bus. Nothing is asked, nothing is written but counts."""

    def __init__(
        self, settings: ObjectiveSettings, bus: Bus, books: Books, now: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._bus, self._books, self._now = settings, bus, books, now
        self._counting = Counting(settings.embedded)
        self._tallies = {each.name: Tally(each.days * 86_400) for each in settings.objectives}
        self._burns: dict[str, Burn | None] = {}
        self._looked = 0.0
        self._read: set[str] = set()
        """Those whose earlier counts were read."""
        self._attends = False
        self._loading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        """Counts what an event says."""
        if not self._settings.enabled or isinstance(event, ObjectiveChanged):
            return
        if isinstance(event, StoreStateChanged) and self._attends and event.state in ("open", "unsaved"):
            self._begin_loading()
        judged(self._settings.objectives, self._counting.seen(event), self._count)
        self.look()

    def attend(self) -> None:
        """A person is here: what was counted before is read as soon as the store is open, and what burns is looked at
        also while nothing happens."""
        if self._settings.enabled:
            self._attends = True
            self._begin_loading()

    async def close(self) -> None:
        """Look no more."""
        self._attends = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    def _begin_loading(self) -> None:
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self.load(), name="objectives")

    async def load(self) -> None:
        """Reads what was counted before this process, once; again where the store could not be read."""
        now = self._now()
        for each in self._settings.objectives:
            if each.name in self._read:
                continue
            self._read.add(each.name)  # at once: what is read twice would count twice
            before = None
            try:
                before = await self._books.counted(each.name, now - each.days * 86_400)
            finally:
                if before is None:
                    self._read.discard(each.name)
            if before is None:
                return
            tally = self._tallies[each.name]
            tally.load(before)
            self._burns[each.name] = burning(each, tally, now, self._settings.least_events)
        self._look_later()

    def look(self) -> None:
        """Tells which objectives began to burn, or stopped, since the last look."""
        now = self._now()
        if not self._settings.enabled or abs(now - self._looked) < LOOK_EVERY_S:
            return
        self._looked = now
        for each in self._settings.objectives:
            burn, before = burning(each, self._tallies[each.name], now, self._settings.least_events), self._burn(each)
            self._burns[each.name] = burn
            if burn != before:
                self._bus.publish(_changed(each, burn))
        self._look_later()

    def _look_later(self) -> None:
        if self._attends and self._timer is None and any(self._burns.values()):
            self._timer = asyncio.get_running_loop().call_later(BURNING_S, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.look()
        self._look_later()

    def states(self) -> tuple[ObjectiveState, ...]:
        """How all of them stand."""
        now, least = self._now(), self._settings.least_events
        return tuple(state_of(each, self._tallies[each.name], now, least) for each in self._settings.objectives)

    @command("slo.show", slash="slo")
    async def show(self) -> list[ObjectiveRow]:
        """Show what is promised, how much of it was kept, and what is left of each error budget."""
        await self.load()
        promised = {each.name: each for each in self._settings.objectives}
        return [_row(promised[state.name], state) for state in self.states()]

    def _count(self, objective: Objective, ok: bool) -> None:
        self._tallies[objective.name].add(self._now(), float(ok))
        self._books.count(objective.name, ok)

    def _burn(self, objective: Objective) -> Burn | None:
        return self._burns.get(objective.name)


def _changed(objective: Objective, burn: Burn | None) -> ObjectiveChanged:
    if burn is None:
        return ObjectiveChanged(objective.name, "ok", "info", f"{objective.name}: no longer burning its error budget.")
    told = f"{objective.name}: the error budget is spent {burn.rate:g} times too fast, or more (last {burn.long})."
    return ObjectiveChanged(objective.name, "burning", burn.severity, told)


def _row(objective: Objective, state: ObjectiveState) -> ObjectiveRow:
    limit = f" within {objective.seconds:g} s" if objective.seconds is not None else ""
    known = state.state != "unknown"  # of a handful of events no share says anything yet
    fastest = max(state.burn.items(), key=lambda each: each[1], default=None) if known else None
    return ObjectiveRow(
        objective.name,
        f"{objective.target * 100:.4g} %{limit}, {objective.days:g} days",
        "–" if state.good is None else f"{state.good * 100:.5g} %",
        state.events,
        "–" if state.budget_left is None or not known else f"{state.budget_left * 100:.0f} %",
        "–" if fastest is None else f"{fastest[1]:.1f}× ({fastest[0]})",
        state.state if known or not state.events else "too few yet",
    )
