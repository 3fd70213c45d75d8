"""Watches while the app runs: looks at what is known, and sees to it that every change is written down and told once.

Several processes may watch the same things. Whoever writes an alert down first tells of it and resolves it; the others
wait, and take it over when that process is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from local_store.errors import StoreError
from sophia_core.alerts.findings import Look
from sophia_core.alerts.rule import RuleFile
from sophia_core.alerts.rules import Change, Watch
from sophia_core.alerts.silences import covers
from sophia_core.alerts.telling import packed, takes
from sophia_core.events import (
    FREQUENT,
    AlertRaised,
    AlertResolved,
    Bus,
    Event,
    MetricsMeasured,
    Notice,
    NoticeLevel,
    ObjectiveChanged,
    StoreStateChanged,
)
from sophia_core.metrics.ports import Alert, ObjectiveState, Reading, Severity

if TYPE_CHECKING:
    from local_store import Store
    from local_store.alerts import Silence, Standing
    from local_store.deliveries import Post
    from sophia_core.alerts.office import Office
    from sophia_core.alerts.rule import Spent
    from sophia_core.vault import Vault

LOOK_EVERY_S: Final = 5.0
"""How long at most between two looks; what is measured is looked at as soon as it is."""
LEAST_S: Final = 0.2
READ_EVERY_S: Final = 10.0
"""How often it is seen whether the file, the silences or the alerts of other processes changed."""
MOST_LATE: Final = 5_000
LEVELS: Final[Mapping[Severity, NoticeLevel]] = {
    "critical": "error",
    "error": "error",
    "warning": "warning",
    "info": "info",
}

Write: TypeAlias = "Callable[[Store], Awaitable[bool]]"


@dataclass(slots=True)
class Sources:
    """Where all that can be watched comes from. Each is asked at every look, and answers at once."""

    readings: Callable[[], Mapping[str, Reading]] = dict
    objectives: Callable[[], Sequence[ObjectiveState]] = tuple
    anomalies: Callable[[], Mapping[str, float]] = dict
    budgets: Callable[[], Mapping[str, Spent]] = dict
    asked: Callable[[], Collection[str] | None] = lambda: None
    """The names of all targets that are asked, where somebody knows."""
    interval_s: float = 1.0

    def look(self, at: float) -> Look:
        """All of it now."""
        return Look(
            at,
            self.readings(),
            self.objectives(),
            self.anomalies(),
            self.budgets(),
            self.interval_s,
            self.asked(),
        )


class Guard:
    """Runs between `start` and `close`; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        office: Office,
        sources: Sources,
        path: Path,
        *,
        here: str,
        shipped: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`path` is the file with the rules, `here` what this machine is called."""
        self._vault, self._bus, self._office, self.sources = vault, bus, office, sources
        self._path, self._shipped, self._clock = path, shipped, clock
        self.watch = Watch(here)
        self.file = RuleFile()
        self.silences: Sequence[Silence] = ()
        self._signature: tuple[int, int] | None = None
        self.looked_after: set[str] = set()
        """Keys of what stands and was acknowledged here; the store has it of all processes."""
        self._elsewhere: dict[str, Alert] = {}
        """Alerts that stand here and that another process told of."""
        self._late: deque[Write] = deque(maxlen=MOST_LATE)
        """What was told already, and is to be written down as soon as a store takes it."""
        self._read_at = float("-inf")
        self._broken = False
        self._woken, self._working = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._unsubscribe = self._bus.subscribe(self._heard, without=FREQUENT)
        self._task = asyncio.create_task(self._run(), name="alerts")

    async def close(self) -> None:
        """Stop. What stands is taken over by whoever comes next."""
        if self._unsubscribe:
            self._unsubscribe()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _heard(self, event: Event) -> None:
        if isinstance(event, MetricsMeasured | ObjectiveChanged):
            self._woken.set()
        elif isinstance(event, StoreStateChanged):
            self.look_again()

    def look_again(self) -> None:
        """Read rules, silences and what other processes told, and look at everything, now."""
        self._read_at = float("-inf")
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            await self._look_safely()
            await asyncio.sleep(LEAST_S)
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _look_safely(self) -> None:
        """Whoever watches must not end unseen: what goes wrong is said, once until it is well again."""
        try:
            await self.look()
        except Exception as error:
            if not self._broken:
                text = f"Alerts cannot be judged now: {type(error).__name__}."
                self._bus.publish(Notice("error", text, "It is tried again; `sophia doctor` may say more."))
            self._broken = True
        else:
            self._broken = False

    async def look(self) -> None:
        """Look once, and write down and tell what changed."""
        async with self._working:
            now = self._clock()
            if not 0 <= now - self._read_at < READ_EVERY_S:
                self._read_at = now
                await self._read_file()
                await self._read_store()
            look = self.sources.look(now)
            complete = self.file.readable and not self.file.problems
            for change in self.watch.step(self.file.rules, look, self._quiet, complete=complete):
                await self._apply(change)

    def _quiet(self, alert: Alert) -> bool:
        now = self._clock() * 1000
        return any((each.until is None or each.until > now) and covers(each.match, alert) for each in self.silences)

    # What others may change

    async def _read_file(self) -> None:
        signature = await asyncio.to_thread(_signature, self._path)
        if signature == self._signature:
            return
        self._signature = signature
        file = await asyncio.to_thread(self.read_now)
        for problem in file.problems[:3]:
            self._bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
        self._office.poke()

    def read_now(self) -> RuleFile:
        """The rules and receivers as the file has them now. Blocks, shortly."""
        from sophia_core.alerts.rule_file import load

        file = load(self._path, shipped=self._shipped)
        if not file.readable:
            # What was read before counts until it can be read again.
            file = replace(file, rules=self.file.rules or file.rules, receivers=self.file.receivers)
        self.file = file
        return file

    async def _read_store(self) -> None:
        store = self._usable()
        if store is None:
            return
        try:
            while self._late:
                await self._late[0](store)
                self._late.popleft()
            self.silences = await store.alerts.silences(int(self._clock() * 1000))
            await self._take_over(store)
            await self._claim(store)
        except StoreError:
            return

    async def _take_over(self, store: Store) -> None:
        """Whoever told of these is gone: from now on they are watched, and resolved, here."""
        standing = {alert.key for alert, _ in self.watch.standing()}
        for each in await store.alerts.take_over():
            self._elsewhere.pop(each.key, None)
            if each.key not in standing:
                self.watch.adopt(alert_of(each), told=each.told, at=self._clock())

    async def _claim(self, store: Store) -> None:
        """What another process told of and has resolved is told anew where it still stands here."""
        standing = {alert.key: told for alert, told in self.watch.standing()}
        for key, alert in list(self._elsewhere.items()):
            told = standing.get(key)
            if told is None or await store.alerts.begin(_standing(alert, told=told), self._posts(alert, told)):
                del self._elsewhere[key]

    def _usable(self) -> Store | None:
        store = self._vault.store
        return None if store is None or store.read_only is not None else store

    # What changed

    async def _apply(self, change: Change) -> None:
        match change.kind:
            case "raised":
                await self._raise(change)
            case "told":
                await self._tell(change)
            case "resolved":
                await self._resolve(change)
        self._office.poke()

    async def _raise(self, change: Change) -> None:
        alert, posts = change.alert, self._posts(change.alert, change.told)
        standing = _standing(alert, told=change.told)
        new = await self._write(
            lambda store: store.alerts.begin(standing, posts), lambda store: store.alerts.begin(standing), posts
        )
        if not new:
            self._elsewhere[alert.key] = alert
        self._say(change)

    async def _tell(self, change: Change) -> None:
        key, posts = change.alert.key, self._posts(change.alert, told=True)
        await self._write(lambda store: store.alerts.tell(key, posts), lambda store: store.alerts.tell(key, ()), posts)
        self._say(change)

    async def _resolve(self, change: Change) -> None:
        alert = _with_reason(change)
        key, posts = alert.key, self._posts(alert, change.told)
        self.looked_after.discard(key)
        self._bus.publish(AlertResolved(key, alert.rule, alert.summary, change.why))
        if change.why and change.told:  # nobody saw it get better
            self._bus.publish(Notice("info", f"{alert.rule}: {alert.summary}: this is over, as {change.why}."))
        if self._elsewhere.pop(key, None) is None:
            await self._write(
                lambda store: store.alerts.end(key, posts), lambda store: store.alerts.end(key, ()), posts
            )

    async def _write(self, now: Write, late: Write, posts: Sequence[Post]) -> bool:
        """Write it down with all that is told of it. Where no store takes it, it is told all the same, and written
        down `late`."""
        if (store := self._usable()) is not None:
            with contextlib.suppress(StoreError):
                return await now(store)
        self._late.append(late)
        await self._office.post(posts)
        return True

    def _posts(self, alert: Alert, told: bool) -> list[Post]:
        """What is told of it, and to whom."""
        from local_store.deliveries import Post

        if not told:
            return []
        only = next((each.receivers for each in self.file.rules if each.name == alert.rule), ())
        text = packed(alert)
        return [Post(each.name, alert.key, text) for each in self.file.receivers if takes(each, alert, only)]

    def posts(self, alert: Alert) -> list[Post]:
        """What is told of an alert that is told, and to whom."""
        return self._posts(alert, told=True)

    def _say(self, change: Change) -> None:
        alert = change.alert
        silenced = not change.told
        raised = AlertRaised(alert.key, alert.rule, alert.severity, alert.summary, alert.source, silenced)
        self._bus.publish(raised)
        if change.told:
            hint = f"/alerts shows it; {alert.runbook} says what to do." if alert.runbook else "/alerts shows it."
            self._bus.publish(Notice(LEVELS[alert.severity], f"{alert.rule}: {alert.summary}", hint))


def _with_reason(change: Change) -> Alert:
    """The alert as it is told that it is over, with why where it did not get better."""
    return replace(change.alert, details={**change.alert.details, "why": change.why}) if change.why else change.alert


def _standing(alert: Alert, *, told: bool) -> Standing:
    from local_store.alerts import Standing

    return Standing(
        alert.key,
        alert.rule,
        alert.severity,
        alert.summary,
        alert.source,
        int(alert.at * 1000),
        alert.runbook,
        alert.details,
        told,
    )


def alert_of(standing: Standing) -> Alert:
    """The alert that stands so."""
    severity: Severity = next((each for each in LEVELS if each == standing.severity), "error")
    return Alert(
        standing.key,
        standing.rule,
        severity,
        standing.summary,
        standing.source,
        standing.at / 1000,
        details=standing.details,
        runbook=standing.runbook,
    )


def _signature(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_mtime_ns, state.st_size
