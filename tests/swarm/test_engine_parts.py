"""What the engine is made of: sealed values, one pen, places that can be left, a course folded from events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from local_store.box import Box
from sophia_core.swarm.engine.course import Course
from sophia_core.swarm.engine.ledger import Pen, bearable
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.serializing import KeptError, Sealed
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import to_data
from sophia_core.swarm.run_log import Happened, Saying


class Slow:
    """A log that takes its time; one of its events it never takes."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def write_all(self, said: Sequence[Saying]) -> list[int]:
        """Keeps the kinds."""
        await asyncio.sleep(0)
        if any(each.kind == "bad" for each in said):
            raise ValueError("not this one")
        self.batches.append([each.kind for each in said])
        return [1 for _ in said]


async def test_what_is_said_at_once_is_written_at_once_and_a_bad_one_goes_alone() -> None:
    log = Slow()
    pen = Pen(log)
    said = [pen.write(Saying("run", kind)) for kind in ("first", "bad", "last")]
    first, bad, last = await asyncio.gather(*said, return_exceptions=True)
    assert (first, last) == ([1], [1])
    assert isinstance(bad, ValueError)
    await asyncio.gather(*(pen.write(Saying("run", str(number))) for number in range(100)))
    assert log.batches[-1] == [str(number) for number in range(100)]


def test_values_are_sealed_and_nothing_is_unpickled() -> None:
    sealed = Sealed(Box(b"k" * 32))
    text = sealed.serialize({"args": [1, "secret"]})
    assert "secret" not in text
    assert sealed.deserialize(text) == {"args": [1, "secret"]}
    assert isinstance(sealed.deserialize(sealed.serialize(OSError("gone"))), KeptError)
    with pytest.raises(Exception, match=r"sealed|base64|padding|Invalid"):
        Sealed(Box(b"x" * 32)).deserialize(text)
    with pytest.raises(TypeError):
        sealed.serialize(object())


async def test_who_waits_for_a_person_takes_no_place() -> None:
    limits = Limits(parallel=1)
    async with limits.machine() as place:
        place.leave()
        async with limits.machine():
            taking = asyncio.create_task(place.take())
            await asyncio.sleep(0)
            assert not taking.done()
        await taking


def test_long_texts_are_cut_and_structure_stays() -> None:
    detail = bearable({"text": "x" * 1_000_000, "list": [{"a": "y" * 1_000_000}], "number": 3})
    assert len(str(detail)) < 200_000
    assert detail["number"] == 3


def test_a_course_is_the_same_however_often_its_events_are_told() -> None:
    plan = Plan("p", "P", (Step("a", "do"), Step("b", "do", after=("a",))))
    said: list[tuple[str, str, dict[str, Any]]] = [
        ("run.requested", "", {"plan": to_data(plan), "values": {"x": "1"}, "folder": "/f"}),
        ("step.started", "a", {"attempt": 1}),
        ("model.called", "a", {"tokens_in": 3, "tokens_out": 4, "cost": 0.5}),
        ("step.finished", "a", {"result": "A", "tokens_in": 3, "tokens_out": 4, "cost": 0.5, "seconds": 2}),
        ("step.started", "b", {"attempt": 1}),
        ("step.failed", "b", {"error": "no", "attempts": 1}),
        ("run.failed", "", {"error": "no"}),
        ("retry.requested", "b", {"step": "b", "goal": "do it well"}),
    ]
    events = [Happened("r", number, 0, kind, step, detail) for number, (kind, step, detail) in enumerate(said, 1)]
    course = Course("r")
    for event in [*events, *events]:
        course.apply(event)
    assert course.results() == {"a": "A"}
    assert course.states() == {"a": "finished", "b": "planned"}
    assert (course.leg, course.step("b").before, course.step("b").goal) == (8, 1, "do it well")
    assert (course.used.tokens, course.used.cost, course.used.seconds) == (7, 0.5, 2)
