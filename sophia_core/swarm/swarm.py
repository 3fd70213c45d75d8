"""The swarm as the app has it: what there is to see of runs, plans and workers, wherever they run.

Nothing here runs a step. A worker process does; this reads what it and others wrote, and `Steering` asks it for more.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sophia_core.commands import CommandError, command
from sophia_core.sanitize import one_line
from sophia_core.swarm.following import Following
from sophia_core.swarm.open_questions import dead_of, open_questions
from sophia_core.swarm.plan import Plan
from sophia_core.swarm.rows import (
    DeadRow,
    PlanRow,
    RunRow,
    WaitingInput,
    WorkerRow,
    cost_of,
    counted,
    worker_row,
)
from sophia_core.swarm.run_log import RUN_ENDED, Happened, Live, RunStatus, WorkerSeen

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.swarm.records import RunRecord, SwarmRecords
    from sophia_core.swarm.shelf import Plans

MOST_RUNS = 200
PAGE = 1000
PATIENCE_S = 5.0
"""How long nothing may be told of a run before it is looked at itself: it may have been deleted."""
LONGEST_TITLE = 100


class Swarm:
    """Built without looking at anything. Costs nothing until somebody looks, or something runs."""

    def __init__(self, records: SwarmRecords, plans: Callable[[], Plans], bus: Bus) -> None:
        self.records, self._plans = records, plans
        self.following = Following(records, bus)
        self.asked: Callable[[], Awaitable[Mapping[str, int]]] | None = None
        """How many approvals wait, by run, where somebody counts them."""

    # What a pane reads

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Somebody looks at runs: what happens is told on the bus within a quarter of a second, until the end."""
        with self.following.wanted():
            yield

    async def runs(self, limit: int = 50, statuses: tuple[RunStatus, ...] = ()) -> list[RunRow]:
        """Return the runs, of these statuses if any are named, the one in which something happened last first."""
        found = await self.records.runs(min(limit, MOST_RUNS), statuses)
        going = any(each.status not in RUN_ENDED for each in found)
        asked = await self.asked() if self.asked is not None and going else {}
        return [run_row(number, each, asked.get(each.id, 0)) for number, each in enumerate(found, 1)]

    async def run(self, run: str) -> RunRow:
        """Return the run of this number in the list, id, or beginning of an id. Raises CommandError."""
        known = [(each.id, each) for each in await self.runs(MOST_RUNS)]
        found: RunRow = chosen("run", run, known, "/runs lists them.")
        return found

    async def events(self, run_id: str, *, after: int = 0, limit: int = PAGE) -> Sequence[Happened]:
        """Return what happened in a run past the event of this number, in order, so many at most."""
        return await self.records.events(run_id, after=after, limit=limit)

    async def all_events(self, run_id: str) -> list[Happened]:
        """Return everything that happened in a run so far."""
        found: list[Happened] = []
        while page := await self.events(run_id, after=len(found) and found[-1].number):
            found += page
        return found

    async def follow(self, run_id: str) -> AsyncIterator[Happened]:
        """Yield what happened in a run and what happens from now on, until it has ended."""
        number = 0
        with self.looked_at():
            while True:
                news = asyncio.ensure_future(self.following.news())
                try:
                    record = await self.records.run(run_id)
                    while page := await self.events(run_id, after=number):
                        for event in page:
                            yield event
                        number = page[-1].number
                    if record is None or record.status in RUN_ENDED:
                        return
                    await asyncio.wait({news}, timeout=PATIENCE_S)
                finally:
                    news.cancel()

    async def live(self, run_id: str) -> Sequence[Live]:
        """Return what its steps do this moment."""
        return await self.records.live(run_id)

    async def workers(self) -> Sequence[WorkerSeen]:
        """Return the workers, as they last said of themselves."""
        return await self.records.workers()

    async def inputs(self) -> list[WaitingInput]:
        """Return the questions that runs have for a person, the oldest first."""
        open_ones = []
        for each in await self.runs(MOST_RUNS, ("running", "waiting", "paused")):
            if each.waiting or each.status == "waiting":
                open_ones += [(each, asked) for asked in open_questions(await self.all_events(each.id))]
        open_ones.sort(key=lambda pair: pair[1].at)
        return [_input(number, row, asked) for number, (row, asked) in enumerate(open_ones, 1)]

    async def dead_steps(self) -> list[DeadRow]:
        """Return the steps that failed for good and that nobody has retried or dropped, the newest first."""
        found = []
        for each in await self.records.runs(MOST_RUNS):
            # Where the worker said that none failed there is nothing to look for.
            if each.status not in ("finished", "cancelled", "planned") and each.summary.get("failed") != 0:
                row = run_row(0, each)
                found += [(row, dead) for dead in dead_of(await self.all_events(each.id))]
        found.sort(key=lambda pair: -pair[1].at)
        return [_dead(number, row, dead) for number, (row, dead) in enumerate(found, 1)]

    def plan_named(self, name: str) -> Plan:
        """Return the plan of this name, which is one of ours, the person's, or one they trust. Raises CommandError."""
        return self._plans().find(name)

    # What a person asks

    @command("swarm.plans")
    async def plans(self) -> builtins.list[PlanRow]:
        """List the plans that can be run, with what each has to be told."""
        return await self._plans().rows()

    @command("swarm.plan.show")
    async def plan(self, name: str) -> str:
        """Show a plan as it is written."""
        return self._plans().text(name)

    @command("swarm.plan.trust", audited=True)
    async def trust(self, name: str) -> str:
        """Let a plan of this folder run from now on, as long as its text stays the same."""
        return self._plans().trust(name)

    @command("swarm.list", slash="runs")
    async def list(self, status: str = "") -> builtins.list[RunRow]:
        """List the runs, the one in which something happened last first; `status=running` lists only such."""
        return await self.runs(50, _statuses(status))

    @command("swarm.show")
    async def show(self, run: str = "1") -> str:
        """Show how a run goes: its steps, what they used, and what waits for you."""
        from sophia_core.swarm.telling import told

        row = await self.run(run)
        return told(row.id, await self.all_events(row.id), await self.live(row.id))

    @command("swarm.replay")
    async def replay(self, run: str, event: int | None = None) -> str:
        """Show a run as it was after its event of that number, without it what happened, one event a line."""
        from sophia_core.swarm.telling import lines_of, told

        row = await self.run(run)
        happened = await self.all_events(row.id)
        if event is None:
            return "\n".join(lines_of(happened))
        if not 0 < event <= len(happened):
            raise CommandError(f"The run has the events 1 to {len(happened)}.", "Choose one of them.")
        return told(row.id, happened[:event])

    @command("swarm.workers")
    async def list_workers(self) -> builtins.list[WorkerRow]:
        """List the workers: where they are, what they do, and which are lost."""
        return [worker_row(each) for each in await self.workers()]

    @command("swarm.inputs")
    async def list_inputs(self) -> builtins.list[WaitingInput]:
        """List the questions that runs have for you; /swarm.answer answers one."""
        return await self.inputs()

    @command("swarm.dead")
    async def list_dead(self) -> builtins.list[DeadRow]:
        """List the steps that failed for good; each can be retried, edited or dropped."""
        return await self.dead_steps()


def run_row(number: int, record: RunRecord, asked: int = 0) -> RunRow:
    """Return a run for a list, made safe to show; so many approvals of it wait."""
    summary = record.summary
    steps = f"{counted(summary, 'done')}/{counted(summary, 'total')}"
    title = one_line(record.title, LONGEST_TITLE)
    return RunRow(
        number,
        f"{title} (fork)" if record.parent else title,
        record.status,
        steps,
        max(counted(summary, "waiting"), counted(summary, "inputs") + asked),
        counted(summary, "tokens"),
        cost_of(summary),
        record.created_at,
        record.updated_at,
        one_line(record.plan, 60),
        record.parent,
        record.id,
    )


def chosen(what: str, wanted: str, known: list[tuple[str, Any]], hint: str) -> Any:
    """Return the one of this number, or whose id starts so. Raises CommandError."""
    wanted = wanted.strip()
    if wanted.isascii() and wanted.isdecimal() and 0 < int(wanted[:9]) <= len(known):
        return known[int(wanted[:9]) - 1][1]
    lowered = wanted.lower()
    found = [each for id_, each in known if lowered and id_.lower().startswith(lowered)]
    exact = [each for id_, each in known if id_.lower() == lowered]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if found:
        raise CommandError(f"More than one {what} starts with {wanted[:60]!r}.", "Give more of it.")
    raise CommandError(f"There is no {what} {wanted[:60]!r}.", hint)


def _statuses(text: str) -> tuple[RunStatus, ...]:
    known: tuple[RunStatus, ...] = ("planned", "running", "paused", "waiting", "finished", "failed", "cancelled")
    wanted = tuple(each for each in known if each == text.strip())
    if text.strip() == "open":
        return tuple(each for each in known if each not in RUN_ENDED)
    if text.strip() and not wanted:
        raise CommandError(f"There is no status {text[:40]!r}.", f"There is: open, {', '.join(known)}.")
    return wanted


def _input(number: int, row: RunRow, asked: Happened) -> WaitingInput:
    question = one_line(str(asked.detail.get("question", "")), 500)
    return WaitingInput(number, question, row.id, asked.step, asked.at, str(asked.detail.get("id", "")))


def _dead(number: int, row: RunRow, dead: Happened) -> DeadRow:
    detail = dead.detail
    error, hint = (one_line(str(detail.get(name, "")), 300) for name in ("error", "hint"))
    attempts = counted(detail, "attempts")
    return DeadRow(number, dead.step, attempts, dead.at, row.title, row.id, error, hint)
