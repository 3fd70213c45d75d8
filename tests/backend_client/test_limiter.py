"""Whose turn it is."""

from __future__ import annotations

import asyncio
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client.limiter import Limiter, Slot
from tests.backend_client.support import in_virtual_time

Step = tuple[str, int]


class Crowd:
    """Many who want a place, watched."""

    def __init__(self, limit: int) -> None:
        self.limiter = Limiter(limit, clock=asyncio.get_running_loop().time)
        self.tasks: list[asyncio.Task[None]] = []
        self.served: list[tuple[str, int]] = []
        self.held: list[Slot] = []
        self.most = 0

    def ask(self, flow: str) -> None:
        self.tasks.append(asyncio.create_task(self._ask(flow, len(self.tasks))))

    async def _ask(self, flow: str, number: int) -> None:
        slot = await self.limiter.acquire(flow)
        self.served.append((flow, number))
        self.held.append(slot)
        self.most = max(self.most, len(self.held))

    def release(self) -> None:
        if self.held:
            self.held.pop(0).release()

    def cancel(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    async def drain(self) -> None:
        """Release until nobody waits; a lost place would leave somebody waiting."""
        await settle()
        while self.held:
            self.release()
            await settle()
        assert all(task.done() for task in self.tasks)
        assert (self.limiter.in_use, self.limiter.waiting, len(self.limiter._flows)) == (0, 0, 0)


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def test_free_places_are_given_at_once() -> None:
    async def test() -> None:
        limiter = Limiter(2, clock=asyncio.get_running_loop().time)
        first, second = await limiter.acquire("a"), await limiter.acquire("a")
        assert (first.waited_s, limiter.in_use, limiter.waiting) == (0.0, 2, 0)
        first.release()
        first.release()
        assert limiter.in_use == 1
        second.release()
        assert limiter.in_use == 0

    in_virtual_time(test)


def test_who_waited_knows_how_long() -> None:
    async def test() -> None:
        limiter = Limiter(1, clock=asyncio.get_running_loop().time)
        first = await limiter.acquire("a")
        asyncio.get_running_loop().call_later(7.5, first.release)
        assert (await limiter.acquire("b")).waited_s == pytest.approx(7.5)

    in_virtual_time(test)


def test_one_busy_flow_does_not_keep_the_others_waiting() -> None:
    async def test() -> None:
        crowd = Crowd(1)
        for flow in ["swarm"] * 50 + ["chat", "chat"]:
            crowd.ask(flow)
        await settle()
        await crowd.drain()
        assert [number for flow, number in crowd.served if flow == "chat"] == [50, 51]
        assert [flow for flow, _ in crowd.served[:5]] == ["swarm", "swarm", "chat", "swarm", "chat"]

    in_virtual_time(test)


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 5))
def test_flows_take_turns_and_the_first_of_a_flow_goes_first(asking: list[str], limit: int) -> None:
    async def test() -> None:
        crowd = Crowd(limit)
        for flow in ["x"] * limit + asking:
            crowd.ask(flow)
        await settle()
        assert crowd.limiter.waiting == len(asking)
        await crowd.drain()
        flows: dict[str, list[tuple[str, int]]] = {}
        for number, flow in enumerate(asking, limit):
            flows.setdefault(flow, []).append((flow, number))
        rounds = [who for turn in zip_longest(*flows.values()) for who in turn if who is not None]
        assert crowd.served[limit:] == rounds
        assert crowd.most == limit

    in_virtual_time(test)


@given(
    st.lists(st.tuples(st.sampled_from("aaab"), st.floats(0, 3), st.floats(0.1, 5)), min_size=1, max_size=60),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_nobody_is_overtaken_more_than_their_place_in_the_flow_allows(
    asking: list[tuple[str, float, float]], limit: int
) -> None:
    async def test() -> None:
        limiter = Limiter(limit, clock=asyncio.get_running_loop().time)
        served: list[str] = []
        queued = {"a": 0, "b": 0}

        async def call(flow: str, hold_s: float) -> None:
            before, ahead = len(served), queued[flow]
            queued[flow] += 1
            slot = await limiter.acquire(flow)
            queued[flow] -= 1
            other = sum(who != flow for who in served[before:])
            assert other <= ahead + 1
            served.append(flow)
            assert limiter.in_use <= limit
            await asyncio.sleep(hold_s)
            slot.release()

        async with asyncio.TaskGroup() as group:
            for flow, pause_s, hold_s in asking:
                await asyncio.sleep(pause_s)
                group.create_task(call(flow, hold_s))
        assert len(served) == len(asking)
        assert (limiter.in_use, limiter.waiting, len(limiter._flows)) == (0, 0, 0)

    in_virtual_time(test)


def test_a_place_granted_to_somebody_who_just_left_goes_to_the_next() -> None:
    for cancel_first in (True, False):

        async def test(cancel_first: bool = cancel_first) -> None:
            crowd = Crowd(1)
            for flow in "abc":
                crowd.ask(flow)
            await settle()
            if cancel_first:
                crowd.cancel(1)
                crowd.release()
            else:
                crowd.release()
                crowd.cancel(1)
            await settle()
            assert crowd.tasks[1].cancelled()
            assert crowd.served == [("a", 0), ("c", 2)]
            await crowd.drain()

        in_virtual_time(test)


def test_who_comes_while_the_whole_queue_leaves_does_not_wait_for_ever() -> None:
    async def test() -> None:
        crowd = Crowd(1)
        for flow in "abb":
            crowd.ask(flow)
        await settle()
        crowd.cancel(1)
        crowd.cancel(2)
        crowd.limiter.limit = 2
        slot = await asyncio.wait_for(crowd.limiter.acquire("b"), 1)
        assert slot.waited_s == 0
        slot.release()
        await crowd.drain()

    in_virtual_time(test)


def test_a_deadline_while_waiting_leaves_no_trace() -> None:
    async def test() -> None:
        limiter = Limiter(1, clock=asyncio.get_running_loop().time)
        slot = await limiter.acquire("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await limiter.acquire("b")
        assert (limiter.in_use, limiter.waiting, len(limiter._flows)) == (1, 0, 0)
        slot.release()
        assert limiter.in_use == 0

    in_virtual_time(test)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("limit"), st.integers(1, 4)),
        st.tuples(st.just("run"), st.integers(1, 3)),
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_however_they_come_and_go_no_place_is_lost_or_given_twice(script: list[Step]) -> None:
    async def test() -> None:
        crowd = Crowd(2)
        for step, value in script:
            if step == "ask":
                crowd.ask("abc"[value])
            elif step == "release":
                crowd.release()
            elif step == "cancel":
                crowd.cancel(value)
            elif step == "limit":
                crowd.limiter.limit = value
            for _ in range(value if step == "run" else 0):
                await asyncio.sleep(0)
            assert crowd.limiter.in_use >= len(crowd.held)
            assert crowd.most <= 4
        await settle()
        assert crowd.limiter.in_use == len(crowd.held)
        assert crowd.limiter.waiting == 0 or crowd.limiter.in_use >= crowd.limiter.limit
        await crowd.drain()
        served = {number for _, number in crowd.served}
        assert all(task.cancelled() for number, task in enumerate(crowd.tasks) if number not in served)
        assert len(served) == len(crowd.served)

    in_virtual_time(test)


def test_a_lower_limit_takes_nothing_away_and_a_higher_one_helps_at_once() -> None:
    async def test() -> None:
        crowd = Crowd(3)
        for _ in range(8):
            crowd.ask("a")
        await settle()
        crowd.limiter.limit = 1
        crowd.release()
        crowd.release()
        await settle()
        assert (crowd.limiter.in_use, crowd.limiter.waiting, len(crowd.served)) == (1, 5, 3)
        crowd.limiter.limit = 4
        await settle()
        assert (crowd.limiter.in_use, crowd.limiter.waiting) == (4, 2)
        await crowd.drain()

    in_virtual_time(test)


def test_a_limit_of_nothing_is_refused() -> None:
    async def test() -> None:
        with pytest.raises(ValueError, match="at least one"):
            Limiter(0, clock=asyncio.get_running_loop().time)
        limiter = Limiter(1, clock=asyncio.get_running_loop().time)
        with pytest.raises(ValueError, match="at least one"):
            limiter.limit = 0
        assert limiter.limit == 1

    in_virtual_time(test)
