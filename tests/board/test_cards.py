"""Where cards go and what they say, for any board, width and words."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App
from textual.widgets import Input

from local_store.board import STATES, TaskState
from sophia_core.board.rows import TaskRow
from sophia_core.board.view import Place, beside, card, columns_of, further, moved, title_lines
from sophia_core.metrics.view.text import width
from sophia_tui.screens.board import BoardScreen


def row(number: int, state: str = "backlog", title: str = "", labels: tuple[str, ...] = ()) -> TaskRow:
    return TaskRow(number, cast(TaskState, state), title or f"task {number}", 0, labels, 0, 0, f"id{number}")


BOARDS = st.lists(st.sampled_from(STATES), max_size=12).map(
    lambda states: [row(number, state) for number, state in enumerate(sorted(states, key=STATES.index), 1)]
)


@settings(max_examples=60, deadline=None)
@given(BOARDS, st.integers(0, 11), st.sampled_from(STATES), st.integers(0, 11))
def test_a_move_loses_nothing_and_ends_where_it_should(
    rows: list[TaskRow], which: int, state: TaskState, above: int
) -> None:
    if which >= len(rows):
        return
    wanted, column = rows[which].id, columns_of(rows)[state]
    before = column[above].id if above < len(column) else ""
    after = moved(rows, wanted, Place(state, before))
    assert sorted(each.id for each in after) == sorted(each.id for each in rows)
    assert [each.number for each in after] == list(range(1, len(rows) + 1))
    if before != wanted:
        ids = [each.id for each in columns_of(after)[state]]
        assert ids.index(wanted) == (ids.index(before) - 1 if before else len(ids) - 1)


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=150), st.integers(8, 90), st.booleans())
def test_a_card_has_as_many_lines_as_said_and_none_too_wide(title: str, wide: int, ascii_only: bool) -> None:
    lines = card(row(7, title=title, labels=("a label",)), wide, ascii_only=ascii_only)
    assert len(lines) == title_lines(wide) + 1
    assert max(map(width, lines)) <= wide


def test_up_and_down_end_at_the_ends() -> None:
    columns = columns_of([row(1), row(2), row(3)])
    assert further(columns, "backlog", 0, -1) is None and further(columns, "backlog", 2, 1) is None
    assert further(columns, "backlog", 0, 1) == Place("backlog", "id3")
    assert further(columns, "backlog", 1, 1) == Place("backlog")
    assert further(columns, "backlog", 2, -1) == Place("backlog", "id2")
    assert (beside("done", 1), beside("doing", -1)) == ("done", "backlog")


def test_what_is_looked_for_is_in_the_title_the_labels_or_the_number() -> None:
    rows = [row(1, title="Mend it", labels=("Bug",)), row(2, title="Write it")]
    assert [each.number for each in columns_of(rows, "it bug")["backlog"]] == [1]
    assert [each.number for each in columns_of(rows, "2")["backlog"]] == [2]


class _Alone(App[None]):
    """The screen without anything behind it."""

    def __init__(self, rows: list[TaskRow]) -> None:
        super().__init__()
        self.rows, self.moves, self.wishes = rows, [], []  # type: ignore[var-annotated]

    def on_mount(self) -> None:
        self.push_screen(BoardScreen(self.load, self.move, self.wish))

    async def load(self) -> list[TaskRow]:
        return self.rows

    def move(self, task_id: str, to: Place) -> None:
        self.moves.append((task_id, to))
        self.rows = moved(self.rows, task_id, to)

    def wish(self, *words: Any) -> None:
        self.wishes.append(words)


@pytest.mark.parametrize(
    ("size", "onto", "offset", "ends"),
    [
        ((120, 30), "#cards-doing", (3, 2), Place("doing", "id3")),
        ((120, 30), "#cards-done", (3, 9), Place("done")),
        ((80, 24), "#name-review", (2, 0), Place("review")),
    ],
)
async def test_a_card_is_dragged(size: tuple[int, int], onto: str, offset: tuple[int, int], ends: Place) -> None:
    app = _Alone([row(1), row(2), row(3, "doing")])
    async with app.run_test(size=size) as pilot:
        board = cast(BoardScreen, app.screen)
        while board.rows is None or not board.column.cards:
            await pilot.pause()
        await pilot.mouse_down("#cards-backlog", offset=(3, 2))
        await pilot.hover(onto, offset=offset)
        await pilot.mouse_up(onto, offset=offset)
        await pilot.pause()
        assert app.moves == [("id1", ends)]
        assert board.front == ends.state and board.chosen is not None and board.chosen.id == "id1"


async def test_keys_are_letters_while_a_filter_is_typed_and_a_click_chooses() -> None:
    app = _Alone([row(1), row(2), row(3, "doing")])
    async with app.run_test(size=(120, 30)) as pilot:
        board = cast(BoardScreen, app.screen)
        while board.rows is None or not board.column.cards:
            await pilot.pause()
        await pilot.press("slash", *"mdnru")
        assert board.query_one("#filter", Input).value == "mdnru"
        assert not (app.wishes or app.moves or board.carried)
        await pilot.press("escape")
        await pilot.pause()
        assert not board.wanted and board.is_current
        await pilot.click("#cards-doing", offset=(3, 2))
        await pilot.press("d")
        assert app.wishes == [("board.drop", "id3")]
