"""What paid answers cost is counted, also where nobody tells, and many at once cannot outrun the cap."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import BackendError, ChatMessage, ChatRequest, TextChunk, TimedOut, Timeouts, Unreachable
from backend_client.bill import Bill
from backend_client.errors import CostCapReached
from backend_client.fleet import CostCap
from backend_client.happenings import AnswerEnded, Happening
from backend_client.types import ReasoningChunk, ToolCallChunk, UsageChunk
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.backend_client.test_failover import Hosts, client_of, named, virtual
from tests.scripted import ScriptedReply, chat, delta, refusal, usage

PAID = named("paid", paid=True, price_prompt=1.0, price_completion=1.0, max_concurrent=64)
LONG = ChatRequest((ChatMessage("user", "x" * 4000),), max_tokens=1000)
"""A thousand tokens there and as many back: 0.002 USD."""


@virtual
async def test_many_at_once_do_not_outrun_the_cap() -> None:
    cap = CostCap(0.01)
    slow = ScriptedReply((1.0, *chat("hi", tokens=(1000, 1000)).pieces))
    hosts = Hosts(paid=[slow] * 64)
    client = client_of(hosts, PAID, cap=cap)
    answers = await asyncio.gather(*(collect(client.stream(LONG)) for _ in range(64)))
    answered = [chunks for chunks, error in answers if error is None]
    refused = [error for _, error in answers if error is not None]
    assert (len(answered), len(hosts.order)) == (5, 5)
    assert all(isinstance(error, CostCapReached) for error in refused)
    assert cap.spent_usd == pytest.approx(0.01)
    assert cap.reserved_usd == pytest.approx(0.0)


@virtual
async def test_those_who_wait_for_a_turn_do_not_outrun_the_cap() -> None:
    cap = CostCap(0.003)
    slow = ScriptedReply((1.0, *chat("hi", tokens=(1000, 1000)).pieces))
    hosts = Hosts(paid=[slow] * 8, small=[chat("small")] * 8)
    client = client_of(hosts, replace(PAID, max_concurrent=1), named("small", tier=2), cap=cap)
    answers = await asyncio.gather(*(collect(client.stream(LONG)) for _ in range(8)))
    assert [text_of(chunks) for chunks, _ in answers].count("small") == 6
    assert cap.spent_usd == pytest.approx(0.004)


@virtual
async def test_the_cap_says_whether_it_is_reached_or_only_spoken_for() -> None:
    client = client_of(Hosts(paid=[ScriptedReply((3600.0,))]), PAID, cap=CostCap(0.001))
    waiting = asyncio.create_task(collect(client.stream(LONG)))
    await asyncio.sleep(1)
    _, error = await collect(client.stream(LONG))
    assert "under way" in str(error)
    waiting.cancel()
    await asyncio.wait([waiting])
    client.cap.spent_usd = 1.0
    _, error = await collect(client.stream(LONG))
    assert isinstance(error, CostCapReached)
    assert "$0.00 is reached" in str(error)


TEXT = "four" * 100


async def spent(reply: ScriptedReply | BackendError, *, leave_after_s: float | None = None) -> tuple[float, float]:
    """What one question costs, and what was told of it."""
    told: list[Happening] = []
    provider = replace(PAID, max_attempts=1, timeouts=Timeouts(first_token=10.0, idle=10.0))
    client = client_of(Hosts(paid=[reply]), provider, told=told, cap=CostCap(1.0))
    task = asyncio.create_task(collect(client.stream(LONG)))
    if leave_after_s is not None:
        await asyncio.sleep(leave_after_s)
        task.cancel()
    await asyncio.wait([task])
    assert client.cap.reserved_usd == pytest.approx(0.0)
    ends = [one for one in told if isinstance(one, AnswerEnded)]
    return client.cap.spent_usd, ends[0].cost_usd or 0.0 if ends else 0.0


@pytest.mark.parametrize(
    ("reply", "leave_after_s", "tokens"),
    [
        (ScriptedReply((delta(content=TEXT), 3600.0)), 1.0, 1100),
        (ScriptedReply((delta(reasoning=TEXT), 3600.0)), 1.0, 1100),
        (ScriptedReply((delta(content=TEXT), Unreachable("cut"))), None, 1100),
        (ScriptedReply((delta(content=TEXT), 3600.0)), None, 1100),
        (ScriptedReply((delta(content=TEXT), delta("stop"))), None, 1100),
        (ScriptedReply((delta(content=TEXT), usage(3, 4), 3600.0)), None, 1100),
        (ScriptedReply((delta(content=TEXT), delta("stop"), usage(3, 4))), None, 7),
        (ScriptedReply((delta(content=TEXT), delta("stop"), usage(3, 4, cost=0.5))), None, 500_000),
        (ScriptedReply((3600.0,)), 1.0, 1000),
        (ScriptedReply((3600.0,)), None, 1000),
        (ScriptedReply(before=(3600.0,)), 1.0, 1000),
        (refusal(500), None, 0),
        (refusal(429), None, 0),
        (Unreachable("nothing answers", reached=False), None, 0),
        (TimedOut("no connection", reached=False), None, 0),
    ],
)
def test_an_answer_costs_money_however_it_ends(
    reply: ScriptedReply | BackendError, leave_after_s: float | None, tokens: int
) -> None:
    cost, told = in_virtual_time(lambda: spent(reply, leave_after_s=leave_after_s))
    assert cost == pytest.approx(tokens / 1e6)
    assert told in (0.0, pytest.approx(cost))


@pytest.mark.parametrize(
    ("price", "reply", "estimated"),
    [
        (1.0, ScriptedReply((delta(content=TEXT), Unreachable("cut"))), True),
        (1.0, chat("hi", tokens=(7, 3)), False),
        (None, ScriptedReply((delta(content=TEXT), Unreachable("cut"))), False),
    ],
)
async def test_what_is_reckoned_by_known_prices_without_usage_is_told_as_estimated(
    price: float | None, reply: ScriptedReply, estimated: bool
) -> None:
    told: list[Happening] = []
    provider = named("paid", paid=True, max_attempts=1, price_prompt=price, price_completion=price)
    client = client_of(Hosts(paid=[reply]), provider, told=told)
    await collect(client.stream(ASK))
    (end,) = [each for each in told if isinstance(each, AnswerEnded)]
    assert end.estimated is estimated and end.cost_usd


@virtual
async def test_an_answer_without_prices_counts_as_a_typical_one() -> None:
    client = client_of(Hosts(paid=[chat("hi", tokens=(1000, 500))]), named("paid", paid=True), cap=CostCap(1.0))
    await collect(client.stream(ASK))
    assert client.cap.spent_usd == pytest.approx(0.005)


@virtual
async def test_what_costs_nothing_is_not_counted() -> None:
    client = client_of(Hosts(a=[chat("hi")]), named("a", price_prompt=1.0, price_completion=1.0), cap=CostCap(0.0))
    chunks, error = await collect(client.stream(ASK))
    assert (text_of(chunks), error, client.cap.spent_usd, client.cap.reserved_usd) == ("hi", None, 0.0, 0.0)


chunks = st.one_of(
    st.builds(TextChunk, st.text(max_size=50)),
    st.builds(ReasoningChunk, st.text(max_size=50)),
    st.builds(ToolCallChunk, st.integers(0, 3), st.none(), st.none(), st.text(max_size=50)),
)
prices = st.none() | st.floats(0, 1000)


@given(
    st.lists(
        st.tuples(
            prices, prices, st.lists(chunks, max_size=5), st.booleans(), st.booleans(), st.none() | st.floats(0, 9)
        ),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_held_back_is_given_back_and_nothing_is_counted_twice(
    bills: list[tuple[float | None, float | None, list[TextChunk], bool, bool, float | None]], rng: random.Random
) -> None:
    cap, opened, total = CostCap(1.0), [], 0.0
    for prompt, completion, came, sent, owed, cost in bills:
        bill = Bill(
            replace(PAID, price_prompt=prompt, price_completion=completion), replace(LONG, max_tokens=None), cap
        )
        bill.sent = sent
        bill.came(came)
        if cost is not None:
            bill.told(UsageChunk(1, 1, cost_usd=cost))
        opened.append((bill, owed))
    rng.shuffle(opened)
    for bill, owed in opened:
        total += bill.settle(owed=owed) or 0.0
        assert bill.settle(owed=True) is None
    assert cap.spent_usd == pytest.approx(total)
    assert cap.reserved_usd == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("most", "tokens"), [(None, 500), (-1, 500), (0, 500), (1, 1), (10**9, 2000)])
def test_what_is_held_back_is_what_an_answer_is_likely_to_cost(most: int | None, tokens: int) -> None:
    cap = CostCap(1.0)
    Bill(PAID, replace(LONG, max_tokens=most), cap)
    assert cap.reserved_usd == pytest.approx((1000 + tokens) / 1e6)
