"""Letters: each is delivered once, in the order of its session, and none is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from local_store import Letter, NotFound, OutboxCount, Store, Usage, WrongState

from .conftest import OpenStore


async def queued(store: Store, session_id: str | None = None, question: str = "hello?", **options: Any) -> Letter:
    """Ask while nothing can be reached."""
    session = session_id or (await store.sessions.create()).id
    turn = await store.turns.begin(session, None, question, request_id="r")
    return await store.outbox.queue(turn.answer.id, provider=None, model=None, error="offline", **options)


async def claimed(store: Store, now: int = 1) -> Letter:
    letter = await store.outbox.claim(now)
    assert letter is not None
    return letter


async def answer(store: Store, letter: Letter, text: str = "at last") -> None:
    await store.turns.reopen(letter.id, "again")
    await store.turns.finish(letter.id, text=text, status="complete")


async def test_a_queued_question_is_a_failed_empty_answer_and_a_letter(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "hello?", request_id="r")
    letter = await store.outbox.queue(turn.answer.id, provider="gh200", model="m", error="no route")
    assert (letter.id, letter.session_id, letter.question_id) == (turn.answer.id, session.id, turn.question.id)
    assert (letter.question, letter.provider, letter.model, letter.error) == ("hello?", "gh200", "m", "no route")
    assert (letter.state, letter.attempts, letter.retry_at) == ("waiting", 0, 0)
    assert await store.outbox.list() == [letter] == [await store.outbox.get(letter.id)]
    shown = (await store.messages.path(session.id))[-1]
    assert (shown.status, shown.text, shown.error, shown.queued) == ("failed", "", "no route", "waiting")
    assert shown.finished_at is not None
    assert [message.queued for message in await store.messages.all(session.id)] == [None, "waiting"]


async def test_a_letter_from_claim_to_answer(store: Store) -> None:
    letter = await queued(store)
    taken = await claimed(store)
    assert taken.id == letter.id and taken.state == "delivering"
    assert (await store.messages.get(letter.id)).queued == "delivering"
    assert await store.outbox.claim(1) is None
    streaming = await store.turns.reopen(letter.id, "second")
    assert (streaming.status, streaming.request_id, streaming.error, streaming.finished_at) == (
        "streaming",
        "second",
        None,
        None,
    )
    await store.turns.journal(letter.id, text="at ")
    done = await store.turns.finish(letter.id, text="at last", status="complete", provider="p")
    assert (done.queued, done.text, done.status) == (None, "at last", "complete")
    await store.outbox.deliver(letter.id)
    assert await store.outbox.list() == []


async def test_deliver_takes_a_letter_out(store: Store) -> None:
    letter = await queued(store)
    await claimed(store)
    await store.outbox.deliver(letter.id)
    await store.outbox.deliver("nobody")
    assert await store.outbox.count() == OutboxCount()
    assert (await store.messages.get(letter.id)).queued is None


@pytest.mark.parametrize("status", ["partial", "interrupted", "cancelled", "failed"])
async def test_any_text_is_a_delivery(store: Store, status: Any) -> None:
    for text, reasoning in (("some", ""), ("", "hm")):
        letter = await queued(store)
        await claimed(store)
        await store.turns.reopen(letter.id, "again")
        await store.turns.finish(letter.id, text=text, reasoning=reasoning, status=status)
        with pytest.raises(NotFound):
            await store.outbox.release(letter.id, retry_at_ms=5, error="cut")
        assert await store.outbox.claim(1) is None


@pytest.mark.parametrize("status", [None, "streaming", "failed", "cancelled"])
async def test_a_released_letter_waits_for_its_time(store: Store, status: Any) -> None:
    letter = await queued(store)
    await claimed(store)
    if status is not None:
        await store.turns.reopen(letter.id, "again")
    if status not in (None, "streaming"):
        await store.turns.finish(letter.id, text="", status=status)
    released = await store.outbox.release(letter.id, retry_at_ms=500, error="busy")
    assert (released.state, released.attempts, released.error, released.retry_at) == ("waiting", 1, "busy", 500)
    message = await store.messages.get(letter.id)
    assert (message.status, message.error, message.queued) == ("failed", "busy", "waiting")
    assert await store.outbox.claim(499) is None
    assert await store.outbox.next_at() == 500
    assert (await claimed(store, 500)).attempts == 1
    again = await store.outbox.release(letter.id, retry_at_ms=10**30, error="offline", counted=False)
    assert again.attempts == 1
    assert await store.outbox.claim(2**61) is None


async def test_a_dead_letter_waits_for_a_person(store: Store) -> None:
    letter = await queued(store)
    await claimed(store)
    dead = await store.outbox.bury(letter.id, "gave up")
    assert (dead.state, dead.attempts, dead.error) == ("dead", 1, "gave up")
    assert (await store.messages.get(letter.id)).queued == "dead"
    assert await store.outbox.claim(2**62) is None and await store.outbox.next_at() is None
    with pytest.raises(WrongState):
        await store.turns.reopen(letter.id, "around the box")
    revived = await store.outbox.retry(letter.id)
    assert (revived.state, revived.attempts, revived.retry_at) == ("waiting", 0, 0)
    await answer(store, await claimed(store))
    assert await store.outbox.list() == []


async def test_a_waiting_letter_can_be_buried_or_sent_at_once(store: Store) -> None:
    letter = await queued(store, retry_at_ms=900)
    assert await store.outbox.claim(1) is None
    assert (await store.outbox.retry(letter.id)).retry_at == 0
    buried = await store.outbox.bury(letter.id, "too old")
    assert (buried.state, buried.attempts) == ("dead", 0)


async def test_dropping_leaves_the_question_and_an_empty_answer(store: Store) -> None:
    letter = await queued(store)
    await store.outbox.drop(letter.id)
    question, empty = await store.messages.path(letter.session_id)
    assert (question.text, empty.text, empty.status, empty.queued) == ("hello?", "", "failed", None)
    assert await store.outbox.list() == []
    with pytest.raises(NotFound):
        await store.outbox.drop(letter.id)
    assert (await store.turns.reopen(letter.id, "by hand")).status == "streaming"


async def test_a_letter_being_delivered_is_not_dropped_or_sent_twice(store: Store, opening: OpenStore) -> None:
    letter = await queued(store)
    await claimed(store)
    with pytest.raises(WrongState):
        await store.outbox.drop(letter.id)
    await store.turns.reopen(letter.id, "again")
    other = await opening()
    for here in (store, other):
        for attempt in (here.outbox.drop(letter.id), here.outbox.retry(letter.id)):
            with pytest.raises(WrongState):
                await attempt
    foreign: list[Coroutine[Any, Any, object]] = [
        other.outbox.release(letter.id, retry_at_ms=1, error="mine!"),
        other.outbox.bury(letter.id, "mine!"),
        other.turns.reopen(letter.id, "mine!"),
    ]
    for refused in foreign:
        with pytest.raises(WrongState):
            await refused
    await store.turns.journal(letter.id, text="already something")
    for attempt in (
        store.outbox.release(letter.id, retry_at_ms=1, error="cut"),
        store.outbox.bury(letter.id, "cut"),
    ):
        with pytest.raises(WrongState):
            await attempt
    assert (await store.messages.get(letter.id)).status == "streaming"


async def test_only_what_was_never_answered_is_queued(store: Store, opening: OpenStore) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")

    def queue(message_id: str, at: Store = store) -> Any:
        return at.outbox.queue(message_id, provider=None, model=None, error="offline")

    with pytest.raises(NotFound):
        await queue("nobody")
    with pytest.raises(WrongState):
        await queue(turn.question.id)
    with pytest.raises(WrongState):
        await queue(turn.answer.id, await opening())
    await store.turns.journal(turn.answer.id, text="a word")
    with pytest.raises(WrongState):
        await queue(turn.answer.id)
    await store.turns.finish(turn.answer.id, text="a word", status="partial")
    with pytest.raises(WrongState):
        await queue(turn.answer.id)
    failed = await store.turns.begin(session.id, None, "q", request_id="r")
    await store.turns.finish(failed.answer.id, text="", status="failed")
    await queue(failed.answer.id)
    with pytest.raises(WrongState):
        await queue(failed.answer.id)


async def test_what_is_not_there_or_not_claimed_is_refused(store: Store) -> None:
    for attempt in (
        store.outbox.release("nobody", retry_at_ms=0, error=""),
        store.outbox.bury("nobody", ""),
        store.outbox.retry("nobody"),
        store.outbox.drop("nobody"),
        store.outbox.get("nobody"),
        store.turns.reopen("nobody", "r"),
    ):
        with pytest.raises(NotFound):
            await attempt
    letter = await queued(store)
    with pytest.raises(WrongState):
        await store.outbox.release(letter.id, retry_at_ms=0, error="")
    with pytest.raises(WrongState):
        await store.turns.reopen(letter.id, "around the box")


async def test_a_session_is_answered_in_order_and_sessions_do_not_wait_for_each_other(store: Store) -> None:
    one, two = [(await store.sessions.create()).id for _ in range(2)]
    first, second = [await queued(store, one, f"one {number}") for number in range(2)]
    third = await queued(store, two, "two")
    assert (await claimed(store)).id == first.id
    assert (await claimed(store)).id == third.id
    assert await store.outbox.claim(1) is None, "the second waits for the first"
    await store.outbox.release(first.id, retry_at_ms=100, error="busy")
    assert await store.outbox.claim(1) is None, "also while the first only waits"
    assert await store.outbox.next_at() == 100
    await store.outbox.bury(first.id, "gave up")
    assert (await claimed(store)).id == second.id, "a dead letter holds nobody up"
    await store.outbox.retry(first.id)
    assert await store.outbox.claim(1) is None, "one at a time in a session"
    assert await store.outbox.count() == OutboxCount(waiting=1, delivering=2)
    await answer(store, second)
    assert (await claimed(store)).id == first.id


async def test_deleting_a_session_takes_its_letters_along(store: Store) -> None:
    letter, other = await queued(store), await queued(store)
    await claimed(store)
    await store.sessions.delete(letter.session_id)
    assert [left.id for left in await store.outbox.list()] == [other.id]
    with pytest.raises(NotFound):
        await store.outbox.release(letter.id, retry_at_ms=0, error="")
    assert (await claimed(store)).id == other.id


async def test_a_claim_nobody_waited_for_comes_back(store: Store) -> None:
    letter, second = await queued(store), await queued(store)
    claiming = asyncio.ensure_future(store.outbox.claim(1))
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert (await claimed(store)).id == letter.id
    assert (await claimed(store)).id == second.id
    assert await store.outbox.claim(1) is None


async def test_claims_at_the_same_time_share_the_letters(store: Store, opening: OpenStore) -> None:
    other = await opening()
    letters = [await queued(store) for _ in range(20)]
    taken = await asyncio.gather(*(here.outbox.claim(1) for here in (store, other) * 12))
    assert sorted(letter.id for letter in taken if letter) == sorted(letter.id for letter in letters)


@pytest.mark.parametrize("look", [lambda store: store.turns.recover(), lambda store: store.outbox.claim(0)])
async def test_letters_of_a_store_that_closed_wait_again(
    store: Store, opening: OpenStore, look: Callable[[Store], Any]
) -> None:
    other = await opening()
    idle, begun, answered = [await queued(store, question=f"{number}") for number in range(3)]
    for letter in (idle, begun, answered):
        assert (await claimed(other)).id == letter.id
    await other.turns.reopen(begun.id, "again")
    await other.turns.reopen(answered.id, "again")
    await other.turns.journal(answered.id, text="some of it")
    assert await store.turns.recover() == 0
    assert await store.outbox.count() == OutboxCount(delivering=3)
    await other.close()
    await look(store)
    await store.turns.recover()
    assert {letter.id for letter in await store.outbox.list()} == {idle.id, begun.id}
    left = await store.messages.get(answered.id)
    assert (left.status, left.text, left.queued) == ("interrupted", "some of it", None)
    assert (await store.messages.get(begun.id)).status == "failed"


async def test_recovering_does_not_count_what_will_be_sent_again(store: Store, opening: OpenStore) -> None:
    other = await opening()
    await queued(store)
    letter = await claimed(other)
    await other.turns.reopen(letter.id, "again")
    session = await store.sessions.create()
    await other.turns.begin(session.id, None, "plain", request_id="r")
    await other.close()
    assert await store.turns.recover() == 1
    assert (await claimed(store)).error == "offline"


async def test_reopen_is_for_failed_empty_answers_only(store: Store) -> None:
    session = await store.sessions.create()
    for status, text in (("complete", ""), ("failed", "a word"), ("cancelled", ""), ("interrupted", "")):
        turn = await store.turns.begin(session.id, None, "q", request_id="r")
        with pytest.raises(WrongState):
            await store.turns.reopen(turn.answer.id, "again")
        await store.turns.finish(turn.answer.id, text=text, status=status)  # type: ignore[arg-type]
        for message_id in (turn.answer.id, turn.question.id):
            with pytest.raises(WrongState):
                await store.turns.reopen(message_id, "again")


async def test_what_a_failed_attempt_cost_stays(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    await store.turns.finish(turn.answer.id, text="", status="failed", usage=Usage(7, 0, cost_usd=0.5))
    reopened = await store.turns.reopen(turn.answer.id, "again")
    assert reopened.usage is None
    done = await store.turns.finish(turn.answer.id, text="a", status="complete", usage=Usage(7, 1, cost_usd=0.25))
    assert done.usage == Usage(7, 1, cost_usd=0.25)
    assert (await store.usage.totals(session.id)).prompt_tokens == 14
    assert await store.usage.spent_since(0) == 0.75


async def test_attempts_do_not_move_a_session_up(store: Store) -> None:
    letter = await queued(store)
    newer = await store.sessions.create()
    await claimed(store)
    await store.turns.reopen(letter.id, "again")
    await store.turns.finish(letter.id, text="", status="failed")
    await store.outbox.release(letter.id, retry_at_ms=0, error="busy")
    assert [session.id for session in await store.sessions.list()] == [newer.id, letter.session_id]
    await answer(store, await claimed(store))
    assert [session.id for session in await store.sessions.list()] == [letter.session_id, newer.id]


async def test_a_reopened_answer_does_not_change_the_branch_being_read(store: Store) -> None:
    letter = await queued(store)
    elsewhere = await store.turns.begin(letter.session_id, None, "another branch", request_id="r")
    await answer(store, await claimed(store))
    assert (await store.sessions.get(letter.session_id)).active_leaf == elsewhere.answer.id


async def test_an_answer_knows_what_it_goes_on_from_and_where_it_was_cached(store: Store) -> None:
    session, elsewhere = await store.sessions.create(), await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    await store.turns.finish(turn.answer.id, text="half", status="partial")
    more = await store.turns.begin_answer(session.id, turn.question.id, request_id="r", continues=turn.answer.id)
    assert more.continues == turn.answer.id
    done = await store.turns.finish(more.id, text="whole", status="complete", cached_at=12)
    assert (done.continues, done.cached_at, turn.answer.continues) == (turn.answer.id, 12, None)
    foreign = await store.turns.begin(elsewhere.id, None, "q", request_id="r")
    for stranger in ("nobody", foreign.answer.id):
        with pytest.raises(NotFound):
            await store.turns.begin_answer(session.id, turn.question.id, request_id="r", continues=stranger)


async def test_a_question_asked_another_way_leaves_the_box_in_the_same_step(store: Store, opening: OpenStore) -> None:
    session = await store.sessions.create(title="t")
    first = await store.turns.begin(session.id, None, "Q", request_id="r")
    await store.outbox.queue(first.answer.id, provider=None, model=None, error="down")
    other = await opening()
    assert await other.outbox.claim(2**50)
    with pytest.raises(WrongState):
        await store.turns.begin_answer(session.id, first.question.id, request_id="r")
    with pytest.raises(WrongState):
        await store.turns.begin(session.id, None, "Q, better", request_id="r", instead_of=first.question.id)
    assert len(await store.messages.all(session.id)) == 2, "nothing was begun"
    await other.outbox.release(first.answer.id, retry_at_ms=0, error="down", counted=False)
    await store.turns.begin(session.id, None, "Q, better", request_id="r", instead_of=first.question.id)
    assert await store.outbox.list() == []


async def test_what_some_providers_cost(store: Store) -> None:
    session = await store.sessions.create(title="t")
    for provider, cost in (("a", 0.5), ("b", 0.25), ("a", 1.0)):
        turn = await store.turns.begin(session.id, None, "Q", request_id="r")
        usage = Usage(1, 1, cost_usd=cost)
        await store.turns.finish(turn.answer.id, text="A", status="complete", provider=provider, usage=usage)
    assert [await store.usage.spent_since(0, who) for who in (None, ["a"], {"a", "b"}, ())] == [1.75, 1.5, 1.75, 0.0]
