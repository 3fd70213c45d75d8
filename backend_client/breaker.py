"""A circuit breaker whose permit outlives a call. Pure: the clock, randomness and the listener are passed in.

    closed ──(failure rate, slow rate, connect errors, quota)──▶ open ──(time, a health check, early)──▶ half open
       ▲                                                          ▲                                        │
       └───────── enough probes in sequence succeed ──────────────┼────────────────────────────────────────┤
                                                                  └───────── the probe fails or is slow ───┘

Every change begins a new generation. A permit of an older one says nothing about the state of today, so what it reports
is dropped. The one probe place is kept apart from that: whoever holds it keeps it until their call is over, also when
the state has moved on in between, so that there are never two probes in flight.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from backend_client.breaker_policy import BreakerPolicy, Failure
from backend_client.outcomes import Bucket, Outcomes

if TYPE_CHECKING:
    import random

    from backend_client.happenings import BreakerState

__all__ = ["Breaker", "BreakerPolicy", "BreakerView", "Failure", "Permit"]

_SAID: Final[dict[Failure, str]] = {
    "connect": "cannot be reached",
    "error": "the server failed",
    "throttled": "too many requests",
    "quota": "the quota is used up",
}


@dataclass(frozen=True, slots=True)
class BreakerView:
    """What is known about a breaker at one moment."""

    state: BreakerState
    reason: str
    calls: int
    failures: int
    slow: int
    retry_in_s: float | None
    """While it is open: the time until one request may try."""


class Permit:
    """The right to make one call. It is settled once: by success, failure or cancellation."""

    __slots__ = ("__weakref__", "_begun", "_breaker", "_counted", "_generation", "_settled", "probe")

    def __init__(self, breaker: Breaker, generation: int, *, probe: bool) -> None:
        self.probe: Final = probe
        self._breaker = breaker
        self._generation = generation
        self._counted: Bucket | None = None
        self._begun = False
        self._settled = False

    def first_token(self, seconds: float) -> None:
        """Tell after how long the answer began; a slow one counts at once, not when its answer is over."""
        if not self._settled and not self._begun:
            self._begun = True
            self._breaker._began(self, seconds)

    def success(self) -> None:
        """The server answered as it should."""
        if self._settle():
            self._breaker._succeeded(self)

    def failure(self, kind: Failure, reason: str = "", retry_after: float | None = None) -> None:
        """The server could not be reached or did not do its work."""
        if self._settle():
            self._breaker._failed(self, kind, reason or _SAID[kind], retry_after)

    def cancelled(self) -> None:
        """We gave the call up, which says nothing about the server."""
        self._settle()

    def _settle(self) -> bool:
        if self._settled:
            return False
        self._settled = True
        if self.probe:
            self._breaker._probe = None
        return True


class Breaker:
    """Guards one model at one provider."""

    def __init__(
        self,
        policy: BreakerPolicy,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        on_change: Callable[[BreakerState, str, float | None], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._state: BreakerState = "closed"
        self._reason = ""
        self._generation = 0
        self._outcomes = Outcomes(policy.window_s)
        self._connects = 0
        self._good_probes = 0
        self._reopened = 0
        self._retry_at = 0.0
        self._held = False
        # Weak: a permit that its owner lost without settling it must not keep the place for ever.
        self._probe: weakref.ref[Permit] | None = None

    @property
    def state(self) -> BreakerState:
        """The state now; an open breaker stays open until a probe really goes."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is in this state, for people."""
        return self._reason

    def allows(self) -> bool:
        """Return whether `acquire` would give a permit now."""
        return self.retry_in() == 0

    def retry_in(self) -> float:
        """Return the seconds until a call may go: 0.0 is now, infinity is never; a guess while the probe is away."""
        if self._state in ("closed", "forced_closed"):
            return 0.0
        if self._state == "forced_open":
            return math.inf
        wait = max(0.0, self._retry_at - self._clock())
        return max(wait, self._policy.open_s) if self._probing() else wait

    def acquire(self, *, early: bool = False) -> Permit | None:
        """Return a permit, or None when no call may go now; `early` lets the one probe go before its time."""
        if self._state in ("closed", "forced_closed"):
            return Permit(self, self._generation, probe=False)
        if self._state == "forced_open" or self._probing() or not (early or self.allows()):
            return None
        # The place is taken before the change is told: a listener that asks for a permit does not get a second one.
        opened = self._state == "open"
        permit = Permit(self, self._generation + opened, probe=True)
        self._probe = weakref.ref(permit)
        if opened:
            self._move("half_open", "trying one request")
        return permit

    def recovered(self) -> None:
        """A health check answers: the probe may go now, unless the server itself asked for the wait."""
        if self._state not in ("open", "half_open") or (self._held and self.retry_in() > 0):
            return
        self._retry_at = self._clock()
        if self._state == "open":
            self._move("half_open", "answers again")

    def force(self, to: Literal["open", "closed"] | None) -> None:
        """Hold it open or closed whatever happens; None gives it back, closed and with nothing remembered."""
        if to is None:
            if self._state in ("forced_open", "forced_closed"):
                self._close("no longer forced")
            return
        state: BreakerState = "forced_open" if to == "open" else "forced_closed"
        if state != self._state:
            self._forget()
            self._move(state, f"forced {to}")

    def view(self) -> BreakerView:
        """Return the state and the counts of the window."""
        calls, failures, slow = self._outcomes.totals(self._clock())
        return BreakerView(self._state, self._reason, calls, failures, slow, self._told_wait())

    def _began(self, permit: Permit, seconds: float) -> None:
        if permit._generation != self._generation:
            return
        slow = seconds > self._policy.slow_first_token_s
        if permit.probe:
            if slow:
                self._reopen(f"still slow: {seconds:.0f} s to the first token")
            return
        # All calls count where their answer begins, not only slow ones: else fast, long answers would be missing in the
        # rate while they run, and a few slow ones would look like all.
        self._connects = 0
        permit._counted = self._outcomes.add(self._clock(), slow=slow)
        if slow:
            self._judge()

    def _succeeded(self, permit: Permit) -> None:
        if permit._generation != self._generation:
            return
        if permit.probe:
            self._good_probes += 1
            self._retry_at = self._clock()
            if self._good_probes >= self._policy.successes_to_close:
                self._close("works again")
            return
        self._connects = 0
        if permit._counted is None:
            self._outcomes.add(self._clock())

    def _failed(self, permit: Permit, kind: Failure, reason: str, retry_after: float | None) -> None:
        if permit._generation != self._generation:
            return
        if permit.probe:
            self._reopen(reason, kind, retry_after)
            return
        self._outcomes.fail(self._clock(), permit._counted)
        self._connects = self._connects + 1 if kind == "connect" else 0
        self._judge(kind, reason, retry_after)

    def _judge(self, kind: Failure | None = None, reason: str = "", retry_after: float | None = None) -> None:
        """Open when the call that was counted last is one too many; without a kind it was a slow one."""
        if self._state != "closed":
            return
        policy = self._policy
        calls, failures, slow = self._outcomes.totals(self._clock())
        if kind is None:
            if calls >= policy.minimum_calls and slow / calls >= policy.slow_rate:
                self._open(f"slow to begin: {slow} of {calls} answers", None, None)
        elif (
            kind == "quota"
            or self._connects >= policy.connect_errors
            or (calls >= policy.minimum_calls and failures / calls >= policy.failure_rate)
        ):
            self._open(reason, kind, retry_after)

    def _reopen(self, reason: str, kind: Failure | None = None, retry_after: float | None = None) -> None:
        self._reopened += 1
        self._open(reason, kind, retry_after)

    def _open(self, reason: str, kind: Failure | None, retry_after: float | None) -> None:
        asked_s = self._policy.asked_time(kind, retry_after)
        wait_s = self._policy.open_time(self._reopened, self._rng) if asked_s is None else asked_s
        self._retry_at = self._clock() + wait_s
        self._held = asked_s is not None and kind in ("throttled", "quota")
        self._good_probes = 0
        self._move("open", reason)

    def _close(self, reason: str) -> None:
        self._forget()
        self._move("closed", reason)

    def _forget(self) -> None:
        self._outcomes = Outcomes(self._policy.window_s)
        self._connects = self._good_probes = self._reopened = 0
        self._held = False

    def _move(self, state: BreakerState, reason: str) -> None:
        self._generation += 1
        self._state, self._reason = state, reason
        self._on_change(state, reason, self._told_wait())

    def _told_wait(self) -> float | None:
        return self.retry_in() if self._state == "open" else None

    def _probing(self) -> bool:
        return self._probe is not None and self._probe() is not None
