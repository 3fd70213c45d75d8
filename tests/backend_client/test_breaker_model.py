"""A breaker against a simple model of it, over any order of calls, waits and commands."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend_client.breaker import Breaker, BreakerPolicy, Failure, Permit

WINDOW = 60.0
which = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 5])
"""Mostly the newest call."""
LEGAL = {
    "closed": {"open", "forced_open", "forced_closed"},
    "open": {"half_open", "forced_open", "forced_closed"},
    "half_open": {"open", "closed", "forced_open", "forced_closed"},
    "forced_open": {"closed", "forced_closed"},
    "forced_closed": {"closed", "forced_open"},
}


@dataclass(eq=False)
class Call:
    """One permit and what the model knows about it."""

    permit: Permit
    epoch: int
    """How many changes had been told when it was given."""
    entry: list[float] | None = None
    """Where the model counted it: [when, failed, slow]."""
    begun: bool = False
    settled: bool = False


class BreakerModel(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 99), connects=st.integers(1, 3), to_close=st.integers(1, 3), minimum=st.integers(1, 4)
    )
    def begin(self, seed: int, connects: int, to_close: int, minimum: int) -> None:
        self.policy = BreakerPolicy(
            window_s=WINDOW, minimum_calls=minimum, connect_errors=connects, successes_to_close=to_close
        )
        self.now = 0.0
        self.told: list[tuple[str, float | None]] = []
        self.breaker = Breaker(
            self.policy,
            clock=lambda: self.now,
            rng=random.Random(seed),  # noqa: S311
            on_change=lambda state, _reason, retry_in: self.told.append((state, retry_in)),
        )
        self.state = "closed"
        self.probe: Call | None = None
        self.calls: list[Call] = []
        self.changes = 0
        self.not_before = 0.0
        self.asked = False
        self.good = self.reopened = self.connects = 0
        self.log: list[list[float]] = []

    # What people and time do.

    @rule(seconds=st.sampled_from([0.1, 0.1, 1.0, 4.0, 6.0, 13.0, 61.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.changes % 5 == 4 or self.state.startswith("forced"))
    @rule(to=st.sampled_from(["open", "closed", "closed", None, None]))
    def force(self, to: Literal["open", "closed"] | None) -> None:
        self.breaker.force(to)
        target = {"open": "forced_open", "closed": "forced_closed", None: "closed"}[to]
        if target != self.state and (to is not None or self.state.startswith("forced")):
            self.fresh()
            self.expect(target)

    @rule()
    def recovered(self) -> None:
        self.breaker.recovered()
        if self.state not in ("open", "half_open") or (self.asked and (self.now < self.not_before or self.probe)):
            return
        self.not_before = self.now
        if self.state == "open":
            self.expect("half_open")

    # What calls do.

    @rule(early=st.booleans())
    def acquire(self, early: bool) -> None:
        allowed = self.breaker.allows()
        permit = self.breaker.acquire(early=early)
        if self.state in ("closed", "forced_closed"):
            assert allowed and permit is not None and not permit.probe
            self.calls.append(Call(permit, len(self.told)))
            return
        in_time = self.now >= self.not_before
        may = self.state != "forced_open" and self.probe is None
        assert allowed == (may and in_time)
        assert (permit is not None) == (may and (in_time or early))
        if permit is None:
            return
        assert permit.probe
        if self.state == "open":
            self.good = 0
            self.expect("half_open")
        self.probe = Call(permit, len(self.told))
        self.calls.append(self.probe)

    @precondition(lambda self: self.state == "closed")
    @rule()
    def port_dies(self) -> None:
        while self.state == "closed":
            self.acquire(early=False)
            self.failure(0, "connect", None)

    @precondition(lambda self: self.state in ("open", "half_open"))
    @rule(early=st.booleans())
    def try_again(self, early: bool) -> None:
        self.now = self.now if early else max(self.now, self.not_before)
        self.acquire(early=early)

    @precondition(lambda self: self.calls)
    @rule(which=which, seconds=st.sampled_from([0.5, 31.0]))
    def first_token(self, which: int, seconds: float) -> None:
        call = self.chosen(which)
        counts = self.speaks(call) and not call.begun
        call.permit.first_token(seconds)
        call.begun = True
        if not counts:
            return
        slow = seconds > 30
        if call is self.probe:
            if slow:
                self.reopen(None, None)
            return
        self.connects = 0
        call.entry = [self.now, 0, slow]
        self.log.append(call.entry)
        made = self.recent()
        many = len(made) >= self.policy.minimum_calls and sum(entry[2] for entry in made) / len(made) >= 0.8
        if slow and many and self.state == "closed":
            self.open(None, None)

    @precondition(lambda self: self.calls)
    @rule(which=which)
    def success(self, which: int) -> None:
        call = self.chosen(which)
        speaks, probe = self.settle(call)
        call.permit.success()
        if speaks and probe:
            self.good += 1
            self.not_before = self.now
            if self.good == self.policy.successes_to_close:
                self.fresh()
                self.expect("closed")
        elif speaks:
            self.connects = 0
            if call.entry is None:
                self.log.append([self.now, 0, 0])

    @precondition(lambda self: self.calls)
    @rule(
        which=which,
        kind=st.sampled_from(["connect", "error", "throttled", "quota"]),
        retry_after=st.sampled_from([None, None, 0.0, 20.0, 5000.0]),
    )
    def failure(self, which: int, kind: Failure, retry_after: float | None) -> None:
        call = self.chosen(which)
        speaks, probe = self.settle(call)
        call.permit.failure(kind, retry_after=retry_after)
        if not speaks:
            return
        if probe:
            self.reopen(kind, retry_after)
            return
        if call.entry is None or call.entry not in self.recent():
            call.entry = [self.now, 0, 0]
            self.log.append(call.entry)
        call.entry[1] = 1
        self.connects = self.connects + 1 if kind == "connect" else 0
        made = self.recent()
        many = len(made) >= self.policy.minimum_calls and sum(entry[1] for entry in made) / len(made) >= 0.5
        if self.state == "closed" and (kind == "quota" or self.connects >= self.policy.connect_errors or many):
            self.open(kind, retry_after)

    @precondition(lambda self: self.calls)
    @rule(which=which)
    def cancel(self, which: int) -> None:
        call = self.chosen(which)
        call.permit.cancelled()
        self.settle(call)

    @precondition(lambda self: self.probe is not None)
    @rule()
    def lose_the_probe(self) -> None:
        assert self.probe is not None
        self.calls.remove(self.probe)
        self.probe = None

    @precondition(lambda self: len(self.calls) > 6)
    @rule()
    def forget_what_is_over(self) -> None:
        self.calls = [call for call in self.calls if not call.settled]

    # The model.

    def chosen(self, which: int) -> Call:
        """Return a call, perhaps one that is settled, which then must change nothing."""
        return self.calls[-1 - which % len(self.calls)]

    def speaks(self, call: Call) -> bool:
        return not call.settled and call.epoch == len(self.told)

    def settle(self, call: Call) -> tuple[bool, bool]:
        speaks, probe = self.speaks(call), call is self.probe
        call.settled = True
        if probe:
            self.probe = None
        return speaks, probe

    def recent(self) -> list[list[float]]:
        newest = math.floor(self.now / (WINDOW / 12))
        return [entry for entry in self.log if math.floor(entry[0] / (WINDOW / 12)) > newest - 12]

    def fresh(self) -> None:
        self.log, self.good, self.reopened, self.connects, self.asked = [], 0, 0, 0, False

    def reopen(self, kind: Failure | None, retry_after: float | None) -> None:
        self.reopened += 1
        self.open(kind, retry_after)

    def open(self, kind: Failure | None, retry_after: float | None) -> None:
        self.expect("open")
        wait = self.breaker._retry_at - self.now
        base = min(60.0, 5.0 * 2**self.reopened)
        low, high = base * 0.8, min(60.0, base * 1.2)
        if retry_after:
            low = high = min(900.0, retry_after)
        elif kind == "quota":
            low = high = 600.0
        assert low - 1e-6 <= wait <= high + 1e-6
        told = self.told[-1][1]
        assert told is not None and abs(told - (max(wait, 5.0) if self.probe else wait)) < 1e-6
        self.not_before = self.breaker._retry_at
        self.asked = kind == "quota" or (kind == "throttled" and bool(retry_after))
        self.good = 0

    def expect(self, state: str) -> None:
        """A change is told, once, and it is this one."""
        assert self.told[-1][0] == state
        assert state in LEGAL[self.state]
        self.state = state
        self.changes += 1

    @invariant()
    def is_as_the_model_says(self) -> None:
        assert self.breaker.state == self.state
        assert len(self.told) == self.changes
        view, made = self.breaker.view(), self.recent()
        assert (view.calls, view.failures, view.slow) == (
            len(made),
            sum(entry[1] for entry in made),
            sum(entry[2] for entry in made),
        )
        assert (view.retry_in_s is not None) == (self.state == "open")

    def teardown(self) -> None:
        """However it went: without a probe in flight, it comes back when the server does."""
        if self.probe is not None:
            self.probe.permit.cancelled()
        self.breaker.force(None)
        self.now += 1000.0
        for _ in range(self.policy.successes_to_close):
            permit = self.breaker.acquire()
            assert permit is not None
            permit.success()
        assert self.breaker.state == "closed"


BreakerModel.TestCase.settings = settings(max_examples=200, stateful_step_count=80, deadline=None)
TestBreakerModel = BreakerModel.TestCase
