"""What somebody meets who steers runs from the pane and from a shell: each of these once was wrong or missing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sophia_core.swarm.engine import runners
from sophia_core.swarm.engine.course import Course
from sophia_core.swarm.engine.runners import Means, Runners
from sophia_core.swarm.plan import Plan, Step
from sophia_core.swarm.plan_data import to_data
from sophia_core.swarm.ports import StepFailed
from sophia_core.swarm.records import RunRecord
from sophia_core.swarm.run_log import Happened, Saying
from sophia_core.swarm.swarm import run_row
from sophia_core.swarm.view.detail import step_lines
from sophia_core.swarm.view.folding import fold

PLAN = Plan("p", "P", (Step("mend", "Mend {word} as {step.look} says", best_of=2), Step("end", "end", after=("mend",))))


def happened(*said: tuple[str, str, dict[str, Any]]) -> list[Happened]:
    first = ("run.requested", "", {"plan": to_data(PLAN), "values": {"word": "cart.py"}, "folder": "/f"})
    return [Happened("r", at, at, kind, step, detail) for at, (kind, step, detail) in enumerate((first, *said), 1)]


def test_the_head_of_a_run_counts_steps_as_the_list_does() -> None:
    events = happened(("step.started", "mend~0", {}), ("step.finished", "mend~0", {"result": "a"}))
    view, course = fold("r", events), Course("r")
    for each in events:
        course.apply(each)
    assert (view.done, view.total) == (0, 2) == (course.summary()["done"], course.summary()["total"])
    # What the last event of all says is in the summary that is written with it.
    assert course.summary([Saying("r", "step.finished", "mend")])["done"] == 1
    assert course.summary([Saying("r", "step.failed", "mend")])["failed"] == 1


def test_a_goal_is_shown_with_what_the_run_was_given() -> None:
    view = fold("r", happened())
    said = "\n".join(
        "".join(piece.text for piece in line) for line in step_lines(view, view.steps["mend"], None, 0, 80)
    )
    assert "Mend cart.py as {step.look} says" in said


def test_what_waits_to_be_allowed_counts_in_the_list_and_a_fork_is_told_apart() -> None:
    record = RunRecord("r", "Mend", "running", "p", 0, 0, parent="q", summary={"waiting": 0, "inputs": 1})
    row = run_row(1, record, 2)
    assert (row.waiting, row.title) == (3, "Mend (fork)")


def test_a_runner_that_cannot_be_loaded_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "MAKERS", {"agent": "sophia_core.swarm.not_there:made"})
    those = Runners(cast("Means", object()))
    with pytest.raises(StepFailed, match="not_there"):
        those.of("agent")
    with pytest.raises(StepFailed, match="nobody here"):
        those.of("human")
