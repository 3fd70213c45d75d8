"""What answers cost: asked for by command, told when a budget is nearly spent, and stopped where a person said so."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from local_store.errors import NotFound, StoreError
from sophia_core.alerts.rule import Spent
from sophia_core.alerts.silences import duration
from sophia_core.commands import CommandError, command
from sophia_core.costs.budgets import EVERY, Standing, barred_for_all, narrow
from sophia_core.costs.forecast import Forecast, forecast
from sophia_core.costs.periods import Period, begin, local, midnight, ms
from sophia_core.costs.standing import Ledger
from sophia_core.costs.tables import BudgetRow, By, CostRow, UsageRow, budget_row, cost_row, stop_words, usage_row
from sophia_core.events import BudgetReached, Bus, Event, Notice, StoreStateChanged, TitleAsked, TurnFinished
from sophia_core.metrics.view.seen import CostLine
from sophia_core.present import dollars
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.fleet import CostCap
    from local_store import Store
    from local_store.costs import CostShare
    from sophia_core.costs.prices import PriceRow, Prices
    from sophia_core.costs.settings import CostSettings
    from sophia_core.vault import Vault

AGAIN_S: Final = 30.0
"""How old what the pane shows of the books may be."""
CHARGED_S: Final = 31 * 86_400.0
"""A provider whose answers had a cost within that time is one that costs money."""
LONGEST_OVERRIDE_S: Final = 31 * 86_400.0
MOST_TITLES: Final = 50
PERIODS: Final[Mapping[str, Period]] = {"day": "day", "week": "week", "month": "month"}
BUSINESS: Final[tuple[By, ...]] = ("person", "tenant", "persona", "model", "provider", "task")


class Costs:
    """Reads the books, and keeps the budgets. `costing` are the providers whose answers cost anything."""

    def __init__(
        self,
        settings: CostSettings,
        vault: Vault,
        bus: Bus,
        cap: CostCap,
        prices: Prices,
        costing: Callable[[], Collection[str]],
        *,
        alerted: Callable[[], bool] = lambda: False,
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`alerted` says whether somebody else tells of budgets; `changed` is called when others may be asked."""
        self._settings, self._vault, self._bus, self._cap, self.prices = settings, vault, bus, cap, prices
        self._costing, self._alerted, self._changed, self._now = costing, alerted, changed, now
        self.ledger = Ledger(settings.budgets, now)
        self._told: set[tuple[str, str, float]] = set()
        self._charged: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        self._stale = False
        self._lines: tuple[CostLine, ...] = ()
        self._lined_at = float("-inf")
        self._lining: asyncio.Task[None] | None = None

    def __call__(self, event: Event) -> None:
        """Looks into the books whenever there may be more in them."""
        match event:
            case TurnFinished(cost_usd=cost) if cost and event.cached_at is None:
                self._spent(event.provider or "", cost, saved=event.saved)
            case TitleAsked(cost_usd=cost) if cost:
                self._spent(event.provider, cost, saved=event.saved)
            case StoreStateChanged(state="open"):
                if not self._vault.unwritten:
                    self.ledger.unwritten.clear()
                self.look()

    def _spent(self, provider: str, cost: float, *, saved: bool) -> None:
        self._lined_at = float("-inf")
        if not saved:
            self.ledger.unwritten.append((self._now(), provider, cost))
        self.look()

    # Budgets

    def look(self) -> None:
        """Reads how the budgets stand, in the background."""
        if not self.ledger.budgets:
            return
        self._stale = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._look(), name="budgets")

    async def settled(self) -> None:
        """Waits until the books are read, where they are being read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _look(self) -> None:
        while self._stale and (store := self._vault.store) is not None:
            self._stale = False
            try:
                await self.read(store)
            except StoreError:  # the store says by itself what is wrong with it
                return

    async def read(self, store: Store) -> None:
        """Reads how the budgets stand, tells of levels that were reached, and stops what is to be. Raises StoreError.

        While the books are read, what was barred stays barred.
        """
        standings = await self.ledger.read(store)
        if any(each.stops(self._now()) for each in standings):
            self._charged |= await store.costs.charged(ms(midnight(self._now() - CHARGED_S)))
        self._bar(standings)
        for each in standings:
            await self._tell(store, each)

    def _bar(self, standings: Sequence[Standing]) -> None:
        barred = barred_for_all(standings, self._who_costs(), self._now())
        if barred != self._cap.barred:
            self._cap.barred = barred
            self._changed()

    def _who_costs(self) -> set[str]:
        """Who is known to cost something, and who lately did."""
        return {*self._costing(), *self._charged}

    async def _tell(self, store: Store, standing: Standing) -> None:
        fresh = []
        for level in standing.levels:
            mark = standing.budget.name, standing.period, level
            if mark in self._told:
                continue
            self._told.add(mark)
            try:
                first = await store.costs.mark(*mark)
            except StoreError:  # told all the same, and once in this process
                first = True
            fresh += [level] if first else []
        for level in fresh:
            self._bus.publish(_reached(standing, level, self._now()))
        if fresh and not self._alerted():
            self._bus.publish(_notice(standing, fresh[-1], self._now()))

    async def barred(self, store: Store, session_id: str, persona: str | None) -> Mapping[str, str]:
        """Who may not be asked by this persona in this session, and why not; read from the books of all processes."""
        if not any(each.hard_stop for each in self.ledger.budgets):
            return {}
        try:
            await self.read(store)
            for each in narrow(self.ledger.standings, self._now()):
                budget = each.budget
                if budget.scope == "persona":
                    inside = budget.of == persona
                else:
                    inside = await store.costs.belongs(session_id, budget.scope, budget.of)
                if inside:
                    return dict.fromkeys(self._who_costs(), each.why)
        except StoreError:  # what was known before still counts
            return {}
        return {}

    def budgets(self) -> dict[str, Spent]:
        """How much of each budget is spent, for the rules of the alerts."""
        return {each.budget.name: Spent(each.spent, each.budget.usd) for each in self.ledger.standings}

    # For the pane

    def lines(self) -> Sequence[CostLine]:
        """Today, this month, each budget, idle machines; at once, as they were read last, and read again when old."""
        old = abs(self._now() - self._lined_at) >= AGAIN_S
        if old and self._vault.store is not None and (self._lining is None or self._lining.done()):
            self._lined_at = self._now()
            self._lining = asyncio.create_task(self._read_lines(), name="costs")
        return self._lines

    async def _read_lines(self) -> None:
        store = self._vault.store
        if store is None:
            return
        try:
            self._lines = tuple(await self.read_lines(store))
        except StoreError:
            return

    async def read_lines(self, store: Store) -> builtins.list[CostLine]:
        """What the books say now. Raises StoreError."""
        found = await self._forecast(store)
        today = await store.costs.spent("all", "", ms(midnight(self._now())))
        if not found.spent and not today and not self.ledger.budgets and not self._settings.hourly_usd:
            return []
        lines = [CostLine("today", today), CostLine("this month", found.spent, None, _expects(found))]
        standings = await self.ledger.read(store) if self.ledger.budgets else ()
        lines += [
            CostLine(f"budget {own.budget.name}", own.spent, own.budget.usd, _stands(own, self._now()))
            for own in standings
        ]
        return lines + [await self._idle(store, name) for name in self._settings.hourly_usd]

    async def _idle(self, store: Store, provider: str) -> CostLine:
        """What a machine cost today that nobody here was booked for."""
        now, hourly = self._now(), self._settings.hourly_usd[provider]
        start = midnight(now)
        seconds, booked = await store.costs.busy(provider, ms(start))
        whole = hourly * (now - start.timestamp()) / 3600
        note = f"{dollars(hourly)} an hour; {dollars(booked)} booked to answers from here, busy {seconds / 60:.0f} min"
        return CostLine(f"{provider} idle today", max(0.0, whole - booked), None, note)

    # Commands

    @command("cost.show", slash="cost")
    async def show(self, by: By = "day", *, since: str = "30d") -> builtins.list[CostRow]:
        """Show what answers cost by day, model, persona …; since `7d`, `month`, `2026-11-01`, or `all`."""
        store = await self._vault.get()
        shares = await store.costs.shares(by, since=self._since(since))
        titles = await _titles(store, shares) if by == "session" else {}
        return [cost_row(each, by, titles.get(each.key, "")) for each in shares]

    @command("cost.budgets")
    async def list(self) -> builtins.list[BudgetRow]:
        """Show how much of each budget is spent, and what happens once it is."""
        if not self.ledger.budgets:
            raise CommandError("There are no budgets.", "Add [[costs.budgets]] to the config: docs/costs.md says how.")
        await self.read(await self._vault.get())
        return [budget_row(each, self._now()) for each in self.ledger.standings]

    @command("cost.forecast")
    async def forecast(self) -> Forecast:
        """Reckon what this month will have cost by its end, and how sure that is."""
        found = await self._forecast(await self._vault.get())
        return replace(found, note=" ".join([found.note, *map(self._by_hour, self._settings.hourly_usd)]))

    @command("cost.override", audited=True)
    async def override(self, during: str = "2h", *, budget: str = EVERY) -> str:
        """Go on although a budget is spent: for `2h`, at most 31 days; `0` ends that; `budget` names one of them."""
        store = await self._vault.get()
        known = [each.name for each in self.ledger.budgets]
        if budget != EVERY and budget not in known:
            raise CommandError(f"There is no budget {budget[:60]!r}.", f"There is: {', '.join(known) or 'none'}.")
        seconds = _seconds(during)
        try:
            await store.costs.override(budget, int((self._now() + seconds) * 1000) if seconds else 0)
            await self.read(store)
        except StoreError as error:
            raise CommandError(f"{error}.", error.hint) from None
        which = "All budgets" if budget == EVERY else f"The budget {budget}"
        if not seconds:
            return f"{which} {'stop' if budget == EVERY else 'stops'} again once spent."
        until = datetime.fromtimestamp(self._now() + seconds).astimezone().strftime("%Y-%m-%d %H:%M")
        return f"{which} may be exceeded until {until}."

    @command("cost.prices")
    async def list_prices(self) -> builtins.list[PriceRow]:
        """List what models cost where nobody tells: USD per million tokens, with date and source."""
        rows = await asyncio.to_thread(self.prices.rows)
        for problem in self.prices.problems:
            self._bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
        return rows

    @command("metrics.business")
    async def business(self, *, since: str = "30d") -> builtins.list[UsageRow]:
        """Show who used how much: by person, account, persona, model, provider and task."""
        store, start = await self._vault.get(), self._since(since)
        return [usage_row(each, by) for by in BUSINESS for each in await store.costs.shares(by, since=start)]

    async def _forecast(self, store: Store) -> Forecast:
        now = self._now()
        start = min(midnight(now) - timedelta(days=56), begin("month", now))
        shares = await store.costs.shares("day", since=ms(start))
        costs = {date.fromisoformat(each.key): each.totals.cost_usd for each in shares}
        began = await store.costs.first()
        first = None if began is None else local(began / 1000).date()
        part = (now - midnight(now).timestamp()) / 86_400
        return forecast(costs, local(now).date(), part=min(1.0, part), first=first)

    def _by_hour(self, provider: str) -> str:
        hourly = self._settings.hourly_usd[provider]
        return f"{provider} costs {dollars(hourly * 24)} a day by the hour, used or not."

    def _since(self, text: str) -> int:
        """When something begins, in ms since the epoch. Raises CommandError."""
        text, now = text.strip().lower(), self._now()
        if text in PERIODS:
            return ms(begin(PERIODS[text], now))
        if text in ("today", "all", ""):
            return ms(midnight(now)) if text == "today" else 0
        try:
            if text[4:5] == "-":
                return ms(datetime.fromisoformat(text[:10]))
            begins = now - duration(text)
            return ms(midnight(begins + 86_400)) if text.endswith("d") else int(begins * 1000)
        except (ValueError, OverflowError, OSError):
            hint = "Write 7d, 12h, today, week, month, all, or a day like 2026-11-01."
            raise CommandError(f"{text[:40]!r} is no time to begin at.", hint) from None

    async def close(self) -> None:
        """Stops reading."""
        tasks = [each for each in (self._reading, self._lining) if each is not None]
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _reached(standing: Standing, level: float, now: float) -> BudgetReached:
    budget = standing.budget
    stops = level >= 1.0 and standing.stops(now)
    return BudgetReached(budget.name, standing.period, level, standing.spent, budget.usd, stops)


def _notice(standing: Standing, level: float, now: float) -> Notice:
    budget = standing.budget
    said = f"{dollars(standing.spent)} of {dollars(budget.usd)} a {budget.period}"
    stops = level >= 1.0 and standing.stops(now)
    stopped = "Nobody who costs money is asked any more; cost.override 2h goes on."
    hint = stopped if stops else "cost.budgets shows them."
    return Notice("warning", f"The budget {budget.name} is {level:.0%} spent: {said}.", hint)


def _stands(standing: Standing, now: float) -> str:
    """Its period, and what it does if it stops anything."""
    return f"{standing.period}, {stop_words(standing, now)}" if standing.budget.hard_stop else standing.period


def _expects(found: Forecast) -> str:
    if found.expected is None or found.low is None or found.high is None:
        return "no forecast yet: too few days"
    return f"{dollars(found.expected)} by its end ({dollars(found.low)} to {dollars(found.high)}). {found.note}"


def _seconds(text: str) -> float:
    try:
        seconds = duration(text)
    except ValueError as error:
        raise CommandError(f"{error}.", "Like: cost.override 2h") from None
    if seconds > LONGEST_OVERRIDE_S:
        raise CommandError("A budget is overridden for 31 days at most.", "Raise the budget itself instead.")
    return seconds


async def _titles(store: Store, shares: Sequence[CostShare]) -> dict[str, str]:
    """What the dearest sessions are called."""
    found = {}
    for each in [share.key for share in shares if share.key][:MOST_TITLES]:
        try:
            found[each] = one_line((await store.sessions.get(each)).title, 60) or "Untitled"
        except NotFound:
            continue
    return found
