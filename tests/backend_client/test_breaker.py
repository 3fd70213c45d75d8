"""When a breaker lets a call go."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.breaker import Breaker, BreakerPolicy, Failure, Permit
from backend_client.breaker_policy import RETRY_AFTER_MAX_S
from backend_client.happenings import BreakerState
from backend_client.outcomes import BUCKETS, Outcomes

Told = list[tuple[str, str, float | None]]
PLAIN = BreakerPolicy(jitter=0.0)
SETTLING: dict[str, Callable[[Permit], None]] = {
    "success": Permit.success,
    "cancelled": Permit.cancelled,
    "connect": lambda permit: permit.failure("connect"),
    "error": lambda permit: permit.failure("error"),
    "quota": lambda permit: permit.failure("quota"),
    "slow": lambda permit: permit.first_token(99.0),
}


class Bench:
    """A breaker on a clock that is set by hand, and what it told."""

    def __init__(self, policy: BreakerPolicy = PLAIN, seed: int = 1) -> None:
        self.now = 1000.0
        self.told: Told = []
        self.breaker = Breaker(
            policy,
            clock=lambda: self.now,
            rng=random.Random(seed),  # noqa: S311
            on_change=lambda state, reason, retry_in: self.told.append((state, reason, retry_in)),
        )

    def permit(self, *, early: bool = False) -> Permit:
        permit = self.breaker.acquire(early=early)
        assert permit is not None
        return permit

    def call(self, outcome: str, *, early: bool = False) -> None:
        SETTLING[outcome](self.permit(early=early))

    def state(self) -> BreakerState:
        return self.breaker.state

    def counts(self) -> tuple[int, int, int]:
        view = self.breaker.view()
        return view.calls, view.failures, view.slow

    def states(self) -> list[str]:
        return [state for state, _, _ in self.told]


def opened(policy: BreakerPolicy = PLAIN) -> Bench:
    bench = Bench(policy)
    bench.call("connect")
    assert bench.state() == "open"
    return bench


def half_opened(policy: BreakerPolicy = PLAIN) -> tuple[Bench, Permit]:
    bench = opened(policy)
    bench.now += 5.0
    return bench, bench.permit()


def test_a_dead_port_opens_at_once_and_says_why() -> None:
    bench = Bench()
    bench.permit().failure("connect", "connection refused")
    assert bench.told == [("open", "connection refused", 5.0)]
    assert not bench.breaker.allows()
    assert bench.breaker.acquire() is None
    assert bench.breaker.retry_in() == 5.0


def test_connect_errors_count_only_in_a_row() -> None:
    bench = Bench(BreakerPolicy(connect_errors=2, minimum_calls=100))
    for other in ("success", "error", "slow"):
        bench.call("connect")
        bench.call(other)
    assert bench.told == []
    bench.call("connect")
    bench.call("connect")
    assert bench.states() == ["open"]


def test_half_of_enough_calls_failing_opens_it() -> None:
    bench = Bench()
    for outcome in ("success", "error", "success", "error"):
        bench.call(outcome)
    assert bench.state() == "closed"
    bench.call("error")
    assert bench.told == [("open", "the server failed", 5.0)]


def test_a_success_never_opens_it() -> None:
    bench = Bench()
    for _ in range(4):
        bench.call("error")
    bench.call("success")
    assert bench.state() == "closed"
    bench.call("error")
    assert bench.state() == "open"


def test_throttled_calls_are_failures_and_their_wait_is_kept() -> None:
    bench = Bench()
    for _ in range(5):
        bench.permit().failure("throttled", retry_after=42.0)
    assert bench.told == [("open", "too many requests", 42.0)]


def test_old_failures_are_forgotten() -> None:
    bench = Bench()
    for _ in range(4):
        bench.call("error")
    bench.now += 61.0
    bench.call("error")
    assert bench.counts() == (1, 1, 0)
    assert bench.state() == "closed"


def test_a_slow_answer_counts_while_it_still_runs() -> None:
    bench = Bench()
    running = [bench.permit() for _ in range(5)]
    for permit in running[:4]:
        permit.first_token(30.1)
    assert bench.counts() == (4, 0, 4)
    running[4].first_token(31.0)
    assert bench.told == [("open", "slow to begin: 5 of 5 answers", 5.0)]


def test_fast_answers_that_still_run_stand_against_the_slow_ones() -> None:
    bench = Bench()
    for _ in range(15):
        bench.permit().first_token(0.1)
    for _ in range(5):
        bench.permit().first_token(99.0)
    assert bench.counts() == (20, 0, 5)
    assert bench.state() == "closed"


def test_a_slow_success_stays_slow_and_is_one_call() -> None:
    bench = Bench()
    permit = bench.permit()
    permit.first_token(99.0)
    permit.first_token(99.0)
    permit.success()
    permit.failure("connect")
    permit.first_token(99.0)
    assert bench.counts() == (1, 0, 1)


def test_a_call_that_fails_after_it_began_is_one_call() -> None:
    bench = Bench()
    permit = bench.permit()
    permit.first_token(1.0)
    permit.failure("error")
    assert bench.counts() == (1, 1, 0)
    late = bench.permit()
    late.first_token(1.0)
    bench.now += 120.0
    late.failure("error")
    assert bench.counts() == (1, 1, 0)


def test_a_cancelled_call_says_nothing() -> None:
    bench = Bench()
    for _ in range(20):
        bench.call("cancelled")
    assert bench.counts() == (0, 0, 0)


@pytest.mark.parametrize(("retry_after", "wait"), [(None, 600.0), (30.0, 30.0), (86_400.0, RETRY_AFTER_MAX_S)])
def test_a_used_up_quota_opens_until_it_is_there_again(retry_after: float | None, wait: float) -> None:
    bench = Bench()
    bench.permit().failure("quota", retry_after=retry_after)
    assert bench.told == [("open", "the quota is used up", wait)]


@pytest.mark.parametrize("nonsense", [0.0, -5.0, math.nan])
def test_a_senseless_wait_is_not_kept(nonsense: float) -> None:
    bench = Bench()
    bench.permit().failure("connect", retry_after=nonsense)
    assert bench.breaker.retry_in() == 5.0


def test_an_endless_wait_ends() -> None:
    bench = Bench()
    bench.permit().failure("connect", retry_after=math.inf)
    assert bench.breaker.retry_in() == RETRY_AFTER_MAX_S


def test_it_stays_open_until_its_time_and_then_one_probe_goes() -> None:
    bench = opened()
    bench.now += 4.99
    assert bench.breaker.acquire() is None
    bench.now += 0.01
    assert bench.breaker.allows()
    assert bench.state() == "open"
    probe = bench.permit()
    assert probe.probe
    assert bench.state() == "half_open"
    assert not bench.breaker.allows()
    assert bench.breaker.retry_in() > 0
    assert bench.breaker.acquire() is None
    assert bench.breaker.acquire(early=True) is None
    assert bench.states() == ["open", "half_open"]


def test_enough_probes_in_sequence_close_it_and_nothing_is_remembered() -> None:
    bench, probe = half_opened()
    probe.first_token(1.0)
    probe.success()
    assert bench.state() == "half_open"
    bench.call("success")
    assert bench.told[-1] == ("closed", "works again", None)
    assert bench.counts() == (0, 0, 0)
    bench.call("connect")
    assert bench.breaker.retry_in() == 5.0


def test_a_failed_probe_between_starts_the_sequence_again() -> None:
    bench, probe = half_opened()
    probe.success()
    bench.call("error")
    bench.now += 10.0
    bench.call("success")
    assert bench.state() == "half_open"
    bench.call("success")
    assert bench.state() == "closed"


def test_every_failed_probe_doubles_the_time_up_to_a_ceiling() -> None:
    bench = opened()
    waits = []
    for _ in range(40):
        waits.append(bench.breaker.retry_in())
        bench.now += waits[-1]
        bench.call("error")
    assert waits[:6] == pytest.approx([5.0, 10.0, 20.0, 40.0, 60.0, 60.0])
    assert max(waits) <= 60.0 + 1e-6


@given(st.integers(0, 5000), st.integers(0, 1000))
def test_the_time_is_spread_and_never_above_the_ceiling(reopened: int, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    base = min(60.0, 5.0 * 2 ** min(reopened, 10))
    assert base * 0.8 <= BreakerPolicy().open_time(reopened, rng) <= min(60.0, base * 1.2)


def test_at_the_ceiling_the_time_is_still_spread() -> None:
    rng = random.Random(1)  # noqa: S311
    assert len({BreakerPolicy().open_time(9, rng) for _ in range(100)}) == 100


def test_a_wait_that_the_server_names_replaces_ours() -> None:
    bench, probe = half_opened()
    probe.failure("error", "starting", retry_after=33.0)
    assert bench.told[-1] == ("open", "starting", 33.0)


def test_a_slow_probe_opens_it_again_and_keeps_the_place_while_it_runs() -> None:
    bench, probe = half_opened()
    probe.first_token(31.0)
    assert bench.told[-1][:2] == ("open", "still slow: 31 s to the first token")
    bench.now += 1000.0
    assert bench.breaker.acquire(early=True) is None
    probe.success()
    assert bench.state() == "open"
    assert bench.permit().probe


def test_a_cancelled_probe_frees_its_place_and_counts_for_nothing() -> None:
    bench, probe = half_opened()
    for _ in range(5):
        probe.cancelled()
        assert bench.state() == "half_open"
        probe = bench.permit()
    probe.success()
    assert bench.state() == "half_open"
    assert bench.states() == ["open", "half_open"]


def test_a_lost_probe_frees_its_place() -> None:
    bench, probe = half_opened()
    del probe
    assert bench.breaker.allows()
    assert bench.permit().probe


@pytest.mark.parametrize("outcome", SETTLING)
def test_what_a_call_from_before_reports_changes_nothing(outcome: str) -> None:
    bench = Bench()
    stale = [bench.permit() for _ in range(4)]
    bench.call("connect")
    SETTLING[outcome](stale[0])
    assert bench.states() == ["open"]
    bench.now += 5.0
    probe = bench.permit()
    SETTLING[outcome](stale[1])
    assert bench.states() == ["open", "half_open"]
    assert bench.breaker.acquire() is None
    probe.success()
    SETTLING[outcome](stale[2])
    assert bench.state() == "half_open"
    bench.call("success")
    SETTLING[outcome](stale[3])
    assert bench.states() == ["open", "half_open", "closed"]
    assert bench.counts() == (0, 0, 0)


def test_early_lets_one_probe_go_before_its_time() -> None:
    bench = opened()
    probe = bench.permit(early=True)
    assert probe.probe
    assert bench.breaker.acquire(early=True) is None
    probe.failure("connect")
    assert bench.breaker.retry_in() == 10.0


def test_an_early_probe_that_succeeds_ends_the_wait() -> None:
    bench = opened()
    bench.call("success", early=True)
    assert bench.breaker.retry_in() == 0.0
    bench.call("success")
    assert bench.state() == "closed"


def test_an_early_probe_that_is_cancelled_does_not_end_the_wait_of_others() -> None:
    bench = opened()
    bench.call("cancelled", early=True)
    assert bench.state() == "half_open"
    assert bench.breaker.acquire() is None
    assert bench.breaker.retry_in() == 5.0
    assert bench.permit(early=True).probe


def test_a_health_check_lets_the_probe_go() -> None:
    bench = opened()
    bench.breaker.recovered()
    bench.breaker.recovered()
    assert bench.told[1:] == [("half_open", "answers again", None)]
    probe = bench.permit()
    assert probe.probe
    assert bench.breaker.acquire() is None


def test_a_health_check_does_not_shorten_a_wait_that_the_server_asked_for() -> None:
    for kind, retry_after in (("quota", None), ("throttled", 60.0)):
        bench, probe = half_opened()
        probe.failure(kind, retry_after=retry_after)  # type: ignore[arg-type]
        bench.breaker.recovered()
        assert bench.breaker.acquire() is None
        bench.now += bench.breaker.retry_in()
        bench.breaker.recovered()
        assert bench.permit().probe


def test_a_health_check_changes_nothing_while_all_is_well_or_forced() -> None:
    bench = Bench()
    bench.breaker.recovered()
    bench.breaker.force("open")
    bench.breaker.recovered()
    assert bench.states() == ["forced_open"]


def test_forced_open_lets_nothing_go_until_it_is_lifted() -> None:
    bench = Bench()
    running = bench.permit()
    bench.breaker.force("open")
    bench.breaker.force("open")
    running.success()
    bench.now += 1e6
    assert bench.breaker.acquire() is None
    assert bench.breaker.acquire(early=True) is None
    assert bench.breaker.retry_in() == math.inf
    assert bench.breaker.view().retry_in_s is None
    bench.breaker.force(None)
    bench.breaker.force(None)
    assert bench.told == [("forced_open", "forced open", None), ("closed", "no longer forced", None)]
    assert not bench.permit().probe


def test_forced_closed_lets_everything_go_and_counts() -> None:
    bench = opened()
    bench.breaker.force("closed")
    for outcome in ("connect", "quota", "slow", "error") * 5:
        bench.call(outcome)
    assert bench.states() == ["open", "forced_closed"]
    assert bench.counts() == (20, 15, 5)
    bench.breaker.force(None)
    assert bench.counts() == (0, 0, 0)


def test_a_probe_that_outlives_a_command_still_is_the_only_one() -> None:
    bench, first = half_opened()
    bench.breaker.force("closed")
    bench.breaker.force(None)
    bench.call("connect")
    bench.now += 1000.0
    assert bench.breaker.acquire(early=True) is None
    first.success()
    assert bench.state() == "open"
    assert bench.permit().probe


def test_a_listener_may_ask_and_command() -> None:
    bench = opened()
    seen: list[Permit | None] = []

    def listen(state: str, _reason: str, _retry_in: float | None) -> None:
        if state == "half_open":
            seen.append(bench.breaker.acquire(early=True))
            bench.breaker.force("closed")

    bench.breaker._on_change = listen
    bench.now += 5.0
    probe = bench.permit()
    assert seen == [None]
    probe.failure("connect")
    assert bench.state() == "forced_closed"


def test_the_view_tells_what_opened_it() -> None:
    view = opened().breaker.view()
    assert (view.state, view.reason, view.calls, view.failures, view.slow, view.retry_in_s) == (
        "open",
        "cannot be reached",
        1,
        1,
        0,
        5.0,
    )


@pytest.mark.parametrize("kind", ["connect", "error", "throttled", "quota"])
def test_every_failure_has_words(kind: Failure) -> None:
    bench = Bench(BreakerPolicy(minimum_calls=1))
    bench.permit().failure(kind)
    assert bench.breaker.reason


@pytest.mark.parametrize(
    "wrong", [{"window_s": 0.0}, {"open_s": 0.0}, {"jitter": 1.0}, {"minimum_calls": 0}, {"successes_to_close": 0}]
)
def test_a_senseless_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), max_size=200))
def test_the_window_slides_and_stays_small(calls: list[tuple[float, bool, bool]]) -> None:
    outcomes, now, made = Outcomes(60.0), 0.0, []
    for pause, failed, slow in calls:
        now += pause
        bucket = outcomes.add(now, slow=slow)
        if failed:
            outcomes.fail(now, bucket)
        made.append((now, failed, slow))
        surely = [call for call in made if call[0] > now - 60.0 * (BUCKETS - 1) / BUCKETS]
        perhaps = [call for call in made if call[0] >= now - 60.0]
        total = outcomes.totals(now)
        assert len(surely) <= total[0] <= len(perhaps)
        assert sum(call[1] for call in surely) <= total[1] <= sum(call[1] for call in perhaps)
        assert sum(call[2] for call in surely) <= total[2] <= sum(call[2] for call in perhaps)
        assert len(outcomes._buckets) <= BUCKETS
