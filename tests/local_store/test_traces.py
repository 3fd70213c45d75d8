"""Traces are kept beside the store: the last turns, and none of a session that is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from local_store import Store, StorePaths
from local_store.errors import BadValue, NotFound
from local_store.ids import now_ms
from local_store.traces import DAY_MS, LONGEST, KeptTrace
from tests.local_store.conftest import OpenStore


def trace(session_id: str, answer_id: str = "01A", at: int = 0, seconds: float = 1.0) -> KeptTrace:
    return KeptTrace(answer_id, session_id, "f" * 32, "m@near", "complete", at or now_ms(), seconds, 0.5, "[1]")


async def session(store: Store) -> str:
    return (await store.sessions.create("one")).id


async def test_traces_are_written_together_and_the_later_of_an_answer_counts(store: Store) -> None:
    one = trace(await session(store), "01ABC")
    await store.traces.add(one, replace(one, answer_id="01ABD"), replace(one, status="failed"))
    assert (await store.traces.get("01ABC")).status == "failed"
    assert {each.answer_id for each in await store.traces.list()} == {"01ABC", "01ABD"}


async def test_a_trace_is_found_by_the_beginning_of_its_answers_id(store: Store) -> None:
    one = trace(await session(store), "01ABC")
    await store.traces.add(one)
    assert await store.traces.get("01a") == one
    await store.traces.add(replace(one, answer_id="01ABD"))
    with pytest.raises(NotFound, match="more than one"):
        await store.traces.get("01a")
    for missing in ("02", "", "%", "*"):
        with pytest.raises(NotFound):
            await store.traces.get(missing)


async def test_nothing_is_made_for_a_look(store: Store) -> None:
    assert await store.traces.list() == []
    assert await store.traces.forget_gone() == await store.traces.clear() == 0
    assert not (store.paths.root / "traces.db").exists()


async def test_the_latest_and_the_slowest(store: Store) -> None:
    here, now = await session(store), now_ms()
    for number, seconds in enumerate((3.0, 1.0, 2.0)):
        await store.traces.add(trace(here, f"0{number}", now - 1000 + number, seconds))
    assert [each.answer_id for each in await store.traces.list()] == ["02", "01", "00"]
    assert [each.answer_id for each in await store.traces.list("slowest", 2)] == ["00", "02"]
    assert [each.answer_id for each in await store.traces.list(since=now - 999)] == ["02", "01"]
    assert {each.spans for each in await store.traces.list()} == {""}


async def test_the_same_answer_is_kept_once(store: Store) -> None:
    one = trace(await session(store))
    await store.traces.add(one)
    await store.traces.add(replace(one, status="failed"))
    assert [each.status for each in await store.traces.list()] == ["failed"]


async def test_only_the_last_turns_and_days_are_kept(store: Store) -> None:
    here, now = await session(store), now_ms()
    await store.traces.add(trace(here, "OLD", now - 3 * DAY_MS), days=2)
    assert await store.traces.list() == []
    for number in range(8):
        await store.traces.add(trace(here, f"{number:02}", now + number), turns=3)
    assert [each.answer_id for each in await store.traces.list()] == ["07", "06", "05"]


async def test_a_trace_that_is_no_trace_is_refused(store: Store) -> None:
    with pytest.raises(BadValue):
        await store.traces.add(replace(trace(await session(store)), spans="x" * (LONGEST + 1)))


@pytest.mark.parametrize("way", ["delete", "purge"])
async def test_a_session_takes_its_traces_with_it(store: Store, way: str) -> None:
    gone, stays = await session(store), await session(store)
    await store.traces.add(trace(gone, "01"))
    await store.traces.add(trace(stays, "02"))
    await (store.sessions.delete(gone) if way == "delete" else store.purge.sessions([gone]))
    found = await store.traces._side.read(lambda c: c.execute("SELECT answer_id FROM trace").fetchall())
    assert found == [("02",)]


async def test_a_session_that_another_version_deleted_is_not_shown(store: Store) -> None:
    gone = await session(store)
    await store.traces.add(trace(gone))
    await store._database.write(lambda c: c.execute("DELETE FROM session WHERE id = ?", [gone]).rowcount)
    assert await store.traces.list() == []


async def test_it_stands_after_opening_again_and_nothing_of_it_is_in_the_clear(
    opening: OpenStore, paths: StorePaths
) -> None:
    store = await opening()
    one = trace(await session(store), "01")
    await store.traces.add(one)
    await store.close()
    for path in paths.root.glob("traces.db*"):
        assert b"m@near" not in path.read_bytes()
    assert await (await opening()).traces.get("01") == one
