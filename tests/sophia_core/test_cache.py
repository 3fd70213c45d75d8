"""The response cache: the very same request is answered again, visibly, and only where that was asked for."""

from __future__ import annotations

import dataclasses

import pytest

from backend_client import StreamTruncated, Unreachable
from backend_client.types import (
    AnswerSchema,
    ChatMessage,
    ChatRequest,
    FinishChunk,
    Image,
    TextChunk,
    Tool,
    ToolCallChunk,
)
from sophia_core.chat.cache import Cache, key_of
from sophia_core.events import RouteChosen, TextDelta
from tests.scripted import chat
from tests.sophia_core.conftest import OpenBench, OpenDesk
from tests.sophia_core.desk import ROUTED, Piece, said

ASK = ChatRequest((ChatMessage("user", "hi"),), model="m", temperature=0.5, max_tokens=9)


async def test_the_same_question_is_answered_without_asking_anybody(desk: OpenDesk) -> None:
    made = await desk(said("Hello"), cache=True)
    first = await made.turn("chat.send hi")
    made.current.session_id = None
    again = await made.turn("chat.send hi")
    assert len(made.backend.requests) == 1
    assert (again.text, again.status, again.provider, again.model) == ("Hello", "complete", "here", "m")
    assert (again.prompt_tokens, again.completion_tokens, again.cost_usd) == (None, None, None)
    old, new = [await made.store.messages.get(each.answer_id) for each in (first, again)]
    assert first.cached_at is None
    assert again.cached_at == new.cached_at == made.heard(RouteChosen)[1].cached_at == old.finished_at
    assert (new.text, new.usage) == ("Hello", None)
    assert [event.text for event in made.heard(TextDelta)] == ["Hello", "Hello"]
    assert (await made.store.usage.totals()).answers == 1


async def test_a_hit_is_not_remembered_as_if_it_were_new(desk: OpenDesk) -> None:
    made = await desk(said("Hello"), cache=True)
    cached = []
    for _ in range(3):
        made.current.session_id = None
        cached.append((await made.turn("chat.send hi")).cached_at)
    assert cached[1] == cached[2] is not None


async def test_it_has_to_be_asked_for(desk: OpenDesk) -> None:
    made = await desk(said("one"), said("two"))
    for text in ("one", "two"):
        made.current.session_id = None
        assert (await made.turn("chat.send hi")).text == text


async def test_fresh_asks_all_the_same_and_what_it_brings_is_kept(desk: OpenDesk) -> None:
    made = await desk(said("old"), said("new"), cache=True)
    for line, text in (("chat.send hi", "old"), ("chat.send hi fresh=true", "new"), ("chat.send hi", "new")):
        made.current.session_id = None
        assert (await made.turn(line)).text == text
    assert len(made.backend.requests) == 2


async def test_asking_again_asks_somebody_and_what_it_brings_is_kept(desk: OpenDesk) -> None:
    made = await desk(said("old"), said("new"), cache=True)
    await made.turn("chat.send hi")
    assert (await made.turn("/again")).text == "new"
    made.current.session_id = None
    assert (await made.turn("chat.send hi")).text == "new"


@pytest.mark.parametrize(
    "answer",
    [
        said("cut at its limit", finish="length"),
        [ROUTED, TextChunk("broke off"), StreamTruncated("cut")],
        [ROUTED, TextChunk("a tool"), ToolCallChunk(0, "c", "f", "{}"), FinishChunk("stop")],
        [ROUTED, FinishChunk("stop")],
    ],
    ids=["length", "partial", "tool", "empty"],
)
async def test_only_whole_answers_in_prose_are_remembered(desk: OpenDesk, answer: list[Piece]) -> None:
    made = await desk(answer, said("whole"), cache=True)
    for _ in range(2):
        made.current.session_id = None
        last = await made.turn("chat.send hi")
    assert last.text == "whole"


async def test_a_continued_answer_is_not_remembered(desk: OpenDesk) -> None:
    made = await desk([ROUTED, TextChunk("a"), StreamTruncated("cut")], said("b"), said("fresh"), cache=True)
    await made.turn("chat.send hi")
    await made.turn("/continue")
    made.current.session_id = None
    assert (await made.turn("chat.send hi")).text == "fresh"


async def test_what_is_remembered_is_there_while_nobody_can_be_reached(desk: OpenDesk) -> None:
    made = await desk(said("Hello"), Unreachable("down"), cache=True)
    await made.turn("chat.send hi")
    made.current.session_id = None
    assert (await made.turn("chat.send hi")).status == "complete"
    made.current.session_id = None
    assert (await made.turn("chat.send other")).status == "queued"


async def test_cleared_and_deleted_answers_are_not_given_again(desk: OpenDesk) -> None:
    made = await desk(said("one"), said("two"), said("three"), cache=True)
    await made.turn("chat.send hi")
    assert await made.run("cache.clear") == "1 answer forgotten."
    made.current.session_id = None
    second = await made.turn("chat.send hi")
    assert second.text == "two"
    await made.store.sessions.delete(second.session_id)
    made.current.session_id = None
    assert (await made.turn("chat.send hi")).text == "three"


async def test_an_answer_past_its_time_is_asked_for_again(desk: OpenDesk) -> None:
    made = await desk(said("old"), cache=True)
    finished = await made.turn("chat.send hi")
    key = key_of(made.backend.requests[0], None)
    assert await made.chat.cache.find(made.store, key) is not None
    assert await Cache(made.vault, enabled=True, hours=-1).find(made.store, key) is None
    assert finished.saved


OTHERS = {
    "question": {"messages": (ChatMessage("user", "ho"),)},
    "role": {"messages": (ChatMessage("system", "hi"),)},
    "split": {"messages": (ChatMessage("user", "h"), ChatMessage("user", "i"))},
    "image": {"messages": (ChatMessage("user", "hi", images=(Image("image/png", b"1"),)),)},
    "other image": {"messages": (ChatMessage("user", "hi", images=(Image("image/png", b"2"),)),)},
    "model": {"model": "n"},
    "no model": {"model": None},
    "temperature": {"temperature": 0.6},
    "length": {"max_tokens": 10},
    "extra": {"extra": {"top_p": 0.1}},
    "tools": {"tools": (Tool("f", "does", {"type": "object"}),)},
    "schema": {"answer_schema": AnswerSchema("s", {"type": "object"})},
    "effort": {"reasoning_effort": "low"},
}


def test_whatever_may_change_the_answer_changes_the_key() -> None:
    requests = [ASK, *(dataclasses.replace(ASK, **change) for change in OTHERS.values())]  # type: ignore[arg-type]
    keys = [key_of(request, None) for request in requests]
    others = {key_of(ASK, "here"), key_of(ASK, "there"), key_of(ASK, None, "here m"), key_of(ASK, None, "here n")}
    assert len({*keys, *others}) == len(keys) + 4


def test_what_only_names_the_request_does_not() -> None:
    named = dataclasses.replace(ASK, request_id="r", traceparent="t", flow="s", idempotency_key="k")
    assert key_of(named, None) == key_of(ASK, None)
    swapped = [dataclasses.replace(ASK, extra=extra) for extra in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    assert key_of(swapped[0], None) == key_of(swapped[1], None)


async def test_another_model_in_the_settings_is_asked_although_the_question_is_the_same(bench: OpenBench) -> None:
    cached = {"SOPHIA_CHAT__CACHE": "true"}
    first = await bench(chat("of one"), **cached)
    await first.runtime.run("chat.send", "hi")
    await first.runtime.close()
    again = await bench(**cached)
    assert (await again.runtime.run("chat.send", "hi")).text == "of one"  # type: ignore[attr-defined]
    await again.runtime.close()
    other = await bench(chat("of another"), SOPHIA_MODEL="another", **cached)
    assert (await other.runtime.run("chat.send", "hi")).text == "of another"  # type: ignore[attr-defined]


@pytest.mark.parametrize("saved", [True, False])
async def test_a_store_that_nobody_keeps_remembers_while_it_lasts(desk: OpenDesk, saved: bool) -> None:
    made = await desk(said("Hello"), said("fresh"), cache=True)
    if not saved:
        await made.vault.close()
        await made.vault.open_unsaved()
    for text in ("Hello", "Hello"):
        made.current.session_id = None
        assert (await made.turn("chat.send hi")).text == text
    assert len(made.backend.requests) == 1


async def test_a_question_of_a_pinned_provider_is_not_answered_by_anothers_answer(desk: OpenDesk) -> None:
    made = await desk(said("of all"), said("of here"), cache=True)
    await made.turn("chat.send hi")
    made.current.session_id, made.current.provider = None, "here"
    assert (await made.turn("chat.send hi")).text == "of here"
