"""Looks at targets again and again, each by itself: one that hangs, lies or never ends disturbs no other.

    scraper = Scraper(targets, transport, heard)
    await scraper.run()                     # until cancelled; `heard(Scraped)` for every look

A target that is down is asked less and less often, up to once a minute. Redirects are not followed, since a look may
carry a key. How a look went is said in one sentence that may be shown; what came with it is untrusted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from backend_client.auth import Auth, NoAuth
from backend_client.auth import redact as masked
from backend_client.errors import BackendError
from backend_client.scraping import catalog
from backend_client.scraping.exposition import MAX_BODY, Exposition, Reader
from backend_client.scraping.fetching import fetch
from backend_client.scraping.lines import warm
from backend_client.scraping.types import TargetKind
from backend_client.seam import Transport

LONGEST_PAUSE_S: Final = 60.0
"""Between two looks at a target that is down."""
JITTER: Final = 0.2
"""Of that pause: many clients shall not come back at one moment."""
SHORTEST_INTERVAL_S: Final = 0.1
MOST_READING: Final = 0.1
"""The share of the time that the texts of one target may take to be read."""
TIMEOUT_S: Final = 5.0
OPEN: Final = NoAuth()
STALE_AFTER: Final = 5
"""Intervals without an answer, and at least so many seconds, until what was told last is called old."""


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """Where something tells what it measures."""

    name: str
    url: str
    kind: TargetKind = "other"
    auth: Auth = OPEN
    interval_s: float = 1.0
    timeout_s: float = TIMEOUT_S
    """For everything of one look."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """What came of one look."""

    target: ScrapeTarget
    at: float
    """When it was asked, since the epoch."""
    tick: float
    """The same on a clock that is never put forward or back; rates are reckoned with it."""
    took_s: float
    exposition: Exposition | None
    """None when there is none, and `error` says why."""
    error: str = ""
    """One sentence."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What was left out of what it told: how many, by reason."""
    again_s: float = 0.0
    """How long until it is asked again, where that is later than its interval: it tells too much that is new."""


@dataclass(slots=True)
class Standing:
    """How a target stands."""

    target: ScrapeTarget
    asked: int = 0
    failures: int = 0
    """In a row."""
    answered_tick: float | None = None
    error: str = ""

    def stale(self, tick: float) -> bool:
        """Whether it answered, but not lately."""
        patience = STALE_AFTER * max(self.target.interval_s, 1.0)
        return self.answered_tick is not None and tick - self.answered_tick > patience


@dataclass(slots=True)
class _Round:
    """One target, and what is remembered of it between two looks."""

    standing: Standing
    reader: Reader
    due: float = 0.0
    read_s: float = 0.0
    """How long the last two texts took to be read, at least; that the first one takes long is no sign of anything."""
    last_read_s: float = 0.0

    @property
    def again_s(self) -> float:
        """How long it is left alone for the sake of everybody else."""
        return self.read_s / MOST_READING


class Scraper:
    """Looks at each target at its interval, as a task of its own, and tells what came of it."""

    def __init__(
        self,
        targets: Iterable[ScrapeTarget],
        transport: Transport,
        heard: Callable[[Scraped], None],
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        everything: bool = False,
        reader: type[Reader] = Reader,
    ) -> None:
        """`everything`: read all series, not only those of which the catalogue knows what they mean."""
        self._transport, self._heard = transport, heard
        self._clock, self._ticks, self._sleep = clock, ticks, sleep
        self._rng = rng or random.Random()  # noqa: S311 - spreads the looks, guards nothing
        self._rounds = {
            target.name: _Round(Standing(target), reader(None if everything else catalog.names(target.kind)))
            for target in targets
        }
        # Reading is work of the loop's own: two texts are never taken apart in the same turn of it.
        self._reading = asyncio.Lock()

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How the targets stand, by name."""
        return {name: each.standing for name, each in self._rounds.items()}

    async def run(self) -> None:
        """Look until cancelled; without targets it is over at once."""
        if self._rounds:
            await asyncio.to_thread(warm)
        async with asyncio.TaskGroup() as group:
            for each in self._rounds.values():
                group.create_task(self._watch(each))

    async def look(self, name: str) -> Scraped:
        """Look at one target now, without telling anybody else."""
        return await self._look(self._rounds[name])

    async def _watch(self, round_: _Round) -> None:
        interval = max(round_.standing.target.interval_s, SHORTEST_INTERVAL_S)
        # Spread from the start, so that the targets do not all answer in the same moment of every second.
        await self._sleep(self._rng.uniform(0, min(interval, 1.0)))
        round_.due = self._ticks()
        while True:
            self._heard(await self._look(round_))
            # Who always tells something new, and much of it, is asked less often instead of keeping us busy.
            await self._sleep(self._pause(round_, max(interval, round_.again_s)))

    def _pause(self, round_: _Round, interval: float) -> float:
        now, failures = self._ticks(), round_.standing.failures
        if failures > 1:
            longest = max(LONGEST_PAUSE_S, interval)
            pause = min(interval * 2.0 ** min(failures - 1, 16), longest)
            round_.due = now + pause * self._rng.uniform(1 - JITTER, 1 + JITTER)
        else:
            # Along the same grid, however long a look took; what was missed is not made up for.
            missed = max(0.0, now - round_.due) // interval
            round_.due += (missed + 1) * interval
        return max(0.0, round_.due - now)

    async def _look(self, round_: _Round) -> Scraped:
        target, standing = round_.standing.target, round_.standing
        at, tick = self._clock(), self._ticks()
        exposition, error, took = None, "", 0.0
        try:
            async with asyncio.timeout(target.timeout_s):
                body, cut = await fetch(target.url, target.auth, self._transport, MAX_BODY)
            took = self._ticks() - tick
            exposition = await self._read(round_, body, cut)
        except TimeoutError:
            error = f"It did not tell everything within {target.timeout_s:g} s."
        except BackendError as failure:
            error = _sentence(masked(target.auth, failure.message))
        except Exception as failure:  # whatever one target made go wrong, the others are asked as before
            error = f"What it tells cannot be read ({type(failure).__name__})."
        standing.asked += 1
        standing.error = error
        if exposition is None:
            standing.failures += 1
            return Scraped(target, at, tick, self._ticks() - tick, None, error)
        standing.failures, standing.answered_tick = 0, tick
        again = round_.again_s if round_.again_s > target.interval_s else 0.0
        return Scraped(target, at, tick, took, exposition, "", exposition.dropped, again)

    async def _read(self, round_: _Round, body: bytes, cut: bool) -> Exposition:
        # Without a time limit: how long it takes says nothing about the target, and how much it is, is limited.
        async with self._reading:
            began = self._ticks()
            exposition = await round_.reader.read(body, cut=cut)
            took = self._ticks() - began
            round_.read_s, round_.last_read_s = min(took, round_.last_read_s), took
            await asyncio.sleep(0)
            return exposition


def _sentence(text: str) -> str:
    text = text.strip()
    first = text[:1] if text.startswith("http") else text[:1].upper()
    return f"{first}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
