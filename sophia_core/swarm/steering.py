"""What a person asks of the swarm: begin, pause, go on, stop, do again. Each is written into the run and obeyed by a
worker, once; so it counts even where no worker is there yet, or the one that is there dies over it.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local_store.errors import StoreError
from local_store.ids import new_id
from sophia_core.commands import BadArguments, CommandError, command
from sophia_core.macros.macros import parse_values
from sophia_core.sanitize import one_line
from sophia_core.swarm.plan import Budget, Plan
from sophia_core.swarm.rows import SHORT_ID, Begun, DeadRow, RunRow, WaitingInput
from sophia_core.swarm.run_log import RUN_ENDED, RunStatus
from sophia_core.swarm.swarm import chosen

if TYPE_CHECKING:
    from sophia_core.state import Current
    from sophia_core.swarm.calling import Worker
    from sophia_core.swarm.preview import Preview
    from sophia_core.swarm.swarm import Swarm

LONGEST_ANSWER: Final = 16_000
LONGEST_WAIT_S: Final = 5.0
"""How long a run is waited for before it is looked at itself: it may have been deleted."""


class Steering:
    """Writes what is asked into the log, and pokes the worker; starts one where none is there."""

    def __init__(self, swarm: Swarm, worker: Worker, current: Current, preview: Preview) -> None:
        self._swarm, self._records = swarm, swarm.records
        self._worker, self._current, self._preview = worker, current, preview

    # Beginning

    async def would(
        self, plan: str, values: str = "", *, wait: bool = False, usd: float | None = None, tokens: int | None = None
    ) -> str:
        """Says what a run would do and use, before it is let begin."""
        found, given = self._checked(plan, values, usd, tokens)
        await self._preview.refuse(found)
        return await self._preview.words(found, given)

    @command("swarm.run", dangerous=True, check=would)
    async def run(
        self, plan: str, values: str = "", *, wait: bool = False, usd: float | None = None, tokens: int | None = None
    ) -> Begun:
        """Run a plan, with its values as name=value, on at most so many `usd` or `tokens`; `wait=true` waits for it."""
        found, given = self._checked(plan, values, usd, tokens)
        begun = await self.begin(found, given)
        return await self.result(begun.id) if wait else begun

    def _checked(self, name: str, values: str, usd: float | None, tokens: int | None) -> tuple[Plan, dict[str, str]]:
        plan = limited(self._swarm.plan_named(name), usd, tokens)
        return plan, filled(plan, parse_values(values))

    async def begin(self, plan: Plan, values: Mapping[str, str], *, title: str = "") -> Begun:
        """Ask for a run of this plan, whose values are complete. Returns as soon as that is written down."""
        await self._preview.refuse(plan)
        self._worker.require()
        run_id, title = new_id(), one_line(title or _title(plan, values), 200)
        await self._records.create(run_id, plan, title, session_id=self._current.session_id)
        detail = {
            "plan": as_data(plan),
            "values": dict(values),
            "by": asker(),
            "folder": str(Path.cwd()),
            "estimate": await self._preview.data(plan, values),
        }
        await self._records.append(run_id, "run.requested", detail=detail, key="requested")
        await self._poke()
        return Begun(run_id, title, "planned")

    async def result(self, run_id: str) -> Begun:
        """Wait until a run has ended, and return what came of it. Raises CommandError when it failed."""
        with self._swarm.looked_at():
            while True:
                news = asyncio.ensure_future(self._swarm.following.news())
                record = await self._records.run(run_id)
                if record is None or record.status in RUN_ENDED:
                    news.cancel()
                    break
                await asyncio.wait({news}, timeout=LONGEST_WAIT_S)
        if record is None:
            raise CommandError("The run was deleted meanwhile.")
        last = next((each for each in reversed(await self._swarm.all_events(run_id)) if _ends(each.kind)), None)
        detail: Mapping[str, Any] = last.detail if last else {}
        if record.status == "failed":
            raise CommandError(one_line(str(detail.get("error", "The run failed.")), 500), str(detail.get("hint", "")))
        return Begun(run_id, record.title, record.status, detail.get("result"))

    # While it goes on

    @command("swarm.watch")
    async def watch(self, run: str = "1") -> Begun:
        """Wait until a run has ended, and show what came of it."""
        return await self.result((await self._swarm.run(run)).id)

    @command("swarm.pause", audited=True)
    async def pause(self, run: str = "1") -> str:
        """Begin no further step of a run; what is at work goes on to its end."""
        row = await self._going(run)
        await self._ask(row, "pause.requested", {})
        return f"{row.title}: no further step begins. `/swarm.resume {row.id[:SHORT_ID]}` lets it go on."

    @command("swarm.resume", audited=True)
    async def resume(self, run: str = "1") -> str:
        """Let a run go on that was paused."""
        row = await self._going(run)
        await self._ask(row, "resume.requested", {})
        return f"{row.title} goes on."

    async def _named(self, run: str = "1") -> str:
        """Names the run, and looks whether it goes on at all."""
        row = await self._going(run)
        return f"{row.title}, {row.steps} steps done"

    @command("swarm.cancel", dangerous=True, check=_named)
    async def cancel(self, run: str = "1") -> str:
        """Stop a run for good: no further step begins, what is at work may come to its end."""
        row = await self._going(run)
        await self._ask(row, "cancel.requested", {"now": False})
        return f"{row.title} is being stopped."

    @command("swarm.kill", dangerous=True, check=_named)
    async def kill(self, run: str = "1") -> str:
        """Stop a run at once, with all that is at work in it."""
        row = await self._going(run)
        await self._ask(row, "cancel.requested", {"now": True})
        return f"{row.title} is stopped at once."

    async def _going(self, run: str) -> RunRow:
        row = await self._swarm.run(run)
        if row.status in RUN_ENDED:
            hint = f"/swarm.retry does a step again, /swarm.fork goes on from one: of run {row.id[:SHORT_ID]}."
            raise CommandError(f"{row.title} is {row.status} already.", hint)
        return row

    # Again

    @command("swarm.retry", audited=True)
    async def retry(self, run: str, step: str, goal: str = "") -> str:
        """Do a step of a run again, and what comes after it; with a `goal`, that instead of its own."""
        row = await self._swarm.run(run)
        step = await self._step_of(row, step)
        detail = {"step": step, **({"goal": goal} if goal.strip() else {})}
        await self._ask(row, "retry.requested", detail, step=step)
        return f"{row.title}: {step} is done again."

    @command("swarm.fork", audited=True)
    async def fork(self, run: str, step: str) -> Begun:
        """Begin another run that has everything of this one up to a step, and does that step anew."""
        row = await self._swarm.run(run)
        step, fork = await self._step_of(row, step), new_id()
        await self._ask(row, "fork.requested", {"step": step, "run": fork}, step=step)
        return Begun(fork, row.title, "planned")

    async def _step_of(self, row: RunRow, step: str) -> str:
        """Return the id of a step that has been at work. Raises CommandError."""
        known = {each.step: None for each in await self._swarm.all_events(row.id) if each.step}
        if step not in known:
            names = ", ".join(list(known)[:20]) or "none has begun"
            raise CommandError(f"No step {step[:60]!r} has begun in {row.title}.", f"There is: {names}.")
        return step

    # What waits for a person

    @command("swarm.answer", audited=True)
    async def answer(self, question: str, text: str) -> str:
        """Answer what a run asks; name the question by its number in swarm.inputs, or the start of its id."""
        known = await self._swarm.inputs()
        found: WaitingInput = chosen(
            "question", question, [(each.id, each) for each in known], "swarm.inputs lists them."
        )
        if not text.strip() or len(text) > LONGEST_ANSWER:
            raise BadArguments("An answer has 1 to 16,000 characters.", "Say it shorter, or put it in a file.")
        detail = {"id": found.id, "text": text, "by": asker()}
        if not await self._append(found.run, "input.given", detail, step=found.step, key=f"given/{found.id}"):
            raise CommandError("Somebody has answered it already.", "swarm.inputs lists what is still asked.")
        await self._poke()
        return "The run goes on with your answer."

    # What is dead

    async def _about(self, step: str) -> str:
        """Names what would be given up."""
        return ", ".join(f"{each.step} of {each.title}" for each in (await self._some(step))[:3])

    @command("swarm.dead.retry", audited=True)
    async def dead_retry(self, step: str, goal: str = "") -> str:
        """Do a dead step again, by its number in swarm.dead, or `all`; with a `goal`, that instead of its own."""
        some = await self._some(step)
        for each in some:
            detail = {"step": each.step, "by": asker(), **({"goal": goal} if goal.strip() else {})}
            await self._append(each.run, "retry.requested", detail, step=each.step, status="planned")
        await self._poke()
        return f"{_counted(len(some))} again."

    @command("swarm.dead.drop", dangerous=True, check=_about)
    async def dead_drop(self, step: str) -> str:
        """Give up a dead step, by its number in swarm.dead, or `all`; its run stays as it is."""
        some = await self._some(step)
        for each in some:
            await self._append(each.run, "dead.dropped", {"by": asker()}, step=each.step)
        return f"{_counted(len(some))} no more."

    async def _some(self, step: str) -> list[DeadRow]:
        dead = await self._swarm.dead_steps()
        if step.strip().lower() == "all" and dead:
            return dead
        known = [(f"{each.run}/{each.step}", each) for each in dead]
        return [chosen("dead step", step, known, "swarm.dead lists them.")]

    # Tidying up

    async def _gone(self, run: str) -> str:
        """Names what would be deleted; a run that goes on is stopped first."""
        row = await self._swarm.run(run)
        if row.status not in RUN_ENDED:
            raise CommandError(f"{row.title} is {row.status}.", f"Stop it first: /swarm.cancel {row.id[:SHORT_ID]}")
        return f"{row.title}, {row.status}"

    @command("swarm.delete", dangerous=True, check=_gone)
    async def delete(self, run: str) -> str:
        """Delete a run that has ended, with everything that happened in it."""
        words = await self._gone(run)
        row = await self._swarm.run(run)
        await self._records.delete(row.id)
        await asyncio.to_thread(_without_worktrees, row.id, self._worker.worktrees)
        self._swarm.following.wake()
        return f"Deleted: {words}."

    @command("swarm.start", audited=True)
    async def start(self) -> str:
        """Start the worker of this machine, if it is not there."""
        return "A worker is starting." if await self._worker.call() else "The worker is there already."

    @command("swarm.drain", audited=True)
    async def drain(self) -> str:
        """Let the worker of this machine finish what it does, take nothing more, and end."""
        if not await self._worker.say("drain"):
            raise CommandError("No worker is there.", "/swarm.workers lists those of other machines.")
        return "The worker takes nothing more, and ends when it is done."

    # How it is asked

    async def _ask(self, row: RunRow, kind: str, detail: dict[str, Any], *, step: str = "") -> None:
        """Writes down what is asked of a run; one that has ended is taken up again by it."""
        status: RunStatus | None = "planned" if row.status in RUN_ENDED and kind == "retry.requested" else None
        await self._append(row.id, kind, {**detail, "by": asker()}, step=step, status=status)
        await self._poke()

    async def _append(
        self,
        run_id: str,
        kind: str,
        detail: dict[str, Any],
        *,
        step: str = "",
        key: str = "",
        status: RunStatus | None = None,
    ) -> bool:
        try:
            return await self._records.append(run_id, kind, step=step, detail=detail, key=key, status=status)
        except StoreError as error:
            raise CommandError(str(error), error.hint) from None

    async def _poke(self) -> None:
        self._swarm.following.wake()
        await self._worker.call()


def limited(plan: Plan, usd: float | None, tokens: int | None) -> Plan:
    """Return the plan with a smaller budget, where one is given. Raises BadArguments."""
    if (usd is not None and not 0 <= usd < 1e6) or (tokens is not None and not 0 < tokens < 1 << 40):
        raise BadArguments("A budget is a number of US dollars from 0, or of tokens from 1.", "Like: usd=0.50")
    budget: Budget = plan.budget
    if usd is not None:
        budget = replace(budget, money=usd)
    if tokens is not None:
        budget = replace(budget, tokens=tokens)
    return replace(plan, budget=budget)


def filled(plan: Plan, given: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every parameter of the plan. Raises BadArguments for one too many or too few."""
    known = {each.name: each for each in plan.params}
    if unknown := sorted(given.keys() - known.keys()):
        raise BadArguments(f"{plan.name} has no parameter {unknown[0]!r}.", f"It has: {', '.join(known) or 'none'}.")
    values = {name: given.get(name, each.default) for name, each in known.items()}
    if missing := [name for name, value in values.items() if value is None]:
        help_text = known[missing[0]].help
        raise BadArguments(f"{plan.name} needs {missing[0]!r}.", help_text or f"Give it as {missing[0]}=…")
    return {name: value for name, value in values.items() if value is not None}


def asker() -> str:
    """Return who asks: the name of the account, as far as the system knows one."""
    with suppress(OSError, KeyError, ImportError):
        return one_line(getpass.getuser(), 60)
    return "you"


def as_data(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON takes it."""
    from sophia_core.swarm.plan_data import to_data

    return to_data(plan)


def _without_worktrees(run_id: str, place: Path) -> None:
    from sophia_core.swarm.tools.sweeping import forget

    forget(run_id, place)


def _title(plan: Plan, values: Mapping[str, str]) -> str:
    first = next((value for value in values.values() if value.strip()), "")
    return f"{plan.title or plan.name}: {one_line(first, 60)}" if first else plan.title or plan.name


def _ends(kind: str) -> bool:
    return kind.startswith("run.") and kind.removeprefix("run.") in RUN_ENDED


def _counted(count: int) -> str:
    return "1 step is done" if count == 1 else f"{count} steps are done"
