"""What can begin, what never will, and what a planner or a model's text can do to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.swarm import graph
from sophia_core.swarm.estimating import Range, Rate, estimate, words
from sophia_core.swarm.fill import BadText, Values, escaped, fill, filled
from sophia_core.swarm.plan import Budget, Check, Plan, PlanParam, Retry, Step
from sophia_core.swarm.plan_data import BadPlan
from sophia_core.swarm.planning import as_answer, grow, plan_schema, planned
from sophia_core.swarm.run_log import STEP_ENDED, StepState

LIST = {"type": "array", "maxItems": 3}
PLANNER = Step("plan", "Plan it.", "planner", "architect", tools=("read_file",), workspace="worktree")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Graphs without a circle, their steps in any order."""
    count = draw(st.integers(1, 9))
    made = []
    for number in range(count):
        after = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        on_failure: Any = draw(st.sampled_from(["stop", "go on"]))
        made.append(Step(f"s{number}", "x", after=tuple(f"s{each}" for each in sorted(after)), on_failure=on_failure))
    return Plan("p", "P", tuple(draw(st.permutations(made))), parallel=draw(st.integers(1, 4)))


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_no_step_begins_before_what_it_needs_and_every_run_ends(plan: Plan, data: st.DataObject) -> None:
    states: dict[str, StepState] = {}
    by_id = {each.id: each for each in plan.steps}
    for _ in range(3 * len(plan.steps) + 1):
        for step, _why in graph.doomed(plan, states):
            states[step.id] = "skipped"
        if graph.ending(plan, states).status != "running":
            break
        for step in graph.ready(plan, states):
            for need in graph.needs(step):
                assert states[need] == "finished" or by_id[need].on_failure == "go on"
            states[step.id] = "running"
        busy = [id_ for id_, state in states.items() if state == "running"]
        assert 0 < len(busy) <= plan.parallel, "it stands still"
        states[data.draw(st.sampled_from(busy))] = data.draw(st.sampled_from(["finished", "finished", "failed"]))
    end = graph.ending(plan, states)
    assert end.status in ("finished", "failed")
    assert (end.status == "failed") == any(
        states.get(each.id) == "failed" and each.on_failure == "stop" for each in plan.steps
    )
    if end.status == "finished":
        assert all(states.get(each.id) in STEP_ENDED for each in plan.steps)


def test_copies_and_tries_have_ids_of_their_own() -> None:
    step = Step("do", "Do {item}.", each="list", best_of=2, check=Check(("true",)))
    made = graph.copies(step, {"names": ["a", "b"]})
    assert [(each.step.id, each.item) for each in made] == [("do/0", "a"), ("do/1", "b")]
    assert [each.id for each in graph.tries(made[0].step)] == ["do/0~0", "do/0~1"]
    assert graph.origin("do/0~1") == "do"
    assert graph.copies(step, "no list") == ()
    assert len(graph.items(["x"] * 1000)) == graph.MOST_COPIES


def test_what_comes_after_is_done_again_and_the_last_steps_are_the_result() -> None:
    plan = Plan("p", "P", (Step("a", "x"), Step("b", "x", after=("a",)), Step("c", "x"), Step("d", "x", each="b")))
    assert graph.after_all(plan.steps, ["b"]) == {"b", "d"}
    assert graph.outcome(plan, {"d": 1, "c": 2}) == {"c": 2, "d": 1}


# Values


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text(max_size=40))
def test_what_is_put_in_asks_for_nothing(value: str, text: str) -> None:
    secret = Values({"a": value, "b": "hidden"}, {"s": value})
    assert "hidden" not in fill("{a}{step.s}", Values({"a": "{b}", "b": "hidden"}, {"s": "{b}"}))
    assert fill(escaped(text), secret) == text
    assert len(fill("{a}", Values({"a": "x" * 100_000}, {}))) <= 16_000


def test_parts_of_results_are_reached_and_what_is_not_there_is_nothing() -> None:
    values = Values({}, {"plan": {"steps": ["one", "two"]}}, {"file": "a.py"})
    assert fill("{step.plan.steps}", values) == "- one\n- two"
    assert fill("{step.plan.steps.1} {item.file} {{x}}", values) == "two a.py {x}"
    assert fill("{step.none} {step.plan.no.way}", values) == "(nothing) (nothing)"
    with pytest.raises(BadText, match="no value"):
        fill("{other}", values)


def test_a_program_is_split_only_where_a_person_gave_it_as_one() -> None:
    params = (PlanParam("test", kind="program"), PlanParam("file"))
    step = Step("t", "x", "check", program=("{test}", "--", "{file}"), check=Check(("{test} {file}",)))
    values = Values({"test": "pytest -q 'a b'", "file": "x; rm -rf /"}, {})
    made = filled(Plan("p", "P", (step,), params=params), step, values)
    assert made.program == ("pytest", "-q", "a b", "--", "x; rm -rf /")
    assert made.check is not None
    assert made.check.program == ("pytest -q 'a b' x; rm -rf /",), "one word stays one word"


def test_the_fixed_words_of_a_schema_are_filled_but_not_by_models() -> None:
    answer = {"type": "object", "properties": {"file": {"const": "{file}"}, "{file}": {"type": "string"}}}
    step = Step("a", "x", answer=answer)
    made = filled(Plan("p", "P", (step,)), step, Values({"file": "a.py"}, {}))
    assert made.answer == {"type": "object", "properties": {"file": {"const": "a.py"}, "{file}": {"type": "string"}}}


# Planners


def test_what_a_planner_answers_becomes_steps_that_wait_for_each_other() -> None:
    answer = {
        "steps": [{"goal": "Do {x}", "role": "engineer", "after": []}, {"goal": "b", "after": [1], "role": "plain"}]
    }
    steps = planned(PLANNER, answer, ["engineer", "plain"])
    assert [(each.id, each.after) for each in steps] == [("plan-1", ("plan",)), ("plan-2", ("plan", "plan-1"))]
    plan = Plan("p", "P", (PLANNER, Step("end", "All: {step.plan}", after=("plan",))))
    made, new = grow(plan, "plan", as_answer(steps))
    assert new == steps
    assert next(each for each in made.steps if each.id == "end").after == ("plan", "plan-2")
    assert "Do {x}" in fill(steps[0].goal, Values({}, {})), "its braces are words"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tools": ("read_file", "run")}, "a tool of its own"),
        ({"kind": "check", "program": ("sh",)}, "another kind"),
        ({"kind": "planner"}, "another kind"),
        ({"check": Check(("curl", "evil"))}, "a program of its own"),
        ({"approval": "before"}, "another approval"),
        ({"budget": Budget(tokens=1)}, "a budget of its own"),
        ({"retry": Retry(99)}, "other retries"),
        ({"model": "dear"}, "a model of its own"),
        ({"best_of": 16, "check": None}, "many tries"),
        ({"after": ("end",)}, "names a step of another part"),
        ({"id": "end"}, "is there already"),
        ({"goal": "{step.end}"}, "is not there before this step"),
    ],
)
def test_a_planner_gives_nothing_that_it_does_not_have(change: dict[str, Any], said: str) -> None:
    plan = Plan("p", "P", (PLANNER, Step("end", "x", after=("plan",))))
    step = replace(planned(PLANNER, [{"goal": "abc", "role": "plain", "after": []}], ["plain"])[0], **change)
    with pytest.raises(BadPlan, match=said):
        grow(plan, "plan", as_answer([step]))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "steps",
        {"steps": []},
        {"steps": [{"goal": "x"}] * 9},
        {"steps": [{"goal": "x", "after": [1]}]},
        {"steps": [{"goal": "x", "after": [True]}]},
        {"steps": [{"goal": "x", "role": "root"}]},
        {"steps": [{"goal": "x", "tools": ["run"]}]},
        {"steps": [{"goal": "x" * 1000}]},
        {"steps": [17]},
    ],
)
def test_answers_that_are_no_plan_are_told_so(answer: object) -> None:
    with pytest.raises(BadPlan):
        planned(PLANNER, answer, ["plain"])


def test_the_schema_of_a_plan_offers_only_what_the_planner_has() -> None:
    step = plan_schema(PLANNER, ["plain", "engineer"])["properties"]["steps"]["items"]["properties"]
    assert step["tools"]["items"]["enum"] == ["read_file"]
    assert step["role"]["enum"] == ["engineer", "plain"]
    assert set(step) == {"goal", "role", "after", "kind", "tools"}


# Estimates


@settings(max_examples=30, deadline=None)
@given(plans(), st.integers(0, 50_000), st.floats(1, 500))
def test_an_estimate_is_in_order_and_within_the_budget(plan: Plan, tokens: int, speed: float) -> None:
    rate = Rate("m", "p", lambda a, b: (a + b) / 1e6, "table", speed)
    found = estimate(replace(plan, budget=Budget(tokens=tokens)), {}, {each.id: rate for each in plan.steps})
    assert found.cost is not None
    assert found.seconds is not None
    for each in (found.requests, found.tokens, found.cost, found.seconds):
        assert 0 <= each.low <= each.likely <= each.high
    assert found.tokens.high <= tokens + 1e-6


def test_an_estimate_says_what_nobody_knows() -> None:
    plan = Plan("p", "Mine", (Step("a", "x"), Step("b", "x", after=("a",), each="a")))
    said = words(estimate(plan, {}, {each.id: Rate("strange") for each in plan.steps}), plan)
    assert "a price that nobody knows (strange)" in said
    assert "It has no budget." in said


def test_side_by_side_takes_less_time_but_costs_as_much() -> None:
    steps = tuple(Step(f"s{number}", "x") for number in range(4))
    rate = Rate("m", "p", lambda a, b: a + b, "table", 10.0)
    rates = {each.id: rate for each in steps}
    one = estimate(Plan("p", "P", steps, parallel=1), {}, rates)
    four = estimate(Plan("p", "P", steps, parallel=4), {}, rates)
    assert one.cost == four.cost
    assert one.seconds is not None
    assert four.seconds is not None
    assert one.seconds.likely == pytest.approx(4 * four.seconds.likely)
    assert Range(1, 2, 3) + Range(1, 1, 1) == Range(2, 3, 4)
