"""Plans as files and as data: what is right comes back as it was, what is wrong is told with its place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.swarm.checking import Known, problems_of, unfit_values
from sophia_core.swarm.plan import Budget, Check, Plan, PlanParam, Retry, Step
from sophia_core.swarm.plan_data import BadPlan, from_data, to_data
from sophia_core.swarm.plan_file import SHIPPED, Library, parse_plan, read_plan

SHIPPED_PLANS = {"debug-test", "document-module", "plan-code-test-review", "research-compare", "review-diff"}
ROLES = {"analyst", "architect", "engineer", "incident", "plain", "reviewer", "teacher", "writer"}
TOOLS = {"read_file", "list_files", "search", "edit_file", "write_file", "apply_patch", "run"}
ONE = '[[steps]]\nid = "one"\ngoal = "Do it."\n'

words = st.text(alphabet="abcdefgh ,.é", min_size=1, max_size=30).map(lambda text: text.strip() or "x")
steps = st.builds(
    Step,
    id=st.just("one"),
    goal=words,
    kind=st.sampled_from(["agent", "human"]),
    role=st.sampled_from(sorted(ROLES)),
    tools=st.sampled_from([(), ("read_file",), ("mcp.time.*", "run")]),
    workspace=st.sampled_from(["none", "read", "worktree"]),
    approval=st.sampled_from(["policy", "before", "after", "always"]),
    budget=st.builds(Budget, tokens=st.none() | st.integers(0, 10**9), money=st.none() | st.floats(0, 1e6)),
    retry=st.builds(Retry, times=st.integers(0, 9), wait_s=st.floats(0, 60), growth=st.floats(1, 4)),
    check=st.none() | st.builds(Check, program=st.just(("pytest", "-q")), network=st.booleans()),
    answer=st.sampled_from([None, {"type": "array", "items": {"type": "string", "maxLength": 3}}]),
    on_failure=st.sampled_from(["stop", "go on"]),
)


def wrong(text: str, name: str = "mine") -> str:
    """The first mistake of a file."""
    plan, problems = parse_plan(name, text.encode())
    assert plan is None
    assert all(each.fix for each in problems), problems
    return str(problems[0])


def test_the_shipped_plans_are_right_and_name_only_who_and_what_is_there(tmp_path: Path) -> None:
    shelf = Library(tmp_path / "plans", tmp_path).look()
    assert shelf.problems == []
    assert set(shelf.named) == SHIPPED_PLANS
    for file in shelf.named.values():
        assert problems_of(file.plan, Known(ROLES, TOOLS)) == []
        assert from_data(json.loads(json.dumps(to_data(file.plan)))) == file.plan
        assert all(each.help for each in file.plan.params)
        assert file.plan.budget.tokens, "nothing that comes with the app may spend without an end"


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(1, 64), st.builds(Budget, requests=st.none() | st.integers(0, 99)))
def test_a_plan_comes_back_from_json_as_it_was(step: Step, parallel: int, budget: Budget) -> None:
    params = (PlanParam("what", "Which?", None, "file"), PlanParam("how", "", "so"))
    plan = Plan("mine", "Mine", (step,), "For me.", params, budget, parallel, ("gpu", "repo=sophia"))
    assert from_data(json.loads(json.dumps(to_data(plan)))) == plan


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine: steps: there have to be 1 to 200"),
        ("steps = 3", "steps: there have to be"),
        ('[[steps]]\nid = "a"', "step a: goal: is missing"),
        ('[[steps]]\ngoal = "x"', "step 1: id: is missing"),
        ('[[steps]]\nid = "a/0"\ngoal = "x"', "step 1: id: is missing or cannot"),
        (f'{ONE}kin = "agent"', "step one: there is no 'kin'. Known are: after, answer"),
        (f'{ONE}kind = "robot"', "step one: kind: there is no 'robot'. Known are: agent, planner"),
        (f'{ONE}after = ["two"]', "step one: after: there is no step 'two'. There is: one."),
        (f'{ONE}after = ["one"]', "the steps wait for each other: one → one"),
        (f"{ONE}best_of = 2", "step one: best_of: nothing says which try is the best"),
        (f"{ONE}best_of = true", "best_of: has to be a whole number from 1 to 16"),
        (f'{ONE}each = "one"', "the steps wait for each other"),
        (f"{ONE}budget = {{tokens = -1}}", "budget.tokens: has to be a whole number from 0"),
        (f"{ONE}budget = {{euros = 1}}", "step one: budget: there is no 'euros'"),
        (f'{ONE}answer = {{"$ref" = "file:///etc/passwd"}}', "answer: may not point elsewhere by '$ref'"),
        (f'{ONE}answer = {{type = "secret"}}', "answer: has no type"),
        (f'{ONE}program = ["ls"]', "program: a step of kind agent runs none"),
        (f'{ONE}kind = "check"', "program: a step of kind check needs one"),
        (ONE.replace("Do it.", "Do {what}."), "goal: there is no parameter 'what'"),
        (ONE.replace("Do it.", "Do {step.two}."), "{step.two} is not there before this step"),
        (ONE.replace("Do it.", "Do {item}."), "{item} is there only with each"),
        (ONE.replace("Do it.", "Do {x"), "a lone '{' near"),
        (f"{ONE}{ONE}", "step one: id: there are two steps 'one'"),
        (f'[parameters.step]\nhelp = "x"\n{ONE}', "'step' cannot be the name of a parameter"),
        (f'name = "other"\n{ONE}', "name: is not the name of the file"),
        ("x = [" * 2000, "not valid TOML"),
        ("x = " + "9" * 5000, "not valid TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_the_next_step(text: str, said: str) -> None:
    assert said in wrong(text)


def test_a_circle_is_told_as_a_path() -> None:
    three = "".join(f'[[steps]]\nid = "{me}"\ngoal = "x"\nafter = ["{other}"]\n' for me, other in ("ab", "bc", "ca"))
    assert "the steps wait for each other: a → c → b → a" in wrong(three) or "→" in wrong(three)
    path = wrong(three).partition("each other: ")[2].partition(".")[0].split(" → ")
    assert path[0] == path[-1] and sorted(path[:-1]) == ["a", "b", "c"]


def test_each_wants_a_list_and_item_is_filled() -> None:
    listing = '[[steps]]\nid = "list"\ngoal = "x"\n'
    one_each = '[[steps]]\nid = "do"\ngoal = "Do {item}."\neach = "list"\n'
    assert "step do: each: step 'list' gives no list" in wrong(listing + one_each)
    answer = 'answer = {type = "object", properties = {names = {type = "array"}}}\n'
    assert parse_plan("mine", (listing + answer + one_each).encode())[1] == []


def test_a_model_chooses_no_program() -> None:
    text = f'{ONE}[[steps]]\nid = "two"\ngoal = "x"\nkind = "check"\nafter = ["one"]\n'
    text += 'program = ["sh", "-c", "{step.one}"]'
    assert "{step.one} is a model's word, and chooses no program" in wrong(text)
    command = text.replace('kind = "check"', 'kind = "command"').replace('["sh", "-c",', '["board.add",')
    assert parse_plan("mine", command.encode())[1] == []


def test_more_steps_than_bearable_and_unknown_names_are_told() -> None:
    many = "".join(f'[[steps]]\nid = "s{number}"\ngoal = "x"\n' for number in range(201))
    assert "1 to 200" in wrong(many)
    plan = from_data(
        {"name": "mine", "steps": [{"id": "a", "goal": "x", "role": "nobody", "tools": ["fly", "mcp.x.*"]}]}
    )
    said = [str(each) for each in problems_of(plan, Known(ROLES, TOOLS))]
    assert len(said) == 2
    assert "step a: role: there is no persona 'nobody'" in said[0]
    assert "there is no tool 'fly'" in said[1]


def test_hostile_files_end_in_a_message(tmp_path: Path) -> None:
    pipe, large, link, binary = (tmp_path / f"{name}.toml" for name in ("pipe", "large", "link", "binary"))
    os.mkfifo(pipe)
    large.write_bytes(b"#" * 300_000)
    link.symlink_to("/dev/zero")
    binary.write_bytes(b"\xff\xfe")
    for path, said in ((pipe, "no file"), (large, "larger than"), (link, "no file"), (binary, "not UTF-8")):
        plan, problems = read_plan(path, True)
        assert plan is None
        assert said in str(problems[0])
    hidden = ONE.replace("Do it.", "Do it.\u202e")
    assert "characters that do not show" in str(parse_plan("mine", hidden.encode(), project=True)[1][0])


def test_a_folders_plan_counts_once_its_text_was_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "work" / ".sophia" / "plans"
    folder.mkdir(parents=True)
    (folder / "theirs.toml").write_text(ONE)
    (folder / "review-diff.toml").write_text(ONE)
    library = Library(tmp_path / "plans", tmp_path / "work")
    theirs = library.look().named["theirs"]
    assert not library.is_trusted(theirs)
    assert library.look().named["review-diff"].path == SHIPPED / "review-diff.toml", "nothing of ours is replaced"
    library.trust(theirs.digest)
    assert library.is_trusted(library.look().named["theirs"])
    (folder / "theirs.toml").write_text(ONE.replace("Do it.", "Do something else."))
    assert not library.is_trusted(library.look().named["theirs"])


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["name", "title", "steps", "budget", "parameters", "labels"]), json_like), json_like
)
def test_whatever_comes_is_a_plan_or_a_bad_one(data: dict[str, Any], part: Any) -> None:
    made = {**data, "steps": [{"id": "a", "goal": "x", "check": part, "answer": part}]}
    for each in (data, part, made):
        try:
            assert isinstance(from_data(each), Plan)
        except BadPlan as error:
            assert error.problems


def test_values_are_asked_for_by_name(tmp_path: Path) -> None:
    plan = Plan(
        "mine", "Mine", (Step("a", "x"),), params=(PlanParam("file", kind="file"), PlanParam("how", default="so"))
    )
    assert "needs file" in unfit_values(plan, {})[0].message
    assert "no parameter 'other'" in unfit_values(plan, {"file": "a", "other": "b"})[0].message
    assert unfit_values(plan, {"file": "a"}) == []
    assert "no file 'a'" in unfit_values(plan, {"file": "a"}, lambda kind, path: False)[0].message
