"""The board: tasks keep the order they were given, and go with what they were taken from."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from local_store import BadValue, NotFound, Store
from local_store.board import MOST, Board, NewTask

from .conftest import OpenStore


async def test_a_task_moves_through_the_columns(store: Store) -> None:
    board = store.board
    first, second, third = await board.add_all([NewTask(f"task {n}", labels=("b", "a", "b ")) for n in range(3)])
    assert first.labels == ("b", "a") and (first.state, first.done_at) == ("backlog", None)
    assert [each.id for each in await board.list()] == [first.id, second.id, third.id]
    await board.move(third.id, "backlog", before=first.id)
    await board.move(first.id, "doing")
    assert [each.id for each in await board.list("backlog")] == [third.id, second.id]
    done = await board.move(second.id, "done")
    assert done.done_at is not None and (await board.move(second.id, "done")).done_at == done.done_at
    assert (await board.move(second.id, "review")).done_at is None
    assert await board.counts() == {"backlog": 1, "doing": 1, "review": 1, "done": 0}
    changed = await board.change(first.id, title=" new \n title ", body="x\x00y", priority=3, labels=[])
    assert (changed.title, changed.body, changed.priority, changed.labels) == ("new title", "x\x00y", 3, ())
    assert (await board.drop(first.id)).id == first.id
    for failing in (board.get(first.id), board.move(first.id, "done"), board.move(third.id, "done", before=second.id)):
        with pytest.raises(NotFound):
            await failing


async def test_links_are_noted_once_and_end_with_what_they_lead_to(store: Store) -> None:
    task = await store.board.add(NewTask("t"))
    session, run = await store.sessions.create("s"), await store.runs.create("p", "t")
    for _ in range(2):
        await store.board.link(task.id, "session", session.id)
        await store.board.link(task.id, "run", run.id)
        await store.board.link(task.id, "commit", "abc")
    assert [each.kind for each in await store.board.links(task.id)] == ["commit", "run", "session"]
    assert [each.id for each in await store.board.linked("run", run.id)] == [task.id]
    await store.runs.delete(run.id)
    await store.sessions.delete(session.id)
    assert [each.kind for each in await store.board.links()] == ["commit"]
    assert await store.board.unlink(task.id, "commit", "abc") and not await store.board.unlink(task.id, "run", "x")


async def test_what_does_not_fit_is_refused(store: Store) -> None:
    wrong = [
        NewTask(""), NewTask(" \n"), NewTask("t" * 501), NewTask("t", "b" * 100_001), NewTask("t", priority=101),
        NewTask("t", state="odd"), NewTask("t", labels=("l" * 3000,)),  # type: ignore[arg-type]
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(BadValue):
            await store.board.add(each)
    with pytest.raises(BadValue, match="at most"):
        await store.board.add_all([NewTask("t")] * (MOST + 1))
    assert await store.board.list() == []
    task = await store.board.add(NewTask("t"))
    with pytest.raises(BadValue):
        await store.board.link(task.id, "odd", "x")  # type: ignore[arg-type]


async def test_a_place_is_found_however_often_one_is_asked_for(store: Store) -> None:
    """Half way between two goes only so often: then the column is spread anew."""
    top, *_, below = await store.board.add_all([NewTask(str(n)) for n in range(3)])
    wanted = [top.id, below.id]
    for number in range(45):
        task = await store.board.add(NewTask(f"n{number}"))
        await store.board.move(task.id, "backlog", before=below.id)
        wanted.insert(-1, task.id)
    found = [each.id for each in await store.board.list() if each.id in wanted]
    assert found == wanted


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=some.lists(some.tuples(some.integers(0, 4), some.integers(0, 4)), max_size=8))
async def test_the_order_is_that_of_a_list(store: Store, moves: list[tuple[int, int]]) -> None:
    board: Board = store.board
    ids = [each.id for each in await board.add_all([NewTask(str(n)) for n in range(5)])]
    order = list(ids)
    for moved, before in moves:
        if moved != before:
            await board.move(ids[moved], "backlog", before=ids[before])
            order.remove(ids[moved])
            order.insert(order.index(ids[before]), ids[moved])
    assert [each.id for each in await board.list() if each.id in ids] == order


async def test_a_board_survives_closing_and_has_its_sources(opening: OpenStore) -> None:
    store = await opening()
    await store.board.add_all([NewTask("a", source="github:o/r#1"), NewTask("b")])
    await store.close()
    store = await opening()
    assert [each.title for each in await store.board.from_source("github:o/r#1")] == ["a"]
    assert await store.board.from_source("") == []
