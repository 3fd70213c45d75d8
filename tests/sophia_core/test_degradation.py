"""The one level of the whole app: true after whatever happened, and never stuck."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client import BackendClient, Endpoint, NoAuth, Provider, StaticEndpoint
from backend_client.fleet import CostCap
from backend_client.happenings import Happening
from sophia_core.degradation import NO_SERVER, Degradation
from sophia_core.events import (
    AttemptFailed,
    Bus,
    DegradationChanged,
    Event,
    Level,
    RouteChosen,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from sophia_core.models import Models
from sophia_core.providers import EMBEDDED, Nowhere
from sophia_core.routes import Routes, route_of
from sophia_core.state import Current
from sophia_core.telling import events_of
from tests.scripted import ScriptedTransport

Outcome = Literal["answers", "cannot be reached", "is silent", "refuses the key", "breaks off"]


def server(name: str, tier: int = 0, *, paid: bool = False, model: str | None = "m") -> Provider:
    source = StaticEndpoint(Endpoint(f"http://{name}/v1", model, NoAuth()))
    return Provider(name, source, tier=tier, paid=paid)


GOOD, NEXT = server("gh200-a"), server("gh200-b")
ROUTER, OWN = server("router", 1, paid=True), server(EMBEDDED, 2)


class Watch:
    """A client of which the test moves the breakers, and the level that comes of it."""

    def __init__(self, *providers: Provider, cap: float | None = None) -> None:
        self.now = 0.0
        self.bus, self.current, self.told = Bus(), Current(), cast("list[Event]", [])
        self.client = BackendClient(
            list(providers),
            transport=ScriptedTransport(),
            cap=CostCap(cap),
            rng=random.Random(1),  # noqa: S311
            clock=lambda: self.now,
            hook=self._happened,
        )
        self.level = Degradation(self.bus, providers, lambda: route_of(self.client, self.current))
        self.models = Models(self.client, providers, self.bus, self.current, self.level.look)
        self.routes = Routes(self.client, self.current)
        self.bus.subscribe(self.level)
        self.bus.subscribe(self.told.append)

    def _happened(self, happening: Happening) -> None:
        for event in events_of(happening):
            self.bus.publish(event)

    @property
    def is_(self) -> tuple[Level, str]:
        return self.level.level, self.level.reason

    def breaks(self, name: str, why: str = "cannot be reached") -> None:
        permit = self.client.fleet.stations[name].breaker(None).acquire(early=True)
        assert permit
        permit.failure("connect", why)

    def works(self, name: str) -> None:
        """Twice, as a breaker wants it."""
        for _ in range(2):
            permit = self.client.fleet.stations[name].breaker(None).acquire(early=True)
            assert permit
            permit.success()

    def ask(self, name: str, outcome: Outcome) -> None:
        """One question that goes to this provider alone, if it may be asked at all."""
        self.bus.publish(TurnStarted("s", "q", "a", "r", "?"))
        if self.client.explain(provider=name)[0].refusal in ("cap", "forced"):
            return self.ended("failed", "provider_unavailable")
        station = self.client.fleet.stations[name]
        permit = station.breaker(None).acquire(early=True)
        if permit is None:
            return self.ended("failed", "provider_unavailable")
        if outcome in ("answers", "breaks off"):
            permit.first_token(0.1)
            station.answered(0.1)
            self.bus.publish(RouteChosen("a", name, "m"))
            if outcome == "answers":
                permit.success()
                return self.ended("complete")
            permit.failure("error", "broke off")
            return self.ended("partial", "provider_unavailable")
        if outcome == "refuses the key":
            station.shun("the key is refused")
            permit.success()
        else:
            permit.failure("connect" if outcome == "cannot be reached" else "error", outcome)
        self.bus.publish(AttemptFailed("r", name, 1, outcome, False, 0.0))
        return self.ended("failed", "authentication" if outcome == "refuses the key" else "timeout")

    def ended(self, status: TurnStatus, error_type: str | None = None, cost: float | None = None) -> None:
        error = "nobody answers" if error_type else None
        self.bus.publish(TurnFinished("s", "a", "r", "", status, error=error, error_type=error_type, cost_usd=cost))


def test_at_first_the_best_is_taken_to_be_there() -> None:
    assert Watch(GOOD, NEXT).is_ == (Level.PRIMARY, "")
    assert Watch(OWN).is_ == (Level.EMBEDDED, NO_SERVER)


def test_without_any_server_it_is_offline_and_stays_so() -> None:
    watch = Watch(Provider("none", Nowhere()))
    assert watch.is_ == (Level.OFFLINE, NO_SERVER)
    watch.ask("none", "cannot be reached")
    watch.client.fleet.stations["none"].breaker(None).recovered()
    assert watch.is_ == (Level.OFFLINE, NO_SERVER)


def test_it_goes_down_step_by_step_and_comes_back() -> None:
    watch = Watch(GOOD, NEXT, ROUTER, OWN)
    watch.breaks("gh200-a")
    assert watch.is_ == (Level.SECONDARY, "gh200-a: cannot be reached")
    watch.breaks("gh200-b", "no route")
    assert watch.is_ == (Level.PAID, "gh200-a: cannot be reached")
    watch.breaks("router")
    assert watch.level.level is Level.EMBEDDED
    watch.breaks(EMBEDDED, "does not start")
    assert watch.is_ == (Level.OFFLINE, "gh200-a: cannot be reached")
    watch.works("gh200-b")
    assert watch.is_ == (Level.SECONDARY, "gh200-a: cannot be reached")
    watch.works("gh200-a")
    assert watch.is_ == (Level.PRIMARY, "answers come from gh200-a")
    levels = [event.level for event in watch.told if isinstance(event, DegradationChanged)]
    assert len(levels) == len(set(pairwise(levels))) + 1, "nothing was told twice"


def test_the_primary_is_the_one_that_is_asked_first_not_the_one_listed_first() -> None:
    watch = Watch(ROUTER, GOOD)
    assert watch.level.level is Level.PRIMARY
    watch.ask("gh200-a", "answers")
    assert watch.is_ == (Level.PRIMARY, "answers come from gh200-a")
    watch.breaks("gh200-a")
    assert watch.is_ == (Level.PAID, "gh200-a: cannot be reached")


def test_somebody_who_is_paid_is_the_primary_where_nobody_else_is_there() -> None:
    watch = Watch(ROUTER, OWN)
    assert watch.level.level is Level.PRIMARY


def test_a_cap_that_is_reached_is_offline_and_a_new_day_ends_that() -> None:
    watch = Watch(ROUTER, cap=1.0)
    watch.client.cap.spent_usd = 2.0
    watch.ended("complete", cost=2.0)
    assert watch.is_ == (Level.OFFLINE, "router: the cost cap of $1.00 is reached")
    watch.client.cap.spent_usd = 0.0
    watch.level.look()
    assert watch.level.level is Level.PRIMARY
    assert Watch(ROUTER, cap=0.0).level.level is Level.OFFLINE


def test_a_breaker_held_open_is_told_and_so_is_its_end() -> None:
    watch = Watch(GOOD)
    watch.client.force("gh200-a", None, "open")
    assert watch.is_ == (Level.OFFLINE, "gh200-a: forced open")
    watch.client.force("gh200-a", None, None)
    assert watch.level.level is Level.PRIMARY


async def test_one_held_open_is_not_asked_for_any_other_model_either() -> None:
    watch = Watch(server("a", model=None), server("b", model=None))
    await watch.routes.hold_open("a")
    await watch.models.use("auto", "another")
    assert [row.provider for row in await watch.routes.explain() if row.verdict.startswith("asked")] == ["b"]
    await watch.routes.reset("a")
    assert [row.verdict for row in await watch.routes.explain()] == ["asked first", "asked next"]


async def test_whoever_is_chosen_counts_at_once() -> None:
    watch = Watch(GOOD, NEXT)
    watch.breaks("gh200-b", "no route")
    await watch.models.use("gh200-b")
    assert watch.is_ == (Level.OFFLINE, "gh200-b: no route")
    await watch.models.use("auto")
    assert watch.is_ == (Level.PRIMARY, "answers come from gh200-a")


def test_one_that_refuses_our_key_is_somebody_answering() -> None:
    watch = Watch(GOOD)
    watch.ask("gh200-a", "refuses the key")
    assert watch.is_ == (Level.PRIMARY, "gh200-a: the key is refused")
    both = Watch(GOOD, NEXT)
    both.ask("gh200-a", "refuses the key")
    assert both.is_ == (Level.SECONDARY, "gh200-a: the key is refused")


def test_silence_without_an_open_breaker_is_offline_only_where_nobody_else_is_left() -> None:
    alone, both = Watch(GOOD), Watch(GOOD, NEXT)
    alone.ask("gh200-a", "is silent")
    assert alone.is_ == (Level.OFFLINE, "nobody answers")
    both.ask("gh200-a", "is silent")
    assert both.level.level is not Level.OFFLINE
    alone.ask("gh200-a", "answers")
    assert alone.is_ == (Level.PRIMARY, "answers come from gh200-a")


def test_a_cached_answer_says_nothing_about_anybody() -> None:
    watch = Watch(GOOD)
    watch.breaks("gh200-a")
    watch.bus.publish(RouteChosen("a", "gh200-a", "m", 1, cached_at=5))
    assert watch.level.level is Level.OFFLINE


def test_a_probe_that_streams_long_does_not_leave_it_offline() -> None:
    watch = Watch(GOOD, NEXT)
    watch.breaks("gh200-a")
    watch.breaks("gh200-b")
    probe = watch.client.fleet.stations["gh200-a"].breaker(None).acquire(early=True)
    assert probe
    watch.bus.publish(RouteChosen("a", "gh200-a", "m"))
    assert watch.level.level is Level.PRIMARY
    watch.breaks("gh200-b")
    probe.success()
    watch.ended("complete")
    assert watch.level.level is Level.PRIMARY


FLEETS = ([GOOD], [OWN], [GOOD, NEXT, ROUTER, OWN], [ROUTER, GOOD], [ROUTER])
OUTCOMES: tuple[Outcome, ...] = ("answers", "cannot be reached", "is silent", "refuses the key", "breaks off")
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 3), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("force"), st.integers(0, 3), st.sampled_from(["open", "closed", None])),
    st.tuples(st.just("probe"), st.integers(0, 3), st.none()),
    st.tuples(st.just("pin"), st.integers(-1, 3), st.none()),
    st.tuples(st.just("spend"), st.integers(0, 2), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 120), st.none()),
)


def take(watch: Watch, names: list[str], kind: str, number: int, what: object) -> None:
    name = names[number % len(names)]
    match kind:
        case "ask":
            watch.ask(watch.current.provider or name, cast("Outcome", what))
        case "force":
            watch.client.force(name, None, cast("Literal['open', 'closed'] | None", what))
        case "probe":
            watch.client.fleet.stations[name].breaker(None).recovered()
        case "pin":
            watch.current.provider = None if number < 0 else name
            watch.level.look()
        case "spend":
            watch.client.cap.spent_usd = float(number)
            watch.level.look()
        case "wait":
            watch.now += number


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FLEETS), st.lists(STEPS, max_size=25))
def test_it_is_offline_exactly_while_nobody_may_be_asked(
    fleet: list[Provider], steps: list[tuple[str, int, object]]
) -> None:
    watch, names = Watch(*fleet, cap=1.0), [each.name for each in fleet]

    def refusals() -> list[str | None]:
        return [each.refusal for each in route_of(watch.client, watch.current)]

    for kind, number, what in steps:
        take(watch, names, kind, number, what)
        somebody = bool({None, "shunned"} & set(refusals()))
        silent = what in ("is silent", "cannot be reached")
        if kind in ("pin", "spend"):
            assert (watch.level.level is Level.OFFLINE) is not somebody
        elif watch.level.level is not Level.OFFLINE and what != "answers" and what != "breaks off":
            assert somebody, "only time passing may make it too dark, never too bright"
        elif watch.level.level is Level.OFFLINE and kind == "ask" and not silent:
            assert not somebody
        assert watch.level.reason or watch.level.level is not Level.OFFLINE
    recover(watch, names)
    assert watch.level.level is not Level.OFFLINE


def recover(watch: Watch, names: list[str]) -> None:
    watch.current.provider = None
    watch.client.cap.spent_usd = 0.0
    for name in names:
        watch.client.force(name, None, None)
        watch.ask(name, "answers")


@pytest.mark.parametrize("change", ["unforced", "answered", "probed"])
def test_any_way_back_is_seen(change: str) -> None:
    watch = Watch(GOOD)
    ways: dict[str, Callable[[], None]] = {
        "unforced": lambda: watch.client.force("gh200-a", None, "closed"),
        "answered": lambda: watch.ask("gh200-a", "answers"),
        "probed": lambda: watch.client.fleet.stations["gh200-a"].breaker(None).recovered(),
    }
    watch.breaks("gh200-a", "no route")
    assert watch.is_ == (Level.OFFLINE, "gh200-a: no route")
    ways[change]()
    assert watch.is_ == (Level.PRIMARY, "answers come from gh200-a")
