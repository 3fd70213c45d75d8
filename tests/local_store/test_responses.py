"""Remembered answers: found under their key while they are fresh, complete and there."""

from __future__ import annotations

from typing import Any

import pytest

from local_store import NotFound, Response, Store, WrongState, responses

HOUR = 3_600_000


async def answered(store: Store, text: str = "42", session_id: str | None = None, **ending: Any) -> str:
    session = session_id or (await store.sessions.create()).id
    turn = await store.turns.begin(session, None, "q", request_id="r")
    values: dict[str, Any] = {"status": "complete", "provider": "p", "model": "m"} | ending
    await store.turns.finish(turn.answer.id, text=text, **values)
    return turn.answer.id


async def test_an_answer_is_found_under_its_key(store: Store) -> None:
    message_id = await answered(store)
    await store.responses.remember("k", message_id)
    at = (await store.messages.get(message_id)).finished_at
    assert at is not None
    assert await store.responses.find("k", max_age_ms=HOUR) == Response("42", "p", "m", at, message_id)
    assert await store.responses.find("other", max_age_ms=HOUR) is None


async def test_a_later_answer_takes_the_place_of_an_earlier_one(store: Store) -> None:
    for text in ("old", "new"):
        await store.responses.remember("k", await answered(store, text))
    found = await store.responses.find("k", max_age_ms=HOUR)
    assert found is not None and found.text == "new"
    assert await store.responses.forget_all() == 1


async def test_age_counts_from_when_the_text_was_first_given(store: Store) -> None:
    first = await answered(store)
    at = (await store.messages.get(first)).finished_at
    assert at is not None
    await store.responses.remember("old", await answered(store, cached_at=at - HOUR))
    assert await store.responses.find("old", max_age_ms=HOUR // 2) is None
    found = await store.responses.find("old", max_age_ms=2 * HOUR)
    assert found is not None and found.at == at - HOUR
    assert await store.responses.find("old", max_age_ms=10**30) == found
    assert await store.responses.find("old", max_age_ms=-1) is None
    await store.responses.remember("ahead", await answered(store, cached_at=at + HOUR))
    assert await store.responses.find("ahead", max_age_ms=10**30) is None, "the clock went back: its age is unknown"


@pytest.mark.parametrize("status", ["partial", "failed", "cancelled", "interrupted"])
async def test_only_complete_answers_are_returned(store: Store, status: Any) -> None:
    unfinished = await answered(store, status=status)
    with pytest.raises(WrongState):
        await store.responses.remember("k", unfinished)
    later = await answered(store)
    await store.responses.remember("k", later)
    await store.turns.finish(later, text="42", status=status)
    assert await store.responses.find("k", max_age_ms=HOUR) is None


async def test_questions_empty_answers_and_strangers_are_not_remembered(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    for message_id, error in (("nobody", NotFound), (turn.question.id, WrongState), (turn.answer.id, WrongState)):
        with pytest.raises(error):
            await store.responses.remember("k", message_id)
    await store.responses.remember("k", await answered(store, ""))
    assert await store.responses.find("k", max_age_ms=HOUR) is None


async def test_deleting_a_session_deletes_its_responses(store: Store) -> None:
    session = await store.sessions.create()
    await store.responses.remember("k", await answered(store, session_id=session.id))
    await store.sessions.delete(session.id)
    assert await store.responses.find("k", max_age_ms=HOUR) is None
    assert await store.responses.forget_all() == 0


async def test_the_oldest_make_room(store: Store) -> None:
    message_id = await answered(store)
    for number in range(responses.MOST + 5):
        await store.responses.remember(str(number), message_id)
    assert await store.responses.find("4", max_age_ms=HOUR) is None
    for key in ("5", str(responses.MOST + 4)):
        assert await store.responses.find(key, max_age_ms=HOUR) is not None
    assert await store.responses.forget_all() == responses.MOST
    assert (await store.messages.get(message_id)).text == "42"
