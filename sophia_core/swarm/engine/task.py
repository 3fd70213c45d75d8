"""What an attempt at a step is told, made from how its run stands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sophia_core.swarm import graph
from sophia_core.swarm.engine.course import Course
from sophia_core.swarm.fences import fenced, nonce_for
from sophia_core.swarm.fill import Values, fill, filled
from sophia_core.swarm.plan import Budget
from sophia_core.swarm.ports import StepFailed, StepWork


def work_of(course: Course, id_: str, attempt: int, data: Mapping[str, Any]) -> StepWork:
    """Return all that this attempt needs to know; the same whenever it is taken up. Raises BadText, StepFailed."""
    plan, origin = course.plan, graph.origin(id_)
    step = next((each for each in plan.steps if each.id == origin), None) if plan else None
    if plan is None or step is None:
        raise StepFailed(f"the plan has no step {origin!r}", again=False)
    goal = course.step(id_).goal or course.step(origin).goal or step.goal
    before, item = course.results(sorted(course.before()[origin])), data.get("item")
    nonce = nonce_for(course.run_id, id_, attempt)
    marked = Values(course.values, before, item, lambda said, what: fenced(said, what, nonce))
    step = filled(plan, replace(step, goal=goal), Values(course.values, before, item))
    return StepWork(
        course.run_id,
        replace(step, id=id_, best_of=1),
        attempt,
        course.folder,
        before,
        seed=int(data.get("seed") or 0) or _seed(course.run_id, id_, attempt),
        left=Budget(*data["budget"]),
        trouble=course.step(id_).error,
        item=item,
        finished=course.finished(),
        told=fill(goal, marked),
    )


def _seed(run_id: str, id_: str, attempt: int) -> int:
    digest = hashlib.sha256(f"{run_id}/{id_}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
