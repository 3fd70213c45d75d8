"""The outbox of an unlucky person: wrong clocks, late stores, changed settings, and very many letters."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from backend_client import InvalidRequest, Unreachable
from local_store.errors import WrongState
from sophia_core.commands import CommandError
from sophia_core.events import Notice, TurnFinished
from sophia_core.outbox import LONGEST_PAUSE_S
from tests.sophia_core.conftest import OpenDesk
from tests.sophia_core.desk import Desk, said

DOWN = Unreachable("nothing answers", provider="here")
YEAR = 365 * 86_400.0


async def waiting(made: Desk, count: int, *, sessions: bool = True) -> list[str]:
    """Questions in the box, as a store has them that was written by others."""
    ids, session, parent = [], (await made.store.sessions.create(title="t")).id, None
    for n in range(count):
        if sessions and n:
            session, parent = (await made.store.sessions.create(title="t")).id, None
        turn = await made.store.turns.begin(session, parent, f"Q{n}", request_id="r")
        await made.store.outbox.queue(turn.answer.id, provider=None, model=None, error="down")
        parent = turn.answer.id
        ids.append(turn.answer.id)
    return ids


@pytest.mark.parametrize("jump", [-YEAR, -3600.0, 3600.0, YEAR])
async def test_a_clock_that_is_set_holds_no_letter_back(desk: OpenDesk, jump: float) -> None:
    made = await desk(DOWN, DOWN, said("A"))
    await made.turn("chat.send hi")
    await made.outbox.deliver_due()
    made.clock.now += jump
    wait = await made.outbox.deliver_due()
    assert wait is None or wait <= LONGEST_PAUSE_S * 1.2
    assert (await made.path())[-1].text == "A"


async def test_a_letter_put_back_under_a_wrong_clock_is_due(desk: OpenDesk) -> None:
    made = await desk(said("A"))
    (letter,) = await waiting(made, 1)
    await made.store.outbox.claim(2**50)
    await made.store.outbox.release(letter, retry_at_ms=int((made.clock.now + YEAR) * 1000), error="down")
    assert await made.outbox.deliver_due() is None
    assert (await made.store.messages.get(letter)).text == "A"


async def test_a_store_that_opens_late_is_delivered_from(desk: OpenDesk, tmp_path: Path) -> None:
    before = await desk(DOWN)
    await before.turn("chat.send hi")
    await before.close()
    late = Desk(tmp_path, said("A"))
    late.outbox.start()
    await asyncio.sleep(0)
    assert late.backend.requests == []
    await late.open()
    assert (await late.until(TurnFinished)).text == "A"
    await late.close()


async def test_a_provider_that_is_no_longer_configured_gives_a_dead_letter_with_the_reason(desk: OpenDesk) -> None:
    made = await desk(DOWN, InvalidRequest("there is no provider 'sold'"))
    made.current.provider = "sold"
    await made.turn("chat.send hi")
    made.current.provider = None
    assert await made.outbox.deliver_due() is None
    assert made.backend.asked == ["sold", "sold"], "nobody else is asked what was meant for one"
    (letter,) = await made.letters()
    assert (letter.state, "no provider 'sold'" in letter.error) == ("dead", True)
    assert "could not be delivered" in made.heard(Notice)[-1].text


async def test_a_dead_letter_can_be_asked_of_somebody_else(desk: OpenDesk) -> None:
    made = await desk(DOWN, InvalidRequest("there is no provider 'sold'"), said("A"))
    made.current.provider = "sold"
    await made.turn("chat.send hi")
    await made.outbox.deliver_due()
    made.current.provider = None
    assert (await made.turn("/again")).text == "A"
    assert await made.letters() == []


@pytest.mark.parametrize("line", ["/again", "chat.edit {question} other"])
async def test_a_question_another_instance_is_delivering_is_not_asked_a_second_time(desk: OpenDesk, line: str) -> None:
    made = await desk(DOWN, said("twice"))
    await made.turn("chat.send hi")
    question = (await made.path())[0].id
    other = await desk(said("once"))
    letter = await other.store.outbox.claim(2**50)
    assert letter is not None
    with pytest.raises(CommandError, match="being delivered"):
        await made.turn(line.format(question=question))
    assert len(made.backend.requests) == 1
    assert len(await made.path()) == 2, "nothing was begun"
    await other.store.outbox.release(letter.id, retry_at_ms=0, error="", counted=False)


async def test_taking_a_letter_back_and_claiming_it_exclude_each_other(desk: OpenDesk) -> None:
    one, other = await desk(), await desk()
    for n in range(20):
        (answer,) = await waiting(one, 1)
        row = await one.store.messages.get(answer)
        assert row.parent_id
        mine, theirs = await asyncio.gather(
            one.store.turns.begin_answer(row.session_id, row.parent_id, request_id="r"),
            other.store.outbox.claim(2**50),
            return_exceptions=True,
        )
        assert isinstance(mine, WrongState) is (theirs is not None), n
        if theirs is not None:
            await other.store.outbox.deliver(answer)


@pytest.mark.parametrize("sessions", [True, False], ids=["each its own session", "one session"])
async def test_a_thousand_letters_are_delivered_fast(desk: OpenDesk, sessions: bool) -> None:
    made = await desk(*(said(f"A{n}") for n in range(1000)))
    await waiting(made, 1000, sessions=sessions)
    before = time.perf_counter()
    assert len(await made.letters()) == 1000
    await made.store.turns.recover()
    looked = time.perf_counter() - before
    before = time.perf_counter()
    assert looked < 1.0
    for _ in range(20):
        letter = await made.store.outbox.claim(2**50)
        assert letter
        await made.store.outbox.deliver(letter.id)
    assert time.perf_counter() - before < 2.0, "twenty claims out of a thousand"
