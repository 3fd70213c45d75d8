"""A fork: another run that has everything of the first up to a step, and goes on from there."""

from __future__ import annotations

from sophia_core.swarm import graph
from sophia_core.swarm.engine.course import Course
from sophia_core.swarm.engine.ledger import Pen
from sophia_core.swarm.plan_data import to_data
from sophia_core.swarm.records import Records
from sophia_core.swarm.run_log import Happened, Saying

PAGE = 1000


async def fork(records: Records, pen: Pen, asked: Happened) -> None:
    """Make the run that was asked for; making it twice is making it once. Raises StoreError, ValueError."""
    new, step = str(asked.detail.get("run", "")), graph.origin(str(asked.detail.get("step", "")))
    course = Course(asked.run_id)
    while events := await records.events(asked.run_id, after=course.number, limit=PAGE):
        for event in events:
            if event.number >= asked.number:
                break
            course.apply(event)
        else:
            continue
        break
    plan, record = course.asked_for, await records.run(asked.run_id)
    if plan is None or record is None or not new or step not in {each.id for each in (course.plan or plan).steps}:
        return
    again = graph.after_all((course.plan or plan).steps, [step])
    await records.create(new, plan, record.title, session_id=record.session_id, parent=asked.run_id)
    detail = {
        "plan": to_data(plan),
        "values": course.values,
        "by": str(asked.detail.get("by", "")),
        "folder": course.folder,
    }
    forked = {"from": asked.run_id, "step": step}
    await pen.write(
        Saying(new, "run.requested", "", detail, "planned", "requested"),
        Saying(new, "run.forked", "", forked, key="forked"),
        *_inherited(new, course, again),
    )


def _inherited(new: str, course: Course, again: frozenset[str]) -> list[Saying]:
    """What need not be done again; what planners added comes with them."""
    said = [
        Saying(new, "plan.grown", by, {"steps": [_data(each) for each in steps], "by": by}, key=f"inherited|grown|{by}")
        for by, steps in course.growths.items()
        if by not in again
    ]
    for id_, each in course.steps.items():
        if each.state == "finished" and graph.origin(id_) not in again:
            detail = {"result": each.result, "inherited": True}
            said.append(Saying(new, "step.finished", id_, detail, key=f"inherited|{id_}"))
    return said


def _data(step: object) -> object:
    from sophia_core.swarm.plan_data import step_to_data

    return step_to_data(step)  # type: ignore[arg-type]
