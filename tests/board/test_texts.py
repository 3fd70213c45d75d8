"""Tasks out of texts and into texts, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store.board import NewTask, Task, TaskState
from sophia_core.board import issues, markdown
from sophia_core.board.taking import MOST_TAKEN, tasks_in

STATES: tuple[TaskState, ...] = ("backlog", "doing", "review", "done")
line = st.text(alphabet="ab <>-#[]x`{}\"'*", max_size=20).map(lambda text: " ".join(text.split()))
tasks = st.builds(
    Task,
    id=st.just("id"),
    title=line.filter(bool),
    body=st.lists(line, max_size=4).map(lambda lines: "\n".join(lines).strip("\n")),
    state=st.sampled_from(STATES),
    priority=st.integers(-100, 100),
    labels=st.lists(line.filter(bool), max_size=3, unique=True).map(tuple),
    source=st.sampled_from(["", "https://x.test/1"]),
    created_at=st.just(1),
    updated_at=st.just(1),
    done_at=st.none(),
    position=st.just(1.0),
)


def said(task: Task | NewTask) -> tuple[object, ...]:
    return task.title, task.body, task.state, task.priority, task.labels, task.source


@settings(max_examples=60, deadline=None)
@given(st.lists(tasks, max_size=4))
def test_what_was_written_comes_back_as_it_was(board: list[Task]) -> None:
    ordered = [said(each) for state in STATES for each in board if each.state == state]
    assert [said(each) for each in markdown.tasks_of("".join(markdown.written(board)))] == ordered
    assert [said(each) for each in issues.tasks_of(issues.written(board))] == [said(each) for each in board]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab -*+1.)[]x\n\t`~#", max_size=200))
def test_any_answer_gives_sound_tasks(answer: str) -> None:
    for each in tasks_in(answer):
        assert each.title.strip() and "\n" not in each.title
    markdown.tasks_of(answer)


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", '{"a": []}', "[" * 100_000])
def test_what_is_no_list_of_issues_is_told(text: str) -> None:
    with pytest.raises(issues.BadIssues):
        issues.tasks_of(text)


def test_an_answers_list_is_read_as_a_person_reads_it() -> None:
    assert [each.title for each in tasks_in("1. One\n   more of it\n2) Two\n\n- a bullet")] == ["One", "Two"]
    assert tasks_in("1. One\n   more of it")[0].body == "more of it"
    assert [each.title for each in tasks_in("Well:\n* a\n* b\n\n```\n- code\n```\n")] == ["a", "b"]
    assert tasks_in("No list at all.") == []
    long = tasks_in(f"- {'word ' * 100}")[0]
    assert len(long.title) <= 200 and long.body.startswith("word word")
    assert len(tasks_in("- x\n" * 500)) == MOST_TAKEN
    assert tasks_in("- a\u202eb\x1b[31m")[0].title.isprintable()


def test_other_peoples_markdown_is_understood() -> None:
    text = "# Plan\n- [x] old\n## In progress\n* [ ] now\n  because\n## Sprint 7\n- [ ] later\n"
    found = [(each.title, each.state, each.body) for each in markdown.tasks_of(text)]
    assert found == [("old", "done", ""), ("now", "doing", "because"), ("later", "backlog", "")]
