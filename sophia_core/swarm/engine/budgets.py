"""Whether a run may go on: its budget is an end like any other, told before it comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from sophia_core.swarm.engine.course import Course

WARN_AT: Final = 0.8
Say = Callable[..., Awaitable[None]]


class Budgets:
    """Looks after each step what the run has used."""

    def __init__(self, course: Course, say: Say) -> None:
        self._course, self._say = course, say
        self.reached = ""
        """Which limit is reached, in a few words; empty while none is."""

    async def look(self) -> None:
        """Warns once for each limit that is near, and says when one is reached."""
        for which, used, limit in self._limits():
            detail: Mapping[str, Any] = {"which": which, "used": used, "limit": limit}
            if used >= limit and not self._over():
                self.reached = f"{used:g} of {limit:g} {which}"
                await self._say("budget.reached", detail, key=f"budget.reached|{which}|{self._course.leg}")
            elif used >= WARN_AT * limit and which not in self._course.warned:
                await self._say("budget.warned", detail, key=f"budget.warned|{which}")

    def _over(self) -> bool:
        """Whether nothing is left to be done anyway: a run that got there did not fail of its budget."""
        from sophia_core.swarm import graph

        course = self._course
        return course.plan is None or graph.ending(course.plan, course.states()).status != "running"

    def _limits(self) -> Iterator[tuple[str, float, float]]:
        plan, used, free = self._course.plan, self._course.used, self._course.free
        if plan is None:
            return
        budget = plan.budget
        for which, spent, limit in (
            ("questions", used.requests - free.requests, budget.requests),
            ("tokens", used.tokens - free.tokens, budget.tokens),
            ("US dollars", used.cost - free.cost, budget.money),
            ("seconds", used.seconds - free.seconds, budget.seconds),
        ):
            if limit is not None:
                yield which, spent, limit
