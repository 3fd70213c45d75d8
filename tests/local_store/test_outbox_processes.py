"""Letters between processes, killed ones among them."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from local_store import OutboxCount, Store, StorePaths

from .conftest import OpenStore
from .test_outbox import queued
from .test_processes import assert_sound, line, start

SESSIONS, LETTERS = 3, 12


async def test_processes_deliver_every_letter_once_and_in_order(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    sessions = [(await store.sessions.create()).id for _ in range(SESSIONS)]
    for number in range(LETTERS):
        for session in sessions:
            await queued(store, session, f"{session} {number}")
    children = [await start("deliver", paths) for _ in range(2)]
    assert await asyncio.gather(*(line(child) for child in children)) == ["ready"] * 2
    said = [(await asyncio.wait_for(child.communicate(b"go\n"), 60))[0].decode().splitlines() for child in children]
    delivered = Counter(question for lines in said for question in lines)
    assert delivered == Counter(f"{session} {number}" for session in sessions for number in range(LETTERS))
    for session in sessions:
        await assert_answered_in_order(store, session)
    assert await store.outbox.count() == OutboxCount()
    await assert_sound(store)


async def assert_answered_in_order(store: Store, session: str) -> None:
    answers = [message for message in await store.messages.all(session) if message.role == "assistant"]
    assert [answer.text for answer in answers] == [f"answer to {session} {number}" for number in range(LETTERS)]
    for earlier, later in pairwise(answers):
        assert earlier.finished_at is not None and later.finished_at is not None
        assert earlier.finished_at <= later.finished_at


@pytest.mark.parametrize("recovering", [True, False], ids=["recovered", "claimed"])
@pytest.mark.parametrize("reached", ["claimed", "reopened", "failed", "cancelled"])
async def test_a_kill_before_anything_arrived_loses_no_letter(
    opening: OpenStore, paths: StorePaths, reached: str, recovering: bool
) -> None:
    store = await opening()
    letter = await queued(store)
    await killed(paths, reached)
    assert (await store.outbox.get(letter.id)).state == "delivering"
    if recovering:
        assert await store.turns.recover() == 0
        assert (await store.messages.get(letter.id)).queued == "waiting"
    again = await store.outbox.claim(1)
    assert again is not None and again.id == letter.id
    await store.turns.reopen(letter.id, "again")
    await store.turns.finish(letter.id, text="at last", status="complete")
    assert await store.outbox.claim(1) is None
    await assert_sound(store)


@pytest.mark.parametrize("recovering", [True, False], ids=["recovered", "claimed"])
@pytest.mark.parametrize(
    ("reached", "status", "kept"),
    [
        ("journalled", "interrupted", ("some of it", "")),
        ("thinking", "interrupted", ("", "hm")),
        ("complete", "complete", ("all of it", "")),
    ],
)
async def test_a_kill_after_something_arrived_sends_nothing_twice(
    opening: OpenStore, paths: StorePaths, reached: str, status: str, kept: tuple[str, str], recovering: bool
) -> None:
    store = await opening()
    letter = await queued(store)
    await killed(paths, reached)
    if recovering:
        assert await store.turns.recover() == int(status == "interrupted")
    assert await store.outbox.claim(1) is None
    answer = await store.messages.get(letter.id)
    assert (answer.status, (answer.text, answer.reasoning), answer.queued) == (status, kept, None)
    assert await store.outbox.list() == []
    await assert_sound(store)


async def killed(paths: StorePaths, reached: str) -> None:
    child = await start("claim", paths, reached)
    assert await line(child)
    child.kill()
    await child.wait()


async def test_the_letter_of_a_living_process_is_left_alone(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    letter = await queued(store)
    child = await start("claim", paths, "reopened")
    assert await line(child) == letter.id
    assert await store.turns.recover() == 0
    assert await store.outbox.claim(1) is None
    assert (await store.outbox.get(letter.id)).state == "delivering"
    await child.communicate(b"go on\n")
    assert await store.outbox.claim(1) is not None
