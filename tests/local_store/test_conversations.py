"""Sessions, turns, messages, drafts and usage, as the core uses them."""

from __future__ import annotations

import asyncio

import pytest

from local_store import Message, NotFound, Store, StoreClosed, Usage


async def ask(store: Store, session_id: str, parent_id: str | None, question: str) -> Message:
    """Return the finished answer to a question."""
    turn = await store.turns.begin(session_id, parent_id, question, request_id="r")
    return await store.turns.finish(turn.answer.id, text=f"answer to {question}", status="complete")


async def test_a_turn_is_stored_before_it_is_streamed(store: Store) -> None:
    session = await store.sessions.create("Trip")
    turn = await store.turns.begin(session.id, None, "Where to?", request_id="req-1")
    assert [message.text for message in await store.messages.path(session.id)] == ["Where to?", ""]
    assert (turn.question.role, turn.question.status) == ("user", "complete")
    assert (turn.answer.role, turn.answer.status, turn.answer.finished_at) == ("assistant", "streaming", None)
    assert turn.answer.parent_id == turn.question.id
    assert turn.answer.request_id == "req-1"
    assert (await store.sessions.get(session.id)).message_count == 2


async def test_two_answers_begin_with_their_question_or_below_it(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "hi", request_id="one", beside="two")
    assert turn.beside is not None
    assert (turn.answer.request_id, turn.beside.request_id) == ("one", "two")
    assert (turn.beside.parent_id, turn.beside.status) == (turn.question.id, "streaming")
    assert [each.id for each in await store.messages.path(session.id)] == [turn.question.id, turn.answer.id]
    again = await store.turns.begin_two_answers(session.id, turn.question.id, request_ids=("three", "four"))
    assert again.beside is not None
    assert again.question == turn.question
    assert (await store.sessions.get(session.id)).message_count == 5
    siblings = [each.request_id for each in await store.messages.siblings(again.beside.id)]
    assert siblings == ["one", "two", "three", "four"]
    with pytest.raises(NotFound):
        await store.turns.begin_two_answers(session.id, "nothing", request_ids=("5", "6"))
    assert (await store.sessions.get(session.id)).message_count == 5


async def test_finish_stores_everything_about_an_answer(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "hi", request_id="r")
    await store.turns.journal(turn.answer.id, text="par")
    usage = Usage(10, 20, 5, 3, 0.25)
    finished = await store.turns.finish(
        turn.answer.id,
        text="partial",
        reasoning="because",
        status="partial",
        provider="p",
        model="m",
        finish_reason="length",
        error="cut",
        usage=usage,
    )
    assert finished == await store.messages.get(turn.answer.id)
    assert (finished.text, finished.reasoning, finished.status) == ("partial", "because", "partial")
    assert (finished.provider, finished.model, finished.finish_reason, finished.error) == ("p", "m", "length", "cut")
    assert finished.usage == usage
    assert finished.finished_at is not None and finished.finished_at >= finished.created_at


async def test_an_answer_cannot_finish_as_streaming_nor_be_journalled_afterwards(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "hi", request_id="r")
    with pytest.raises(ValueError, match="streaming"):
        await store.turns.finish(turn.answer.id, text="", status="streaming")
    await store.turns.finish(turn.answer.id, text="done", status="complete")
    with pytest.raises(NotFound):
        await store.turns.journal(turn.answer.id, text="late")
    assert (await store.messages.get(turn.answer.id)).text == "done"


async def test_sessions_are_listed_by_last_use(store: Store) -> None:
    first, second, third = [await store.sessions.create(name) for name in ("first", "second", "third")]
    assert [session.title for session in await store.sessions.list()] == ["third", "second", "first"]
    await ask(store, first.id, None, "again")
    assert [session.id for session in await store.sessions.list()] == [first.id, third.id, second.id]
    assert (await store.sessions.latest()) == await store.sessions.get(first.id)
    assert len(await store.sessions.list(limit=2)) == 2


async def test_a_session_is_found_by_its_id_or_a_unique_prefix(store: Store) -> None:
    assert await store.sessions.latest() is None
    session = await store.sessions.create()
    assert await store.sessions.get(session.id[:6].lower()) == session
    await store.sessions.create()
    with pytest.raises(NotFound, match="more than one"):
        await store.sessions.get(session.id[:2])
    for nothing in ("", "ZZZZ", "%", session.id + "0"):
        with pytest.raises(NotFound):
            await store.sessions.get(nothing)


async def test_rename_and_delete(store: Store) -> None:
    session = await store.sessions.create()
    assert (await store.sessions.rename(session.id, "Ünïcode\n")).title == "Ünïcode\n"
    answer = await ask(store, session.id, None, "findme")
    await store.sessions.delete(session.id)
    for missing in (store.sessions.get(session.id), store.sessions.delete(session.id), store.messages.get(answer.id)):
        with pytest.raises(NotFound):
            await missing
    assert await store.search.messages("findme") == []
    with pytest.raises(NotFound):
        await store.sessions.rename(session.id, "gone")


async def test_a_session_of_a_thousand_messages_in_one_branch_can_be_read_and_deleted(store: Store) -> None:
    session = await store.sessions.create()
    parent: str | None = None
    for number in range(520):
        turn = await store.turns.begin(session.id, parent, f"q{number}", request_id="r")
        parent = turn.answer.id
    assert len(await store.messages.path(session.id)) == 1040
    assert await store.messages.activate((await store.messages.path(session.id))[0].id) == parent
    await store.sessions.delete(session.id)
    assert await store.sessions.list() == []


async def test_editing_and_regenerating_make_siblings_and_destroy_nothing(store: Store) -> None:
    session = await store.sessions.create()
    first = await ask(store, session.id, None, "one")
    second = await ask(store, session.id, first.id, "two")
    edited = await ask(store, session.id, first.id, "two, edited")
    assert edited.parent_id is not None and second.parent_id is not None
    again = await store.turns.begin_answer(session.id, edited.parent_id, request_id="r")
    await store.turns.finish(again.id, text="another", status="complete")

    texts = [message.text for message in await store.messages.path(session.id)]
    assert texts == ["one", "answer to one", "two, edited", "another"]
    assert [message.id for message in await store.messages.siblings(again.id)] == [edited.id, again.id]
    questions = await store.messages.siblings(edited.parent_id)
    assert [message.text for message in questions] == ["two", "two, edited"]
    assert len(await store.messages.all(session.id)) == 7

    assert await store.messages.activate(second.parent_id) == second.id
    assert [message.text for message in await store.messages.path(session.id)][2:] == ["two", "answer to two"]
    assert await store.messages.activate(edited.parent_id) == again.id
    assert await store.messages.activate(edited.id) == edited.id
    assert [message.text for message in await store.messages.path(session.id, second.id)][-1] == "answer to two"


async def test_two_roots_are_siblings_of_each_other_only_within_their_session(store: Store) -> None:
    here, elsewhere = await store.sessions.create(), await store.sessions.create()
    await ask(store, here.id, None, "a")
    other_root = await ask(store, here.id, None, "b")
    await ask(store, elsewhere.id, None, "c")
    assert other_root.parent_id is not None
    roots = await store.messages.siblings(other_root.parent_id)
    assert [message.text for message in roots] == ["a", "b"]


async def test_a_parent_must_be_in_the_session(store: Store) -> None:
    here, elsewhere = await store.sessions.create(), await store.sessions.create()
    stranger = await ask(store, elsewhere.id, None, "there")
    for attempt in (
        store.turns.begin(here.id, stranger.id, "q", request_id="r"),
        store.turns.begin(here.id, "nobody", "q", request_id="r"),
        store.turns.begin("nowhere", None, "q", request_id="r"),
        store.turns.begin_answer(here.id, stranger.id, request_id="r"),
        store.messages.path(here.id, stranger.id),
        store.messages.path("nowhere"),
        store.messages.all("nowhere"),
        store.messages.siblings("nobody"),
        store.messages.activate("nobody"),
        store.turns.finish("nobody", text="", status="complete"),
        store.turns.journal("nobody", text="x"),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await store.messages.path(here.id) == []
    assert (await store.sessions.get(here.id)).message_count == 0


async def test_recent_prompts_are_distinct_and_newest_first(store: Store) -> None:
    session = await store.sessions.create()
    for question in ("a", "b", "a", "c"):
        await store.turns.begin(session.id, None, question, request_id="r")
    assert await store.messages.recent_prompts() == ["c", "a", "b"]
    assert await store.messages.recent_prompts(limit=1) == ["c"]


async def test_drafts(store: Store) -> None:
    assert await store.drafts.load("k") is None
    await store.drafts.save("k", "half a thou")
    await store.drafts.save("k", "half a thought")
    assert await store.drafts.load("k") == "half a thought"
    await store.drafts.clear("k")
    await store.drafts.clear("k")
    assert await store.drafts.load("k") is None


async def test_usage_totals_outlive_their_session(store: Store) -> None:
    one, two = await store.sessions.create(), await store.sessions.create()
    for session, usage in ((one, Usage(1, 2)), (one, Usage(10, 20, 5, 4, 0.5)), (two, Usage(100, 200, cost_usd=1.0))):
        turn = await store.turns.begin(session.id, None, "q", request_id="r")
        await store.turns.finish(turn.answer.id, text="a", status="complete", usage=usage)
    here = await store.usage.totals(one.id)
    assert (here.answers, here.prompt_tokens, here.completion_tokens) == (2, 11, 22)
    assert (here.reasoning_tokens, here.cached_tokens, here.cost_usd, here.priced_answers) == (5, 4, 0.5, 1)
    everywhere = await store.usage.totals()
    await store.sessions.delete(one.id)
    assert await store.usage.totals() == everywhere
    assert (await store.usage.totals(one.id)).answers == 0
    later = (await store.messages.all(two.id))[-1].created_at + 3_600_000
    assert (await store.usage.totals(since=later)).answers == 0


async def test_finishing_twice_counts_once(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    for tokens in (1, 2):
        await store.turns.finish(turn.answer.id, text="a", status="complete", usage=Usage(tokens, tokens))
    assert (await store.usage.totals()).prompt_tokens == 2


async def test_a_cancelled_caller_loses_no_write(store: Store) -> None:
    session = await store.sessions.create()
    turn = await store.turns.begin(session.id, None, "q", request_id="r")
    for number in range(50):
        writing = asyncio.ensure_future(store.turns.journal(turn.answer.id, text=f"{number},"))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await store.turns.finish(turn.answer.id, text="end", status="cancelled")
    assert (await store.messages.get(turn.answer.id)).text == "end"


async def test_many_writers_at_once_are_all_stored_and_a_failing_one_disturbs_no_other(store: Store) -> None:
    session = await store.sessions.create()
    begun = [store.turns.begin(session.id, None, str(number), request_id="r") for number in range(400)]
    failing = [store.turns.begin("nowhere", None, "x", request_id="r") for _ in range(50)]
    mixed = [attempt for pair in zip(begun, failing, strict=False) for attempt in pair] + begun[50:]
    outcomes = await asyncio.gather(*mixed, return_exceptions=True)
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 50
    stored = [message.text for message in await store.messages.all(session.id) if message.role == "user"]
    assert stored == [str(number) for number in range(400)]


async def test_close_writes_what_waits_and_then_refuses(store: Store) -> None:
    session = await store.sessions.create()
    waiting = [
        asyncio.ensure_future(store.turns.begin(session.id, None, str(number), request_id="r")) for number in range(300)
    ]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*waiting)) == 300
    await store.close()
    with pytest.raises(StoreClosed):
        await store.sessions.create()
    with pytest.raises(StoreClosed):
        await store.sessions.list()


async def test_absurd_usage_does_not_cost_the_answer(store: Store) -> None:
    session = await store.sessions.create()
    for usage in (Usage(10**30, -5, -(10**30), 10**19, float("inf")), Usage(1, 1, cost_usd=float("nan"))):
        turn = await store.turns.begin(session.id, None, "q", request_id="r")
        answer = await store.turns.finish(turn.answer.id, text="kept", status="complete", usage=usage)
        assert answer.text == "kept" and answer.usage is not None and answer.usage.cost_usd is None
    totals = await store.usage.totals()
    assert (totals.prompt_tokens, totals.completion_tokens, totals.cost_usd) == (10**12 + 1, 1, 0.0)


async def test_what_was_spent_since_a_time(store: Store) -> None:
    session = await store.sessions.create()
    assert await store.usage.spent_since(0) == 0.0
    for usage in (Usage(1, 2), Usage(1, 2, cost_usd=0.5), Usage(1, 2, cost_usd=0.25)):
        turn = await store.turns.begin(session.id, None, "q", request_id="r")
        await store.turns.finish(turn.answer.id, text="a", status="complete", usage=usage)
    assert await store.usage.spent_since(session.created_at) == 0.75
    assert await store.usage.spent_since(session.created_at + 3_600_000) == 0.0
