"""How a run stands, folded from its events: the one state that the engine keeps of a run, and can make again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sophia_core.swarm import graph
from sophia_core.swarm.plan import Budget, Plan, Step
from sophia_core.swarm.plan_data import from_data, steps_from_data
from sophia_core.swarm.run_log import RUN_ENDED, Happened, RunStatus, Saying, StepState

BEGINS: Final = frozenset({"run.requested", "resume.requested", "retry.requested"})
BEHIND: Final = frozenset({"step.finished", "step.skipped"})
RESTS: Final = frozenset({"run.paused", "run.finished", "run.failed", "run.cancelled"})
WAITS: Final = frozenset({"approval.asked", "input.asked"})
QUIET: Final = frozenset(
    {"step.queued", "step.started", "step.retried", "model.called", "tool.called", "tool.finished", "check.ran"}
)
"""After these nothing else can begin or end than before."""
GIVES: Final = frozenset({"approval.decided", "input.given"})


@dataclass(slots=True)
class StepCourse:
    """How a step, or one of its copies or tries, stands."""

    state: StepState = "planned"
    attempt: int = 0
    """The attempt that was begun last, counted over the whole run."""
    before: int = 0
    """Attempts that count no more, because somebody had the step done again."""
    begun: int = 0
    """How often the last attempt was begun: more than once when a worker ended in it."""
    result: Any = None
    error: str = ""
    goal: str = ""
    """Instead of the plan's, because somebody said so."""
    open: set[str] = field(default_factory=set)
    """Ids of what it waits for a person about."""


@dataclass(slots=True)
class Used:
    """What a run has used so far."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def add(self, detail: Mapping[str, Any], *, requests: int = 0) -> None:
        """Counts what an event says that was used."""
        self.requests += requests
        self.tokens += _whole(detail.get("tokens_in")) + _whole(detail.get("tokens_out"))
        self.cost += _number(detail.get("cost"))


class Reading:
    """Lets many who want a course to be brought up to date share one read of the log."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = self.served = 0

    def want(self) -> int:
        """Return the number that `served` has to reach."""
        self.wanted += 1
        return self.wanted


class Course:
    """A run, event by event."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.plan: Plan | None = None
        self.asked_for: Plan | None = None
        self.growths: dict[str, tuple[Step, ...]] = {}
        """What planners added, by planner."""
        self.values: dict[str, str] = {}
        self.folder = ""
        self.status: RunStatus = "planned"
        self.number = 0
        self.reading = Reading()
        self._states: dict[str, StepState] | None = None
        self._before: tuple[Plan | None, dict[str, frozenset[str]]] = (None, {})
        self.turns = 0
        """How often something happened after which something else may begin, rest or end."""
        self.steps: dict[str, StepCourse] = {}
        self.used = Used()
        self.free = Used()
        """What does not count: a budget begins anew with each retry."""
        self.given: dict[str, Mapping[str, Any]] = {}
        """What persons answered and decided, by id."""
        self.leg = 0
        """The number of the request that set it going since it rested last; 0 while it rests."""
        self.stopping: int = 0
        """The number of a request to cancel it, or 0."""
        self.kill = False
        self.pausing = False
        self.forks: dict[int, Mapping[str, Any]] = {}
        self.warned: set[str] = set()
        self.called: dict[str, tuple[int, float]] = {}

    def step(self, id_: str) -> StepCourse:
        """How that step stands."""
        return self.steps.setdefault(id_, StepCourse())

    def states(self) -> dict[str, StepState]:
        """The states of the plan's own steps."""
        if self._states is None:
            known = self.steps
            steps = self.plan.steps if self.plan else ()
            self._states = {each.id: known[each.id].state if each.id in known else "planned" for each in steps}
        return dict(self._states)

    def results(self, of: Iterable[str] | None = None) -> dict[str, Any]:
        """The results of these steps that are finished; of the plan's own where none are named."""
        ids = [each.id for each in (self.plan.steps if self.plan else ())] if of is None else of
        known = {id_: self.steps[id_] for id_ in ids if id_ in self.steps}
        return {id_: each.result for id_, each in known.items() if each.state == "finished"}

    def finished(self) -> tuple[str, ...]:
        """The steps that are, with their copies and tries."""
        return tuple(id_ for id_, each in self.steps.items() if each.state == "finished")

    def told(self, ids: Iterable[str]) -> dict[str, Any]:
        """What these steps say to those after them: their results, and of one that failed why it did."""
        known = {id_: self.steps[id_] for id_ in sorted(ids) if id_ in self.steps}
        said = {id_: each.error for id_, each in known.items() if each.state == "failed"}
        return said | {id_: each.result for id_, each in known.items() if each.state == "finished"}

    def before(self) -> dict[str, frozenset[str]]:
        """For each step of the plan all that is done before it."""
        if self._before[0] is not self.plan:
            self._before = (self.plan, graph.before(self.plan.steps) if self.plan else {})
        return self._before[1]

    def waiting(self) -> int:
        """How much waits for a person."""
        return sum(len(each.open) for each in self.steps.values())

    def left(self, budget: Budget) -> Budget:
        """What of that budget the run has left."""
        used, free = self.used, self.free
        return Budget(
            None if budget.requests is None else max(0, budget.requests - used.requests + free.requests),
            None if budget.tokens is None else max(0, budget.tokens - used.tokens + free.tokens),
            None if budget.money is None else max(0.0, budget.money - used.cost + free.cost),
            None if budget.seconds is None else max(0.0, budget.seconds - used.seconds + free.seconds),
        )

    def summary(self, coming: Iterable[Saying] = ()) -> dict[str, Any]:
        """What lists of runs show, once what is about to be written is."""
        known = self.states()
        ended: dict[str, StepState] = {
            each.step: "finished" for each in coming if each.kind in BEHIND and each.step in known
        }
        states = list({**known, **ended}.values())
        failed = sum(each.state == "failed" for each in self.steps.values())
        failed += sum(each.kind == "step.failed" for each in coming)
        inputs = sum(1 for each in self.steps.values() for id_ in each.open if id_.startswith("input:"))
        return {
            "done": sum(state in ("finished", "skipped") for state in states),
            "total": len(states),
            "tokens": self.used.tokens,
            "cost": round(self.used.cost, 6),
            "waiting": self.waiting(),
            "inputs": inputs,
            "failed": failed,
        }

    def apply(self, event: Happened) -> None:
        """Goes on by one event. One that is known already changes nothing; one that makes no sense neither."""
        if event.number <= self.number:
            return
        self.number = event.number
        kind = event.kind
        if kind not in QUIET:
            self.turns += 1
        if not self.leg and (kind in BEGINS or (kind == "cancel.requested" and self.status not in RUN_ENDED)):
            self.leg = event.number
        if kind in RESTS:
            self.leg = self.stopping = 0
            self.kill = self.pausing = False
            self._rest(event.kind == "run.paused")
        if found := _RUN.get(kind):
            self._states = None
            found(self, event)
        elif event.step and (step_found := _STEP.get(kind)):
            step_found(self, self.step(event.step), event)
            self._one_changed(event.step, alone=kind not in GIVES)

    def _one_changed(self, id_: str, *, alone: bool) -> None:
        if not alone:
            self._states = None
        elif self._states is not None and id_ in self._states:
            self._states[id_] = self.steps[id_].state

    def _rest(self, paused: bool) -> None:
        for each in self.steps.values():
            each.begun = 0
            if each.state == "queued" or (not paused and each.state in ("running", "waiting")):
                each.state = "planned"
            if not paused:
                each.open.clear()

    # What is asked of the run

    def _requested(self, event: Happened) -> None:
        detail = event.detail
        self.plan = self.asked_for = from_data(detail.get("plan"))
        values = detail.get("values")
        self.values = {str(key): str(value) for key, value in values.items()} if isinstance(values, Mapping) else {}
        self.folder = str(detail.get("folder", ""))

    def _pause(self, event: Happened) -> None:
        self.pausing = bool(self.leg)

    def _resume(self, event: Happened) -> None:
        self.pausing = False

    def _cancel(self, event: Happened) -> None:
        self.stopping = event.number
        self.kill = self.kill or bool(event.detail.get("now"))

    def _retry(self, event: Happened) -> None:
        id_ = str(event.detail.get("step") or event.step)
        if self.plan is None or not id_:
            return
        again = graph.after_all(self.plan.steps, [graph.origin(id_)])
        for name, each in self.steps.items():
            origin = graph.origin(name)
            within = origin == graph.origin(id_)
            # Of copies and tries, those that are done stay done, unless the whole step is asked for.
            if origin not in again and each.state not in ("cancelled", "skipped"):
                continue
            if within and "/" in id_ and name not in (id_, origin) and each.state == "finished":
                continue
            self.steps[name] = StepCourse(attempt=each.attempt, before=each.attempt, goal=each.goal, error=each.error)
        if why := event.detail.get("why"):
            for name, each in self.steps.items():
                each.error = str(why) if graph.origin(name) == graph.origin(id_) else each.error
        self.free = replace(self.used)
        self._regrow(again)
        self.step(id_).goal = str(event.detail.get("goal") or self.step(id_).goal)

    def _fork(self, event: Happened) -> None:
        self.forks[event.number] = event.detail

    def _forked(self, event: Happened) -> None:
        self.forks.pop(_whole(event.detail.get("number")), None)

    def _grown(self, event: Happened) -> None:
        self.growths[str(event.detail.get("by", ""))] = steps_from_data(event.detail.get("steps"))
        self._regrow(frozenset())

    def _regrow(self, without: frozenset[str]) -> None:
        """The plan as it was asked for, with what planners added whose steps are not done again."""
        for planner in without & self.growths.keys():
            del self.growths[planner]
        plan = self.asked_for
        for planner, steps in self.growths.items():
            plan = graph.grown(plan, planner, steps) if plan else None
        self.plan = plan

    def _status(self, event: Happened) -> None:
        word = event.kind.removeprefix("run.")
        self.status = "running" if word in ("started", "resumed") else word  # type: ignore[assignment]

    def _warned(self, event: Happened) -> None:
        self.warned.add(str(event.detail.get("which")))

    # What a step goes through

    def _queued(self, step: StepCourse, event: Happened) -> None:
        step.state = "queued"

    def _started(self, step: StepCourse, event: Happened) -> None:
        attempt = _whole(event.detail.get("attempt"))
        # An end in which it waited for a person was not its fault.
        step.begun = step.begun + 1 if attempt == step.attempt and not step.open else 1
        step.state, step.attempt = ("waiting" if step.open else "running"), attempt

    def _retried(self, step: StepCourse, event: Happened) -> None:
        step.state, step.error = "queued", str(event.detail.get("error", ""))
        step.open.clear()

    def _finished(self, step: StepCourse, event: Happened) -> None:
        step.state, step.result, step.error = "finished", event.detail.get("result"), ""
        self._ended(step, event)

    def _failed(self, step: StepCourse, event: Happened) -> None:
        step.state, step.error = "failed", str(event.detail.get("error", ""))
        self._ended(step, event)

    def _over(self, step: StepCourse, event: Happened) -> None:
        step.state = "skipped" if event.kind == "step.skipped" else "cancelled"
        step.open.clear()

    def _ended(self, step: StepCourse, event: Happened) -> None:
        """What a step says that it used counts where its single calls did not say more."""
        step.open.clear()
        if event.detail.get("group") or event.detail.get("inherited"):
            return
        tokens, cost = self.called.pop(event.step, (0, 0.0))
        said = _whole(event.detail.get("tokens_in")) + _whole(event.detail.get("tokens_out"))
        self.used.tokens += max(0, said - tokens)
        self.used.cost += max(0.0, _number(event.detail.get("cost")) - cost)
        self.used.requests += 0 if tokens else _whole(event.detail.get("requests"))
        self.used.seconds += _number(event.detail.get("seconds"))

    def _called(self, step: StepCourse, event: Happened) -> None:
        self.used.add(event.detail, requests=1)
        tokens, cost = self.called.get(event.step, (0, 0.0))
        more = _whole(event.detail.get("tokens_in")) + _whole(event.detail.get("tokens_out"))
        self.called[event.step] = (tokens + more, cost + _number(event.detail.get("cost")))

    def _asks(self, step: StepCourse, event: Happened) -> None:
        id_ = str(event.detail.get("id", ""))
        if id_ not in self.given:
            step.open.add(f"input:{id_}" if event.kind == "input.asked" else id_)
            step.state = "waiting"

    def _gives(self, step: StepCourse, event: Happened) -> None:
        id_ = str(event.detail.get("id", ""))
        self.given.setdefault(id_, event.detail)
        for each in self.steps.values():
            each.open -= {id_, f"input:{id_}"}
            if each.state == "waiting" and not each.open:
                each.state = "running"


_RUN: Final[Mapping[str, Callable[[Course, Happened], None]]] = {
    "run.requested": Course._requested,
    "pause.requested": Course._pause,
    "resume.requested": Course._resume,
    "cancel.requested": Course._cancel,
    "retry.requested": Course._retry,
    "fork.requested": Course._fork,
    "run.forked": Course._forked,
    "plan.grown": Course._grown,
    "budget.warned": Course._warned,
    **dict.fromkeys(
        ("run.started", "run.resumed", "run.paused", "run.finished", "run.failed", "run.cancelled"), Course._status
    ),
}
_STEP: Final[Mapping[str, Callable[[Course, StepCourse, Happened], None]]] = {
    "step.queued": Course._queued,
    "step.started": Course._started,
    "step.retried": Course._retried,
    "step.finished": Course._finished,
    "step.failed": Course._failed,
    "step.skipped": Course._over,
    "step.cancelled": Course._over,
    "model.called": Course._called,
    **dict.fromkeys(WAITS, Course._asks),
    **dict.fromkeys(GIVES, Course._gives),
}


def smaller(one: Budget, other: Budget) -> Budget:
    """Return the smaller limit of each."""

    def least(a: float | None, b: float | None) -> Any:
        return b if a is None else a if b is None else min(a, b)

    return replace(
        one,
        requests=least(one.requests, other.requests),
        tokens=least(one.tokens, other.tokens),
        money=least(one.money, other.money),
        seconds=least(one.seconds, other.seconds),
    )


def _whole(value: object) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and value == value and abs(value) < 1e15 else 0


def _number(value: object) -> float:
    return max(0.0, float(value)) if isinstance(value, int | float) and value == value and abs(value) < 1e15 else 0.0
