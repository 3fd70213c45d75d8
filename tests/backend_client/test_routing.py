"""The order in which providers are asked."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import Endpoint, NoAuth, Provider, StaticEndpoint
from backend_client.fleet import CostCap, Fleet, Load, Resilience, least_bad
from backend_client.happenings import BreakerChanged, Happening
from backend_client.routing import Candidate, Weights, rank, share_of, typical_price

PLAIN = Candidate(
    "a",
    tier=0,
    place=0,
    first_token_s=None,
    waiting=0,
    other_region=False,
    habit=False,
    price_usd=0.0,
    broken=0.0,
    warming=False,
)


def order(*candidates: Candidate) -> list[str]:
    return [each.provider for each in rank(candidates, Weights())]


def test_without_knowledge_the_order_given_holds() -> None:
    assert order(replace(PLAIN, provider="b", place=1), PLAIN) == ["a", "b"]


@pytest.mark.parametrize(
    "worse",
    [
        {"first_token_s": 3.0},
        {"waiting": 5.0},
        {"other_region": True, "first_token_s": 0.9},
        {"price_usd": 0.1},
        {"warming": True},
        {"broken": 0.5},
        {"saturating_s": 1.0},
        {"odd_s": 1.0},
        {"refusal": "breaker"},
    ],
)
def test_what_speaks_against_a_provider_sets_it_behind(worse: dict[str, object]) -> None:
    first = replace(PLAIN, **worse)  # type: ignore[arg-type]
    assert order(first, replace(PLAIN, provider="b", place=1)) == ["b", "a"]


def test_a_session_stays_where_its_prefix_is_cached() -> None:
    here = replace(PLAIN, provider="b", place=1, first_token_s=0.6, habit=True)
    assert order(replace(PLAIN, first_token_s=0.7), here) == ["b", "a"]


candidates = st.builds(
    replace,
    st.just(PLAIN),
    provider=st.sampled_from("abcdef"),
    tier=st.integers(-1, 3),
    place=st.integers(0, 5),
    first_token_s=st.none() | st.floats(0, 600),
    waiting=st.floats(0, 1000),
    warming=st.booleans(),
    broken=st.floats(0, 1),
    price_usd=st.floats(0, 10),
    refusal=st.none() | st.sampled_from(["breaker", "cap", "capability"]),
)


@given(st.lists(candidates))
def test_nobody_is_lost_and_a_worse_tier_never_goes_first(given: list[Candidate]) -> None:
    ranked = rank(given, Weights())
    assert sorted(each.provider for each in ranked) == sorted(each.provider for each in given)
    able = [each for each in ranked if each.refusal is None]
    assert [each.tier for each in able] == sorted(each.tier for each in able)
    assert ranked[: len(able)] == tuple(able)
    assert all(abs(each.score - sum(s for _, s in each.terms)) < 1e-6 for each in ranked)


@given(st.floats(0, 100))
def test_a_provider_that_comes_back_gets_its_share_back_slowly(since: float) -> None:
    assert 0.1 <= share_of(since) <= 1.0
    assert share_of(since) <= share_of(since + 1)
    assert share_of(None) == share_of(30.0) == 1.0


def test_a_typical_answer_has_a_price() -> None:
    assert typical_price(3.0, 15.0, paid=True) == pytest.approx(0.0105)
    assert typical_price(None, None, paid=False) == 0.0
    assert typical_price(None, None, paid=True) > 0.0


# With what a fleet knows


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_fleet(*providers: Provider, told: list[Happening] | None = None, cap: CostCap | None = None) -> Fleet:
    heard = told if told is not None else []
    return Fleet(
        providers,
        Resilience(region="eu"),
        cap=cap or CostCap(),
        clock=Time(),
        rng=random.Random(1),  # noqa: S311
        hook=heard.append,
    )


def named(name: str, model: str | None = None, **facts: object) -> Provider:
    endpoint = Endpoint(f"http://{name}.test/v1", model, NoAuth())
    return replace(Provider(name, StaticEndpoint(endpoint)), **facts)  # type: ignore[arg-type]


def names(fleet: Fleet, needs: str = "chat", **wanted: object) -> list[str]:
    ranked = fleet.rank(frozenset(needs.split()), **wanted)  # type: ignore[arg-type]
    return [each.provider for each in ranked if each.refusal is None]


def test_only_those_are_asked_that_can() -> None:
    fleet = make_fleet(named("a"), named("b", capabilities=frozenset({"chat", "vision"})))
    assert names(fleet) == ["a", "b"]
    assert names(fleet, "chat vision") == ["b"]
    assert fleet.rank(frozenset({"chat", "vision"}))[-1].reason == "cannot do vision"


def test_a_model_is_asked_of_those_configured_for_it() -> None:
    fleet = make_fleet(named("a", "small"), named("b", "large"), named("c", "tiny", models=frozenset({"large"})))
    assert names(fleet, model="large") == ["b", "c"]
    assert names(fleet, model="unheard-of") == ["a"]
    assert names(fleet, model="large", pinned="a") == ["a"]


def test_paid_providers_stop_at_the_cap() -> None:
    cap = CostCap(1.0)
    fleet = make_fleet(named("a"), named("b", paid=True), cap=cap)
    assert names(fleet) == ["a", "b"]
    cap.spent_usd = 1.0
    assert names(fleet) == ["a"]
    assert fleet.rank()[-1].refusal == "cap"


def test_the_queue_a_server_tells_of_counts_while_it_is_fresh() -> None:
    fleet = make_fleet(named("a"), named("b"))
    fleet.stations["a"].load = Load(waiting=8, running=4, at=0.0)
    assert names(fleet) == ["b", "a"]
    fleet.stations["a"].load = Load(waiting=8, running=4, at=-100.0)
    assert names(fleet) == ["a", "b"]


def test_a_provider_that_refuses_us_is_asked_last_but_never_not_at_all() -> None:
    fleet = make_fleet(named("a"), named("b"))
    fleet.stations["a"].shun("a wrong key")
    assert names(fleet) == ["b"]
    assert [each.provider for each in least_bad(fleet.rank())] == ["a"]
    fleet.stations["a"].answered(0.1)
    assert names(fleet) == ["a", "b"]


def test_when_all_are_out_the_least_bad_is_left() -> None:
    told: list[Happening] = []
    fleet = make_fleet(named("a"), named("b"), told=told)
    for name, wait in (("a", 60.0), ("b", 5.0)):
        permit = fleet.stations[name].breaker(None).acquire()
        assert permit is not None
        permit.failure("error", "gone", retry_after=wait)
        permit = fleet.stations[name].breaker(None).acquire()
        assert permit is not None
        permit.failure("connect", "nothing answers", retry_after=wait)
    assert names(fleet) == []
    assert [each.provider for each in least_bad(fleet.rank())] == ["b", "a"]
    assert [each.state for each in told if isinstance(each, BreakerChanged)] == ["open", "open"]


def test_a_held_open_breaker_is_never_the_least_bad() -> None:
    fleet = make_fleet(named("a"))
    fleet.stations["a"].breaker(None).force("open")
    assert least_bad(fleet.rank()) == []


def test_habits_are_forgotten_in_the_end() -> None:
    fleet = make_fleet(named("a"), named("b"))
    fleet.stations["a"].first_token.add(0.6)
    fleet.stations["b"].first_token.add(0.2)
    fleet.remember("s", "b")
    assert names(fleet, flow="s") == ["b", "a"]
    for number in range(300):
        fleet.remember(f"other {number}", "a")
    assert names(fleet, flow="s") == ["a", "b"]
