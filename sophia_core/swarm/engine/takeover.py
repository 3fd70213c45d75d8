"""When a worker is lost, others take up its runs. One of them decides who: the living one whose name comes first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sophia_core.swarm.engine.carrier import Carrier
from sophia_core.swarm.engine.course import Course
from sophia_core.swarm.records import Records
from sophia_core.swarm.run_log import LOST_AFTER_S, WorkerSeen


async def take_over(records: Records, carrier: Carrier, worker: str) -> int:
    """Hand what lost workers had to living ones, if it is ours to decide; return how many runs."""
    seen = await records.workers()
    now_ms = time.time() * 1000
    alive = sorted((each for each in seen if not _gone(each, now_ms)), key=lambda each: each.id)
    gone = [each.id for each in seen if _gone(each, now_ms)]
    if not gone or not alive or alive[0].id != worker:
        return 0
    handed = 0
    for leg_id, run_id in await carrier.in_hand(gone):
        if taker := await _taker(records, run_id, [each for each in alive if each.state == "working"]):
            await carrier.hand_over([leg_id], taker)
            handed += 1
    return handed


def _gone(seen: WorkerSeen, now_ms: float) -> bool:
    return seen.state == "stopped" or now_ms - seen.at > LOST_AFTER_S * 1000


async def _taker(records: Records, run_id: str, alive: Sequence[WorkerSeen]) -> str:
    """The least busy of those that have what the run's plan wants; empty when none has."""
    course = Course(run_id)
    for event in await records.events(run_id, limit=1):
        course.apply(event)
    wanted = set(course.plan.labels) if course.plan else set()
    fit = [each for each in alive if wanted <= set(each.labels)]
    return min(fit, key=lambda each: (each.busy - each.slots, each.id)).id if fit else ""
