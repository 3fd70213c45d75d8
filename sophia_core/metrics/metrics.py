"""The metrics as the app has them: who is asked, what they told, what is kept of it, and the commands.

Nothing is loaded and nobody is asked before `attend`, and nobody at all where there is no target: then nothing wakes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backend_client.scraping.types import Quantiles
from sophia_core.commands import BadArguments, command
from sophia_core.events import FREQUENT, Bus, EmbeddedProgressed, Event, Notice, RouteChosen, SettingChanged
from sophia_core.metrics.collecting import Collector
from sophia_core.metrics.history import Remembered
from sophia_core.metrics.keeping import Keeper, retention_of
from sophia_core.metrics.nvml import AGAIN_S, Gpus, why_not
from sophia_core.metrics.own import Own
from sophia_core.metrics.ports import Reading, Target
from sophia_core.metrics.recent import Recent
from sophia_core.metrics.targets import GPUS, OPEN, Problem, Watched, targets_of
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.scraping.scraper import ScrapeTarget
    from backend_client.seam import Transport
    from backend_client.types import Provider
    from local_store.samples import Retention
    from sophia_core.embedded import EmbeddedServer
    from sophia_core.metrics.settings import MetricsSettings, MetricsTarget
    from sophia_core.metrics.view.seen import Track
    from sophia_core.settings import Loaded
    from sophia_core.vault import Vault

AFTER_S: Final = 1.0
"""After the first paint: whoever starts the app wants to type first."""
BETWEEN_S: Final = 1.0
"""Between the two looks of a shell that wants rates."""
NOBODY: Final = "No server tells metrics."
HOW_TO: Final = "metrics.find looks on this machine; metrics.add NAME URL names one."
LOCKED: Final = "The store is locked: what is measured waits in memory."
OFF: Final = "Metrics are switched off: settings.set metrics.enabled true asks servers again."


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target, as a line of a list."""

    target: str
    kind: str
    url: str
    provider: str
    health: str
    every_s: float
    took_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class NumberRow:
    """One number that was measured."""

    target: str
    signal: str
    value: float
    of: str = ""
    """Which part of the target: `gpu 0`, a model; empty is all of it."""


class Metrics:
    """Asks while somebody attends, or once for a shell; remembers, keeps and tells."""

    def __init__(
        self,
        loaded: Loaded,
        vault: Vault,
        bus: Bus,
        transport: Transport,
        providers: Sequence[Provider],
        env: Mapping[str, str],
        *,
        embedded: EmbeddedServer | None = None,
        clock: Callable[[], float] = time.time,
        gpus: Callable[[Callable[[Reading], None], float], Gpus] = Gpus,
        after_s: float = AFTER_S,
        between_s: float = BETWEEN_S,
    ) -> None:
        self._settings: MetricsSettings = loaded.settings.metrics
        self._vault, self._bus, self._transport, self._providers = vault, bus, transport, providers
        self._env, self._embedded, self._clock = env, embedded, clock
        self._gpus, self._after_s, self._between_s = gpus, after_s, between_s
        self.own = Own(clock)
        """What this app counts of itself, from the start; subscribe it to the bus."""
        self._recent = Recent()
        self._keeper = Keeper(vault, bus, self.own, self._retention, clock=clock)
        self._collector = Collector(bus, self._recent, self._keeper.keep, clock=clock)
        self._remembered = Remembered(self._recent, vault, self._interval, clock)
        self._problems: list[Problem] = []
        self._watched: list[Watched] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leave: Callable[[], None] | None = None
        self._renew()

    def _retention(self) -> Retention:
        return retention_of(self._settings.keep_days, self._settings.max_megabytes)

    def _interval(self, target: str) -> float:
        return next((each.interval_s for each in self.targets if each.name == target), self._settings.interval_s)

    @property
    def settings(self) -> MetricsSettings:
        """The settings, with the targets that were added or removed since the start."""
        return self._settings

    def take(self, targets: tuple[MetricsTarget, ...]) -> None:
        """Others are written down now."""
        self._settings = self._settings.model_copy(update={"targets": targets})
        self._renew()

    def _renew(self) -> None:
        running = self._embedded.running if self._embedded is not None else None
        found, self._problems = targets_of(self._settings, self._providers, self._env, running)
        found = found if self._settings.enabled else []
        if self._settings.enabled and not why_not(self._settings.gpu):
            found.append(Watched(Target(GPUS, "nvml", interval_s=self._settings.interval_s), OPEN))
        if found != self._watched:
            self._watched = found
            self._collector.watch(tuple(each.target for each in found))
            self._changed.set()

    # What others see

    @property
    def targets(self) -> tuple[Target, ...]:
        """Everybody who is asked."""
        return self._collector.targets

    def readings(self) -> dict[str, Reading]:
        """The newest reading of each target that was asked, by its name; at once, from memory."""
        return self._collector.readings()

    @property
    def note(self) -> str:
        """A sentence about the measuring itself; empty where all is well."""
        if not self._settings.enabled:
            return OFF
        if self._problems:
            return " ".join(self._problems[0])
        return LOCKED if self._vault.state == "locked" else ""

    async def history(
        self, signal: str, start: float, end: float, points: int, target: str = "", part: str = ""
    ) -> tuple[Track, ...]:
        """One line for each target that told this signal between two times; see history.py."""
        return await self._remembered.history(signal, start, end, points, target, part)

    # Its own time

    def attend(self) -> None:
        """A person is here: ask from now on, and keep what is told."""
        self._leave = self._bus.subscribe(self._heard, without=FREQUENT)
        self._keeper.start()
        for text, hint in self._problems:
            self._bus.publish(Notice("warning", one_line(text, 200), hint))
        if self._settings.enabled:
            self._task = asyncio.create_task(self._run(), name="metrics")

    def _heard(self, event: Event) -> None:
        match event:
            case RouteChosen() | EmbeddedProgressed(stage="ready" | "stopped"):
                self._renew()
            case SettingChanged(name=name) if name.startswith("providers."):
                self._renew()

    async def _run(self) -> None:
        await asyncio.sleep(self._after_s)
        while True:
            self._changed.clear()
            if not self._watched:
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        await self._changed.wait()
                self._renew()  # a driver may have been loaded meanwhile
                continue
            asking = asyncio.create_task(self._ask(), name="metrics-asking")
            try:
                await self._changed.wait()
            finally:
                asking.cancel()
                await asyncio.wait([asking])

    async def _ask(self) -> None:
        """Everybody there is, until cancelled."""
        await asyncio.to_thread(_load)
        from backend_client.scraping.scraper import Scraper

        scraper = Scraper(self._scraped(), self._transport, self._collector.scraped, clock=self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(scraper.run())
            if any(each.target.kind == "nvml" for each in self._watched):
                group.create_task(self._gpus(self._collector.measured, self._settings.interval_s).run())

    def _scraped(self) -> list[ScrapeTarget]:
        from backend_client.scraping.scraper import ScrapeTarget

        wait = self._settings.timeout_s
        return [
            ScrapeTarget(each.target.name, each.target.url, each.target.kind, each.auth, each.target.interval_s, wait)
            for each in self._watched
            if each.target.url
        ]

    async def look(self) -> dict[str, Reading]:
        """Ask everybody twice, for a shell: rates need two looks. While somebody attends, what is known already."""
        self._renew()
        if self._task is not None or not self._watched:
            return self.readings()
        await asyncio.to_thread(_load)
        from backend_client.scraping.scraper import Scraper

        targets = self._scraped()
        scraper = Scraper(targets, self._transport, self._collector.scraped, clock=self._clock)
        asking = None
        if any(each.target.kind == "nvml" for each in self._watched):
            asking = asyncio.create_task(self._gpus(self._collector.measured, self._between_s).run())
        try:
            for again in (False, True):
                if again:
                    await asyncio.sleep(self._between_s)
                for told in await asyncio.gather(*(scraper.look(each.name) for each in targets)):
                    self._collector.scraped(told)
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait([asking])
        return self.readings()

    async def rest(self) -> None:
        """Lets go of the store before it is locked. Asking goes on; what is told waits in memory."""
        await self._keeper.rest()

    async def close(self) -> None:
        """Asks nobody any more, and writes what waits. Before the store is closed."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._collector.close()
        await self._keeper.close()

    # Commands

    @command("metrics.show")
    async def show(self, target: str = "") -> list[NumberRow] | str:
        """Show the numbers that servers and this machine's GPUs tell now; `target` picks one of them."""
        if target and all(each.name != target for each in self.targets):
            known = ", ".join(each.name for each in self.targets) or "none"
            raise BadArguments(f"There is no target {one_line(target, 60)!r}.", f"Asked are: {known}.")
        readings = await self.look()
        rows = [row for name, each in readings.items() if target in ("", name) for row in _rows(each)]
        return rows or self._nothing(readings)

    def _nothing(self, readings: Mapping[str, Reading]) -> str:
        if not self.targets:
            return f"{self.note or NOBODY} {HOW_TO}" if self._settings.enabled else OFF
        reasons = [f"{each.target}: {each.reason}" for each in readings.values() if each.reason]
        return "Nobody tells anything yet. " + " ".join(reasons)

    @command("metrics.targets")
    async def list_targets(self) -> list[TargetRow] | str:
        """List who is asked for numbers: health, how often, how long an answer takes, and what is wrong."""
        readings = await self.look()
        rows = [_target_row(each, readings.get(each.name)) for each in self.targets]
        gpu = why_not(self._settings.gpu)
        return rows or f"{self.note or NOBODY} {gpu} {HOW_TO}".replace("  ", " ")


def _load() -> None:
    """What reads numbers takes a moment to import: in a thread, so that no key waits for it."""
    import backend_client.scraping.scraper
    import backend_client.scraping.signals  # noqa: F401

    with suppress(ImportError):
        import prometheus_client.parser  # noqa: F401


def _target_row(target: Target, reading: Reading | None) -> TargetRow:
    took = None if reading is None else round(reading.took_s * 1000)
    health = reading.health if reading else "new"
    reason = reading.reason if reading else ""
    return TargetRow(target.name, target.kind, target.url, target.provider, health, target.interval_s, took, reason)


def _rows(reading: Reading) -> list[NumberRow]:
    rows = [NumberRow(reading.target, signal, value) for signal, value in reading.values.items()]
    for signal, told in reading.quantiles.items():
        rows += [NumberRow(reading.target, f"{signal}_{name}", value) for name, value in _tail(told)]
    for part, named in reading.by.items():
        for label, values in named.items() if len(named) > 1 else ():
            rows += [NumberRow(reading.target, signal, value, f"{part} {label}") for signal, value in values.items()]
    return rows


def _tail(told: Quantiles) -> list[tuple[str, float]]:
    pairs = (("p50", told.p50), ("p95", told.p95), ("p99", told.p99))
    return [(name, value) for name, value in pairs if value is not None]
