"""Questions that nobody could be reached for: they wait, are asked in order, and each is answered once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend_client import (
    BackendError,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    ServerFailed,
    StreamTruncated,
    TimedOut,
    Unreachable,
)
from backend_client.errors import AllUnavailable, CostCapReached, EndpointUnavailable, LoginNeeded, NotOurProtocol
from backend_client.types import ChatMessage, ReasoningChunk, TextChunk
from sophia_core.commands import CommandDisabled, CommandError, NeedsConfirmation
from sophia_core.events import (
    BreakerChanged,
    DegradationChanged,
    Level,
    Notice,
    OutboxChanged,
    SessionChanged,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from sophia_core.outbox import LONGEST_PAUSE_S, MOST_ATTEMPTS, STOPPED_PAUSE_S
from tests.sophia_core.conftest import OpenDesk
from tests.sophia_core.desk import ROUTED, Desk, said

DOWN = Unreachable("nothing answers", provider="here")
NEVER = asyncio.Event


# How a question gets into the box


@pytest.mark.parametrize("error", [DOWN, AllUnavailable("all out"), EndpointUnavailable("no"), TimedOut("slow")])
async def test_a_question_nobody_could_be_reached_for_waits(desk: OpenDesk, error: BackendError) -> None:
    made = await desk(error)
    made.current.provider, made.current.model = "here", "m"
    finished = await made.turn("chat.send hi")
    assert (finished.status, finished.text, finished.error) == ("queued", "", str(error))
    assert "/outbox" in (finished.hint or "")
    (letter,) = await made.letters()
    assert (letter.id, letter.question, letter.state, letter.attempts) == (finished.answer_id, "hi", "waiting", 0)
    assert (letter.provider, letter.model, letter.error) == ("here", "m", str(error))
    answer = (await made.path())[-1]
    assert (answer.status, answer.text, answer.queued) == ("failed", "", "waiting")


@pytest.mark.parametrize(
    "error",
    [CostCapReached("cap"), PermissionDenied("no"), InvalidRequest("bad"), ServerFailed("500"), LoginNeeded("?")],
)
async def test_a_question_that_was_refused_does_not_wait(desk: OpenDesk, error: BackendError) -> None:
    made = await desk(error)
    assert (await made.turn("chat.send hi")).status == "failed"
    assert await made.letters() == []


async def test_a_question_whose_answer_had_begun_does_not_wait(desk: OpenDesk) -> None:
    made = await desk([ROUTED, ReasoningChunk("hm"), TimedOut("idle")], [ROUTED, TextChunk("x"), DOWN])
    assert [(await made.turn("chat.send hi")).status for _ in range(2)] == ["failed", "partial"]
    assert await made.letters() == []


async def test_without_a_person_nothing_waits(desk: OpenDesk) -> None:
    made = await desk(DOWN, queue=False)
    finished = await made.turn("chat.send hi")
    assert (finished.status, finished.hint) == ("failed", DOWN.hint)
    assert await made.letters() == []


async def test_a_stopped_question_does_not_wait(desk: OpenDesk) -> None:
    made = await desk([NEVER()])
    turn = asyncio.create_task(made.turn("chat.send hi"))
    await made.asked_for(1)
    await made.run("chat.stop")
    assert (await turn).status == "cancelled"
    assert await made.letters() == []


# How it gets out of it


async def test_what_waited_is_asked_in_order_when_somebody_is_there_again(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN, DOWN, said("A1"), said("A2"), said("A3"))
    first = await made.turn("chat.send Q1")
    await made.turn("chat.send Q2")
    await made.run("chat.send Q3")
    waiting = [letter.id for letter in await made.letters()]
    assert await made.outbox.deliver_due() is None
    assert [event.text for event in made.heard(TurnFinished)[3:]] == ["A1", "A2", "A3"]
    assert [request.messages[-1].content for request in made.backend.requests[3:]] == ["Q1", "Q2", "Q3"]
    asked_in_view = made.backend.requests[5].messages
    assert asked_in_view == tuple(
        ChatMessage("assistant" if text[0] == "A" else "user", text) for text in ("Q1", "A1", "Q2", "A2", "Q3")
    )
    assert [row.text for row in await made.path()] == ["Q1", "A1", "Q2", "A2", "Q3", "A3"]
    assert await made.letters() == []
    assert [(event.waiting, event.dead) for event in made.heard(OutboxChanged)] == [(3, 0), (2, 0), (1, 0), (0, 0)]
    assert waiting[0] == first.answer_id


async def test_every_try_of_a_question_carries_the_same_key(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN, said("A"))
    finished = await made.turn("chat.send hi")
    await made.outbox.deliver_due()
    made.outbox.poke()
    await made.outbox.deliver_due()
    assert {request.idempotency_key for request in made.backend.requests} == {finished.answer_id}
    assert len({request.request_id for request in made.backend.requests}) == 3


async def test_a_delivery_takes_nobody_anywhere(desk: OpenDesk) -> None:
    made = await desk(DOWN, said("elsewhere"), said("A"))
    made.current.provider = "pinned"
    waited = await made.turn("chat.send waits")
    made.current.provider = made.current.session_id = None
    other = await made.turn("chat.send other")
    leaf = await made.path()
    moved = len(made.heard(SessionChanged))
    await made.outbox.deliver_due()
    started = made.heard(TurnStarted)[-1]
    assert (started.delivered, started.session_id, started.question) == (True, waited.session_id, "waits")
    assert [event.delivered for event in made.heard(TurnStarted)[:-1]] == [False, False]
    assert made.heard(TurnFinished)[-1].answer_id == waited.answer_id
    assert made.current.session_id == other.session_id
    assert len(made.heard(SessionChanged)) == moved
    assert await made.path() == leaf
    assert made.backend.asked == ["pinned", None, "pinned"]


async def test_while_nobody_is_there_it_is_tried_ever_less_often(desk: OpenDesk) -> None:
    made = await desk(*[DOWN] * 12)
    await made.turn("chat.send hi")
    waits = []
    for _ in range(10):
        wait = await made.outbox.deliver_due()
        assert wait is not None
        waits.append(wait)
        assert await made.outbox.deliver_due() == pytest.approx(wait)
        made.clock.now += wait
    for n, wait in enumerate(waits):
        assert 0.8 <= wait / min(5 * 2**n, LONGEST_PAUSE_S) <= 1.2
    assert [(letter.state, letter.attempts) for letter in await made.letters()] == [("waiting", 0)]
    assert len(made.backend.requests) == 11


@pytest.mark.parametrize("error", [CostCapReached("cap"), LoginNeeded("sign in")])
async def test_what_waits_already_waits_for_a_person_too(desk: OpenDesk, error: BackendError) -> None:
    made = await desk(DOWN, *[error] * 9)
    await made.turn("chat.send hi")
    for _ in range(8):
        made.clock.now += await made.outbox.deliver_due() or 0
    assert [(letter.state, letter.error) for letter in await made.letters()] == [("waiting", str(error))]


async def test_one_unreachable_provider_is_asked_for_the_first_letter_only(desk: OpenDesk) -> None:
    made = await desk(*[DOWN] * 4)
    for n in range(3):
        await made.turn(f"chat.send {n}")
        made.current.session_id = None
    await made.outbox.deliver_due()
    assert len(made.backend.requests) == 4


# What is given up


async def test_a_question_that_fails_too_often_is_given_up_and_can_be_tried_again(desk: OpenDesk) -> None:
    made = await desk(DOWN, *[Overloaded("busy")] * MOST_ATTEMPTS, said("A"))
    finished = await made.turn("chat.send hi")
    for n in range(MOST_ATTEMPTS):
        wait = await made.outbox.deliver_due()
        if n < MOST_ATTEMPTS - 1:
            assert wait is not None
            assert 0.8 <= wait / (5 * 2**n) <= 1.2
            made.clock.now += wait + 0.001
    (letter,) = await made.letters()
    assert (letter.state, letter.attempts, letter.error) == ("dead", MOST_ATTEMPTS, "busy")
    assert made.heard(OutboxChanged)[-1] == OutboxChanged(waiting=0, dead=1)
    assert [event.status for event in made.heard(TurnFinished)] == ["queued"] * MOST_ATTEMPTS + ["failed"]
    (notice,) = made.heard(Notice)
    assert notice.text == "A waiting question could not be delivered: busy"
    assert f"outbox.retry {letter.id}" in notice.hint
    await made.run(f"outbox.retry {letter.id[:20].lower()}")
    await made.outbox.deliver_due()
    assert made.heard(TurnFinished)[-1].text == "A"
    assert (await made.store.messages.get(finished.answer_id)).text == "A"
    assert await made.letters() == []


@pytest.mark.parametrize("error", [PermissionDenied("no"), InvalidRequest("there is no provider 'gone'")])
async def test_a_question_that_is_refused_is_given_up_at_once(desk: OpenDesk, error: BackendError) -> None:
    made = await desk(DOWN, error)
    await made.turn("chat.send hi")
    assert await made.outbox.deliver_due() is None
    assert [letter.state for letter in await made.letters()] == ["dead"]
    row = (await made.path())[-1]
    assert (row.status, row.error, row.queued) == ("failed", str(error), "dead")


async def test_a_page_that_is_no_model_is_not_the_end_of_a_question(desk: OpenDesk) -> None:
    made = await desk(DOWN, NotOurProtocol("a page to agree to"))
    await made.turn("chat.send hi")
    assert await made.outbox.deliver_due() is not None
    assert [(letter.state, letter.attempts) for letter in await made.letters()] == [("waiting", 1)]


async def test_a_dead_letter_holds_nobody_up(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN, InvalidRequest("bad"), said("A2"))
    await made.turn("chat.send Q1")
    await made.turn("chat.send Q2")
    assert await made.outbox.deliver_due() is None
    assert [letter.question for letter in await made.letters()] == ["Q1"]
    assert (await made.path())[-1].text == "A2"


async def test_a_dropped_question_is_never_asked(desk: OpenDesk) -> None:
    made = await desk(DOWN)
    finished = await made.turn("chat.send hi")
    with pytest.raises(NeedsConfirmation):
        await made.run(f"outbox.drop {finished.answer_id}")
    await made.run(f"outbox.drop {finished.answer_id}", confirmed=True)
    assert await made.outbox.deliver_due() is None
    assert [(row.text, row.queued) for row in await made.path()] == [("hi", None), ("", None)]
    assert made.heard(OutboxChanged)[-1] == OutboxChanged(0, 0)


async def test_letters_are_listed_and_named_by_their_number_or_the_beginning_of_their_id(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN)
    await made.turn("chat.send Q1")
    await made.turn("chat.send Q2")
    listed = await made.run("/outbox")
    assert isinstance(listed, list)
    assert [(row.number, row.standing, row.question) for row in listed] == [(1, "waiting", "Q1"), (2, "waiting", "Q2")]
    with pytest.raises(CommandError, match="More than one"):
        await made.run(f"outbox.retry {listed[0].letter[:3]}")
    with pytest.raises(CommandError, match="No question"):
        await made.run("outbox.retry zzz")
    with pytest.raises(CommandError, match="No question"):
        await made.run('outbox.retry ""')
    assert await made.run("outbox.retry 2") == "'Q2' is asked when SOPHIA is next open."


# Beside a person


async def test_a_stopped_delivery_waits_a_minute(desk: OpenDesk) -> None:
    made = await desk(DOWN, [NEVER()], said("A"))
    await made.turn("chat.send hi")
    delivering = asyncio.create_task(made.outbox.deliver_due())
    await made.asked_for(2)
    await made.run("chat.stop")
    assert await delivering == pytest.approx(STOPPED_PAUSE_S, abs=0.01)
    assert made.heard(TurnFinished)[-1].status == "queued"
    assert "put back" in made.heard(Notice)[-1].text
    made.outbox.poke()
    assert await made.outbox.deliver_due() == pytest.approx(STOPPED_PAUSE_S, abs=0.01)
    made.clock.now += STOPPED_PAUSE_S + 0.001
    assert await made.outbox.deliver_due() is None
    assert (await made.path())[-1].text == "A"


async def test_a_person_goes_before_a_delivery_that_nobody_answers_yet(desk: OpenDesk) -> None:
    made = await desk(DOWN, [NEVER()], said("mine"), said("waited"))
    await made.turn("chat.send hi")
    delivering = asyncio.create_task(made.outbox.deliver_due())
    await made.asked_for(2)
    made.current.session_id = None
    assert (await made.turn("chat.send me first")).text == "mine"
    assert await delivering is None
    assert [event.text for event in made.heard(TurnFinished)] == ["", "", "mine", "waited"]
    assert not made.heard(Notice)


async def test_a_delivery_that_is_being_answered_is_left_to_its_end(desk: OpenDesk) -> None:
    go_on = asyncio.Event()
    made = await desk(DOWN, [ROUTED, TextChunk("A"), go_on, *said("!")[1:]])
    await made.turn("chat.send hi")
    delivering = asyncio.create_task(made.outbox.deliver_due())
    await made.until(TextDelta)
    with pytest.raises(CommandDisabled, match="streaming"):
        await made.run("chat.send me first")
    go_on.set()
    await delivering
    assert (await made.path())[-1].text == "A!"


async def test_a_delivery_waits_for_the_answer_that_is_streaming(desk: OpenDesk) -> None:
    go_on = asyncio.Event()
    made = await desk(DOWN, [ROUTED, TextChunk("mine"), go_on, *said("")[2:]], said("waited"))
    await made.turn("chat.send hi")
    made.current.session_id = None
    asking = asyncio.create_task(made.turn("chat.send mine"))
    await made.until(TextDelta)
    delivering = asyncio.create_task(made.outbox.deliver_due())
    await made.until(OutboxChanged)
    assert len(made.backend.requests) == 2
    go_on.set()
    assert (await asking).status == "complete"
    await delivering
    assert made.heard(TurnFinished)[-1].text == "waited"


async def test_an_answer_that_breaks_off_was_delivered(desk: OpenDesk) -> None:
    made = await desk(DOWN, [ROUTED, TextChunk("half"), StreamTruncated("cut")])
    await made.turn("chat.send hi")
    assert await made.outbox.deliver_due() is None
    assert [(row.text, row.status) for row in await made.path()] == [("hi", "complete"), ("half", "partial")]
    assert await made.letters() == []
    assert "broke off" in made.heard(Notice)[-1].text


@pytest.mark.parametrize("line", ["/again", "chat.edit {question} other"])
async def test_a_question_asked_another_way_is_not_asked_twice(desk: OpenDesk, line: str) -> None:
    made = await desk(DOWN, said("now"))
    await made.turn("chat.send hi")
    question = (await made.path())[0].id
    assert (await made.turn(line.format(question=question))).text == "now"
    assert await made.outbox.deliver_due() is None
    assert len(made.backend.requests) == 2


async def test_asking_again_while_nobody_is_there_leaves_one_letter(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN, said("A"))
    await made.turn("chat.send hi")
    again = await made.turn("/again")
    assert [letter.id for letter in await made.letters()] == [again.answer_id]
    await made.outbox.deliver_due()
    assert (await made.path())[-1].text == "A"


# Restarts and other instances


async def die_while_delivering(made: Desk, *, arrived: str = "") -> None:
    """Leaves the store as an instance does that is killed in the middle of a delivery."""
    letter = await made.store.outbox.claim(2**50)
    assert letter is not None
    await made.store.turns.reopen(letter.id, "r")
    await made.store.turns.journal(letter.id, text=arrived)
    await made.store.close()
    made.vault.store = None


async def test_a_letter_of_a_killed_instance_is_delivered_once(desk: OpenDesk) -> None:
    killed = await desk(DOWN)
    finished = await killed.turn("chat.send hi")
    await die_while_delivering(killed)
    made = await desk(said("A"))
    assert made.vault.recovered == 0
    assert await made.outbox.deliver_due() is None
    assert await made.outbox.deliver_due() is None
    assert [event.text for event in made.heard(TurnFinished)] == ["A"]
    assert made.backend.requests[0].idempotency_key == finished.answer_id
    assert (await made.store.messages.get(finished.answer_id)).status == "complete"


async def test_an_answer_that_had_begun_when_its_instance_was_killed_is_not_asked_for_again(desk: OpenDesk) -> None:
    killed = await desk(DOWN)
    finished = await killed.turn("chat.send hi")
    await die_while_delivering(killed, arrived="half")
    made = await desk()
    assert await made.outbox.deliver_due() is None
    row = await made.store.messages.get(finished.answer_id)
    assert (row.text, row.status, row.queued) == ("half", "interrupted", None)


async def test_an_instance_that_looks_on_takes_over_from_one_that_is_killed(desk: OpenDesk) -> None:
    killed = await desk(DOWN)
    await killed.turn("chat.send hi")
    letter = await killed.store.outbox.claim(2**50)
    assert letter is not None
    made = await desk(said("A"))
    wait = await made.outbox.deliver_due()
    assert wait is not None
    assert made.backend.requests == []
    await killed.close()
    assert await made.outbox.deliver_due() is None
    assert len(made.backend.requests) == 1


async def test_two_instances_deliver_every_letter_once(desk: OpenDesk) -> None:
    one = await desk(*[DOWN] * 6)
    for n in range(6):
        await one.turn(f"chat.send {n}")
        one.current.session_id = None
    other = await desk(*(said(f"other {n}") for n in range(6)))
    one.backend.script = [said(f"one {n}") for n in range(6)]
    await asyncio.gather(one.outbox.deliver_due(), other.outbox.deliver_due())
    delivered = one.backend.requests[6:] + other.backend.requests
    assert sorted(request.messages[-1].content for request in delivered) == list("012345")
    assert await one.letters() == []


# In the background


async def test_it_tries_again_by_itself_when_the_route_gets_better(desk: OpenDesk) -> None:
    made = await desk(DOWN, DOWN, said("A"), said("B"))
    made.outbox.start()
    await made.until(OutboxChanged)
    await made.turn("chat.send hi")
    made.bus.publish(DegradationChanged(Level.OFFLINE, "nothing answers"))
    assert len(made.backend.requests) == 1
    made.bus.publish(DegradationChanged(Level.SECONDARY, "answers come from there"))
    await made.until(TurnFinished, 2)
    made.bus.publish(BreakerChanged("here", "m", "closed", "it answers again"))
    assert (await made.until(TurnFinished, 3)).text == "A"
    while made.heard(OutboxChanged)[-1] != OutboxChanged(0, 0):
        await made.until(OutboxChanged, len(made.heard(OutboxChanged)) + 1)
    assert made.heard(OutboxChanged)[0] == OutboxChanged(0, 0)


async def test_right_after_a_failure_it_waits_before_it_tries(desk: OpenDesk) -> None:
    made = await desk(DOWN)
    made.outbox.start()
    await made.turn("chat.send hi")
    while made.heard(OutboxChanged)[-1:] != [OutboxChanged(1, 0)]:
        await made.until(OutboxChanged, len(made.heard(OutboxChanged)) + 1)
    assert len(made.backend.requests) == 1


async def test_an_answer_of_somebody_else_brings_the_waiting_ones_out(desk: OpenDesk) -> None:
    made = await desk(DOWN, said("back"), said("waited"))
    made.outbox.start()
    await made.turn("chat.send hi")
    made.current.session_id = None
    await made.turn("chat.send are you there")
    assert (await made.until(TurnFinished, 3)).text == "waited"


@pytest.mark.parametrize("arrived", ["", "half"])
async def test_leaving_in_the_middle_of_a_delivery_loses_nothing(desk: OpenDesk, tmp_path: Path, arrived: str) -> None:
    made = await desk(DOWN, [*([ROUTED, TextChunk(arrived)] if arrived else []), NEVER()])
    finished = await made.turn("chat.send hi")
    made.outbox.start()
    await (made.until(TextDelta) if arrived else made.asked_for(2))
    await made.close()
    again = await desk(said("whole"))
    await again.outbox.deliver_due()
    row = await again.store.messages.get(finished.answer_id)
    assert (row.text, row.status) == ((arrived, "cancelled") if arrived else ("whole", "complete"))
    assert await again.letters() == []


async def test_a_deleted_session_takes_its_letters_along(desk: OpenDesk) -> None:
    made = await desk(DOWN)
    finished = await made.turn("chat.send hi")
    await made.store.sessions.delete(finished.session_id)
    assert await made.outbox.deliver_due() is None
    assert await made.letters() == []


async def test_a_session_deleted_in_the_middle_of_an_answer_is_no_trouble_of_the_disk(desk: OpenDesk) -> None:
    go_on = asyncio.Event()
    made = await desk(DOWN, [go_on, DOWN], [ROUTED, TextChunk("A"), go_on, *said("B")[1:]])
    finished = await made.turn("chat.send hi")
    delivering = asyncio.create_task(made.outbox.deliver_due())
    await made.asked_for(2)
    await made.store.sessions.delete(finished.session_id)
    go_on.set()
    assert await delivering is None
    go_on.clear()
    made.current.session_id = None
    asking = asyncio.create_task(made.turn("chat.send hi"))
    await made.until(TextDelta)
    assert made.current.session_id is not None
    await made.store.sessions.delete(made.current.session_id)
    go_on.set()
    assert not (await asking).saved
    assert [event.state for event in made.heard(StoreStateChanged)] == ["open"]
    assert made.vault.unwritten == 0


async def test_a_locked_store_has_nothing_to_deliver(tmp_path: Path) -> None:
    made = Desk(tmp_path)
    assert await made.outbox.deliver_due() is None
    made.outbox.start()
    await made.outbox.close()


async def test_what_a_person_has_to_mend_does_not_wait(desk: OpenDesk) -> None:
    untrusted = Unreachable("the TLS certificate is not trusted", retryable=False, reached=False)
    made = await desk(untrusted)
    assert (await made.turn("chat.send hi")).status == "failed"
    assert made.heard(OutboxChanged) == []
