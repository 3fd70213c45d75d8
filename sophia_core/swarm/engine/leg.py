"""A run at work: begins what can begin, hears what is asked, and rests or ends. All it knows is folded from the log.

Whatever it does, it does again after a crash: events have keys, attempts have ids, and neither happens twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sophia_core.swarm import graph
from sophia_core.swarm.engine.attempt import Bench, outcome
from sophia_core.swarm.engine.budgets import Budgets
from sophia_core.swarm.engine.carrier import PutDown
from sophia_core.swarm.engine.course import QUIET, Course, smaller
from sophia_core.swarm.engine.host import Desk, Host
from sophia_core.swarm.engine.ledger import bearable
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.task import work_of
from sophia_core.swarm.fill import BadText
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import step_to_data
from sophia_core.swarm.planning import grow
from sophia_core.swarm.ports import StepFailed
from sophia_core.swarm.run_log import STEP_ENDED, RunStatus, Saying

LOOK_S: Final = 5.0
"""How often what waits for a person looks by itself whether it was told."""
LOST: Final = frozenset({"failed", "skipped", "cancelled"})
CRASHES: Final = 10
"""A step in which the worker ended so often is not begun again by itself."""


class Stopped(Exception):
    """A step ended because the run does."""


class Leg:
    """A run from one request that set it going to its next rest or end."""

    def __init__(
        self,
        course: Course,
        leg_id: str,
        desk: Desk,
        bench: Bench,
        limits: Limits,
        follow: Callable[[Course], Awaitable[None]],
    ) -> None:
        """`follow` brings the course up to what the log has."""
        self.course, self.id, self._follow, self._worker = course, leg_id, follow, desk.carrier.worker
        self._desk, self._bench, self._limits = desk, bench, limits
        self.resting = False
        """What is at work is put down where it is: a pause, or the worker ends."""
        self.leaving = False
        """The worker ends; the run goes on elsewhere, or here later."""
        self.over = asyncio.Event()
        self._now = False
        self._rests = False
        """Whether its rest or end is being written; what a step says late does not set the run going again."""
        self._changed, self._news = asyncio.Event(), asyncio.Event()
        self._turns = course.turns
        self._ended_tasks: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(self._plan.parallel)
        self._at_work: dict[tuple[str, int], asyncio.Task[dict[str, Any]]] = {}
        self._budgets = Budgets(course, self._say)

    @property
    def run_id(self) -> str:
        """Whose leg it is."""
        return self.course.run_id

    @property
    def _plan(self) -> Plan:
        if self.course.plan is None:
            raise StepFailed("the run has no plan")
        return self.course.plan

    def heard(self) -> None:
        """Something happened in the run; the course has it already."""
        if self.course.turns != self._turns or self.leaving:
            self._turns = self.course.turns
            self._changed.set()
        news, self._news = self._news, asyncio.Event()
        news.set()

    def leave(self, *, now: bool) -> None:
        """Put down what is at work, as it is, and end here; without `now`, each when it has kept what it does."""
        self.leaving = self.resting = True
        self._now = self._now or now
        self.heard()

    @property
    def busy(self) -> bool:
        """Whether anything in it does not wait for a person."""
        states = {each.state for each in self.course.steps.values()}
        return "waiting" not in states or bool(states & {"running", "queued"})

    # Its course

    async def run(self) -> str:
        """Go on until it rests or ends; how."""
        again = any(each.attempt for each in self.course.steps.values())
        kind = "run.resumed" if again else "run.started"
        detail = {"worker": self._worker} if again else {"worker": self._worker, "version": "1"}
        await self._say(kind, detail, status="running", key=f"{kind}|{self.id}")
        try:
            return await self._go_on()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self.over.set()

    async def _go_on(self) -> str:
        while True:
            self._changed.clear()
            await self._budgets.look()
            if word := await self._ended():
                return word
            if not (self.resting or self.course.stopping or self.course.pausing or self._budgets.reached):
                await self._begin_ready()
            await self._wait()

    async def _wait(self) -> None:
        """Until a step has ended or something was heard that matters."""
        await self._changed.wait()
        ended, self._ended_tasks = self._ended_tasks, []
        for id_ in ended:
            with contextlib.suppress(Stopped, PutDown):
                self._tasks.pop(id_).result()

    def _begin(self, step: Step) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._ended_tasks.append(step.id)
            self._changed.set()

        self._tasks[step.id] = task = asyncio.create_task(self._step(step), name=f"{self.run_id}/{step.id}")
        task.add_done_callback(ended)

    async def _ended(self) -> str:
        course = self.course
        if self.leaving:
            if not self._now and not self._waits_only():
                return ""
            await self._all_down()
            raise asyncio.CancelledError
        if course.stopping:
            return await self._cancelled("it was asked for" if not course.kill else "it was stopped at once")
        if self._budgets.reached:
            return await self._failed_of_budget()
        standing = self._standing()
        if standing.status == "running" and course.pausing:
            self.resting = True
            if not self._waits_only():
                return ""
            await self._all_down()
            await self._rest("paused", {})
            return "paused"
        if standing.status == "failed":
            return await self._failed(standing.step)
        if standing.status == "finished" and not self._tasks:
            result = graph.outcome(self._plan, course.results())
            await self._skip_doomed()
            await self._rest("finished", {"result": result})
            return "finished"
        return ""

    def _standing(self) -> graph.Ending:
        """How the run stands; looked at closely only when it may be over."""
        states = self.course.states().values()
        if any(each in LOST for each in states) or all(each in STEP_ENDED for each in states):
            return graph.ending(self._plan, self.course.states())
        return graph.Ending("running")

    def _waits_only(self) -> bool:
        """Whether everything that is at work waits for a person, or is down already."""
        return all(self.course.step(id_).open or task.done() for (id_, _), task in self._at_work.items())

    async def _all_down(self) -> None:
        tasks = list(self._at_work.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _rest(self, status: RunStatus, detail: Mapping[str, Any]) -> None:
        self._rests = True
        await self._say(f"run.{status}", detail, status=status, key=f"run.{status}|{self.id}")

    async def _failed(self, step: str) -> str:
        """No further step begins; what is at work comes to its end, what waits for a person is let go."""
        if self._tasks and not self._waits_only():
            return ""
        await self._stop_steps("the run failed")
        error = self.course.step(step).error
        detail = {"error": error, "hint": f"Retry {step}, or fork the run from there.", "step": step}
        await self._rest("failed", detail)
        return "failed"

    async def _failed_of_budget(self) -> str:
        await self._stop_steps("the budget is used up")
        error = f"the budget is used up: {self._budgets.reached}"
        detail = {"error": error, "hint": "Fork it from its last step, or run it with more.", "step": ""}
        await self._rest("failed", detail)
        return "failed"

    async def _cancelled(self, reason: str) -> str:
        if not self.course.kill:
            # What is at work comes to the end of what it does this moment.
            self.resting = True
            if not self._waits_only():
                return ""
        await self._stop_steps(reason)
        await self._rest("cancelled", {"reason": reason})
        return "cancelled"

    async def _stop_steps(self, reason: str) -> None:
        await self._all_down()
        stopped = [
            self._saying("step.cancelled", {"reason": reason}, id_, key=f"step.cancelled|{id_}|{self.id}")
            for id_, each in self.course.steps.items()
            if each.state in ("queued", "running", "waiting")
        ]
        if stopped:
            await self._write(*stopped)

    async def _skip_doomed(self) -> None:
        if not any(each in LOST for each in self.course.states().values()):
            return
        for step, why in graph.doomed(self._plan, self.course.states()):
            await self._say("step.skipped", {"why": why}, step.id, key=f"step.skipped|{step.id}|{self.id}")

    # Its steps

    async def _begin_ready(self) -> None:
        await self._skip_doomed()
        states, plan = self.course.states(), self._plan
        lost = {each.id for each in plan.steps if states[each.id] in LOST and each.on_failure == "stop"}
        for step in plan.steps:
            # What was under way when the leg before ended is begun already, and comes again.
            under_way = states[step.id] in graph.BUSY
            if step.id in self._tasks or not (under_way or states[step.id] == "planned"):
                continue
            if under_way or all(states[need] in STEP_ENDED and need not in lost for need in graph.needs(step)):
                self._begin(step)

    async def _step(self, step: Step) -> None:
        """Does a step of the plan: once, or once for each of a list."""
        try:
            if step.each:
                await self._each(step)
            else:
                await self._tries(step, None)
        except (StepFailed, BadText) as error:
            wrong = error if isinstance(error, StepFailed) else StepFailed(str(error), "Mend the plan.", again=False)
            await self._step_failed(
                step.id, {"error": str(wrong), "hint": wrong.hint}, self.course.step(step.id).attempt
            )

    async def _each(self, step: Step) -> None:
        copies = graph.copies(step, self.course.results().get(step.each))
        await self._group_began(step, len(copies))
        done = await asyncio.gather(*(self._tries(each.step, each.item) for each in copies))
        if all(done):
            await self._group_finished(step, [self.course.step(each.step.id).result for each in copies])
            return
        bad = next(each.step.id for each, ok in zip(copies, done, strict=True) if not ok)
        raise StepFailed(f"{bad}: {self.course.step(bad).error}", f"Retry {bad}.", again=False)

    async def _tries(self, step: Step, item: Any) -> bool:
        """Does it, of several tries the one that is done first; whether it is finished."""
        tries = graph.tries(step)
        if len(tries) == 1:
            return await self._attempts(step, item, 0)
        if self.course.step(step.id).state == "finished":
            return True
        await self._group_began(step, len(tries))
        if best := next((each for each in tries if self.course.step(each.id).state == "finished"), None):
            await self._group_finished(step, self.course.step(best.id).result)
            return True
        tasks = [asyncio.create_task(self._attempts(each, item, seed)) for seed, each in enumerate(tries)]
        try:
            best = await self._first(tries, tasks)
        finally:
            await self._let_go(tries, tasks)
        if best is None:
            error = self.course.step(tries[0].id).error
            detail = {"error": f"none of {len(tries)} tries got there; the first: {error}", "hint": "Retry it."}
            await self._step_failed(step.id, detail, 1)
            return False
        await self._group_finished(step, self.course.step(best.id).result)
        return True

    async def _first(self, tries: Sequence[Step], tasks: list[asyncio.Task[bool]]) -> Step | None:
        for done in asyncio.as_completed(tasks):
            if await done:
                return next(each for each in tries if self.course.step(each.id).state == "finished")
        return None

    async def _let_go(self, tries: Sequence[Step], tasks: list[asyncio.Task[bool]]) -> None:
        if self.resting or self.course.stopping:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return
        for each, task in zip(tries, tasks, strict=True):
            if task.done():
                continue
            task.cancel()
            for (id_, _), work in list(self._at_work.items()):
                if id_ == each.id:
                    work.cancel()
            await asyncio.gather(task, return_exceptions=True)
            detail = {"reason": "another try was done first"}
            await self._say("step.cancelled", detail, each.id, key=f"step.cancelled|{each.id}|{self.id}")

    async def _attempts(self, step: Step, item: Any, seed: int) -> bool:
        """Tries it again as often as the step allows; whether it is finished."""
        now = self.course.step(step.id)
        while True:
            if now.state in ("finished", "failed"):
                return now.state == "finished"
            again = now.state in ("running", "waiting")
            attempt = now.attempt if again else now.attempt + 1
            queued = []
            if now.state == "planned" or not again:
                queued = [self._saying("step.queued", {}, step.id, key=f"step.queued|{step.id}|{attempt}")]
            if queued and self._places.locked():
                await self._write(*queued)
                queued = []
            async with self._places:
                found = await self._attempt(step, item, seed, attempt, queued)
                # What it used counts before another takes its place.
                last = await self._judged(step, attempt, found)
            now = self.course.step(step.id)
            if last:
                return now.state == "finished"
            await asyncio.sleep(step.retry.wait_s * step.retry.growth ** max(0, attempt - now.before - 1))
            now = self.course.step(step.id)

    async def _attempt(
        self, step: Step, item: Any, seed: int, attempt: int, queued: Sequence[Saying]
    ) -> Mapping[str, Any]:
        if self.resting or self.course.stopping or self._budgets.reached:
            raise Stopped
        now = self.course.step(step.id)
        if now.attempt == attempt and now.begun >= CRASHES and not now.open:
            error = f"the worker ended {now.begun} times in this step"
            hint = "Look at what it does before it is retried."
            return {"state": "failed", "error": error, "hint": hint, "again": False}
        key = f"step.started|{step.id}|{attempt}|{self._desk.carrier.boot}"
        detail = {"attempt": attempt, "worker": self._worker}
        await self._write(*queued, self._saying("step.started", detail, step.id, key=key))
        left = smaller(step.budget, self.course.left(self._plan.budget))
        data = {"budget": [left.requests, left.tokens, left.money, left.seconds], "item": item, "seed": seed}
        id_ = f"{self.run_id}:{step.id}#{attempt}"
        found = await self._desk.carrier.attempt(id_, self.run_id, step.id, attempt, data)
        return found if isinstance(found, Mapping) else {"state": "failed", "error": "it gave nothing", "again": True}

    async def _judged(self, step: Step, attempt: int, found: Mapping[str, Any]) -> bool:
        """Writes down what came of an attempt; whether that was the last."""
        spent = dict(found.get("spent") or {})
        detail = {**spent, "seconds": round(float(found.get("seconds") or 0.0), 3)}
        if found.get("state") == "finished":
            said = self._saying(
                "step.finished",
                {"result": found.get("value"), **detail},
                step.id,
                key=f"step.finished|{step.id}|{attempt}",
            )
            try:
                grown = self._growth(step, found.get("value"))
            except ValueError as wrong:
                unfit = {**found, "state": "failed", "error": f"its plan does not do: {wrong}", "again": True}
                return await self._judged(step, attempt, unfit)
            await self._write(*grown, said)
            await self._budgets.look()
            return True
        if found.get("state") == "back":
            # It is planned again with this, like all that comes after the step that is asked for.
            again = {"step": str(found["step"]), "why": str(found["why"]), "by": step.id}
            await self._say("retry.requested", again, again["step"], key=f"retry.requested|{step.id}|{attempt}")
            return True
        tried = attempt - self.course.step(step.id).before
        error = str(found.get("error") or "it failed")
        if found.get("again", True) and tried <= step.retry.times and not found.get("budget"):
            wait_s = step.retry.wait_s * step.retry.growth ** (tried - 1)
            retried = {"attempt": attempt + 1, "error": error, "wait_s": wait_s, **detail}
            await self._say("step.retried", retried, step.id, key=f"step.retried|{step.id}|{attempt}")
            await self._budgets.look()
            return False
        await self._step_failed(step.id, {"error": error, "hint": str(found.get("hint") or ""), **detail}, attempt)
        await self._budgets.look()
        return True

    def _growth(self, step: Step, value: Any) -> list[Saying]:
        """What a planner adds goes in together with its end, so that nothing that comes after it begins before."""
        if step.kind != "planner" or step.id != graph.origin(step.id):
            return []
        _, steps = grow(self._plan, step.id, value)
        data = {"steps": [step_to_data(each) for each in steps], "by": step.id}
        return [
            self._saying("plan.grown", data, step.id, key=f"plan.grown|{step.id}|{self.course.step(step.id).attempt}")
        ]

    async def _step_failed(self, id_: str, detail: Mapping[str, Any], attempt: int) -> None:
        tried = max(1, attempt - self.course.step(id_).before)
        # What the plan goes on without waits for nobody.
        mild = any(each.id == graph.origin(id_) and each.on_failure == "go on" for each in self._plan.steps)
        said = {**bearable(detail), "attempts": tried, "dead": not mild}
        await self._say("step.failed", said, id_, key=f"step.failed|{id_}|{attempt}|{self.course.leg}")

    async def _group_began(self, step: Step, count: int) -> None:
        now = self.course.step(step.id)
        if now.state == "planned":
            attempt = now.attempt + 1
            await self._say("step.queued", {}, step.id, key=f"step.queued|{step.id}|{attempt}")
            detail = {"attempt": attempt, "worker": self._worker, "group": count}
            await self._say("step.started", detail, step.id, key=f"step.started|{step.id}|{attempt}")

    async def _group_finished(self, step: Step, result: Any) -> None:
        detail = {"result": result, "group": True, "tokens_in": 0, "tokens_out": 0, "cost": 0.0, "seconds": 0.0}
        attempt = self.course.step(step.id).attempt
        await self._say("step.finished", detail, step.id, key=f"step.finished|{step.id}|{attempt}")

    # What DBOS calls

    async def work(self, id_: str, attempt: int, data: Mapping[str, Any]) -> dict[str, Any]:
        """Does an attempt. The same one going on here already is stopped first: DBOS keeps what this one does."""
        if (older := self._at_work.get((id_, attempt))) is not None:
            older.cancel()
            await asyncio.wait({older})
        task = asyncio.create_task(self._work(id_, attempt, data))
        self._at_work[id_, attempt] = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            if self._at_work.get((id_, attempt)) is task:
                del self._at_work[id_, attempt]
            if self.resting or self.course.stopping:
                self._changed.set()

    async def _work(self, id_: str, attempt: int, data: Mapping[str, Any]) -> dict[str, Any]:
        async with self._limits.machine() as place:
            if self.resting:
                raise asyncio.CancelledError
            host = Host(self._desk, self, self.run_id, id_, attempt, place)
            try:
                work = work_of(self.course, id_, attempt, data)
            except (StepFailed, BadText) as error:
                return {"state": "failed", "error": str(error), "hint": "Mend the plan.", "again": False}
            return await outcome(self._bench, host, work)

    def asking(self) -> Mapping[str, Any]:
        """What lists show of the run, with one question more that waits."""
        summary = self.course.summary()
        return {**summary, "waiting": summary["waiting"] + 1, "inputs": summary["inputs"] + 1}

    async def given(self, id_: str, look: Callable[[], Awaitable[Mapping[str, Any] | None]]) -> Mapping[str, Any]:
        """What was said to that question or request."""
        while True:
            news = self._news
            if found := await look():
                return found
            if (found := self.course.given.get(id_)) is not None and "text" in found:
                return found
            with contextlib.suppress(TimeoutError):
                # Not wait_for, which forgets that it was cancelled when the news come in the same moment.
                async with asyncio.timeout(LOOK_S):
                    await news.wait()

    # What it says

    def _saying(self, kind: str, detail: Mapping[str, Any], step: str = "", **more: Any) -> Saying:
        return Saying(self.run_id, kind, step, detail, **more)

    async def _say(
        self, kind: str, detail: Mapping[str, Any], step: str = "", *, status: RunStatus | None = None, key: str = ""
    ) -> None:
        await self._write(Saying(self.run_id, kind, step, detail, status, key))

    async def _write(self, *said: Saying) -> None:
        """Writes them down, and goes on by what was written, which is heard at once and not only when it is read."""
        last = said[-1]
        if last.kind not in QUIET:
            going: RunStatus | None = None if self._rests else "running" if self.busy else "waiting"
            last = replace(last, status=last.status or going, summary=self.course.summary(said))
        numbers = await self._desk.pen.write(*said[:-1], last)
        if not all(numbers) or numbers[-1] > self.course.number:
            await self._follow(self.course)
        self.heard()
