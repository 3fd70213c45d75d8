"""What the healing does with what happens, and how it is put back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client import Endpoint, NoAuth, Provider, StaticEndpoint
from backend_client.fleet import CostCap, Fleet, Resilience
from backend_client.scraping.types import KV_CACHE, RUNNING, WAITING
from sophia_core.commands import BadArguments
from sophia_core.events import (
    AnswerEnded,
    AttemptFailed,
    AttemptSent,
    BreakerChanged,
    Bus,
    Event,
    HealingActed,
    MetricsMeasured,
    SettingChanged,
)
from sophia_core.healing.doing import HELD_S
from sophia_core.healing.healing import ActionRow, Healing, StateRow
from sophia_core.healing.settings import HealingSettings
from sophia_core.metrics.ports import Reading


def provider(name: str, tier: int = 0) -> Provider:
    return Provider(name, StaticEndpoint(Endpoint(f"http://{name}/v1", "m", NoAuth())), tier=tier)


@dataclass
class Room:
    """Two servers, a bus and a clock."""

    settings: HealingSettings = field(default_factory=HealingSettings)
    now: float = 1000.0
    count: int = 0
    told: list[Event] = field(default_factory=list)
    readings: list[tuple[str, Reading]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bus = Bus()
        self.fleet = Fleet(
            [provider("near"), provider("far")],
            Resilience(),
            cap=CostCap(),
            clock=lambda: self.now,
            rng=random.Random(1),  # noqa: S311
            hook=lambda happening: None,
        )
        self.healing = Healing(
            self.settings, self.fleet, self.bus, lambda: self.readings, clock=lambda: self.now, wall=lambda: self.now
        )
        self.bus.subscribe(self.healing)
        self.bus.subscribe(self.told.append)

    @property
    def acted(self) -> list[HealingActed]:
        return [each for each in self.told if isinstance(each, HealingActed)]

    def did(self, what: str) -> list[HealingActed]:
        return [each for each in self.acted if each.what == what]

    def sent(self, name: str, size: int = 500) -> str:
        self.count += 1
        self.bus.publish(AttemptSent(f"r{self.count}", name, "m", 1, "", "http://x", 0.0, 0.0, size))
        return f"r{self.count}"

    def answers(self, name: str, first_token_s: float, step: float = 60.0) -> None:
        request_id = self.sent(name)
        self.now += step
        self.bus.publish(AnswerEnded(request_id, name, "m", "complete", first_token_s, first_token_s + 1))

    def fails(self, name: str, request_id: str, status: int | None = 503, error: str = "provider_overloaded") -> None:
        self.bus.publish(AttemptFailed(request_id, name, 1, "no", True, 0.1, "server", error, status))

    def many(self, name: str, count: int, first_token_s: float = 0.4) -> None:
        rng = random.Random(count)  # noqa: S311
        for _ in range(count):
            self.answers(name, first_token_s * rng.lognormvariate(0, 0.3))

    def reads(self, name: str, at: float, **values: float) -> None:
        named = {"kv": KV_CACHE, "waiting": WAITING, "running": RUNNING}
        self.readings = [(name, Reading("t", at, "up", values={named[key]: value for key, value in values.items()}))]
        self.bus.publish(MetricsMeasured(("t",)))

    def order(self) -> list[str]:
        return [each.provider for each in self.fleet.rank()]


def test_a_server_unlike_itself_is_asked_after_the_other_and_comes_back() -> None:
    room = Room()
    room.many("near", 80)
    assert room.did("behaves oddly") == []
    room.many("near", 30, 4.0)
    acted = room.did("behaves oddly")[0]
    assert (acted.provider, acted.before) == ("near", None)
    assert "first token" in acted.reason
    assert room.order()[0] == "far"
    assert dict(room.fleet.rank()[1].terms)["behaves oddly"] >= 1
    assert room.healing.scores()["near"] >= 5
    room.many("near", 60)
    assert room.fleet.stations["near"].odd_s == 0
    assert room.did("behaves oddly")[-1].after is None
    assert len(room.did("behaves oddly")) < 12, "it flaps"


def test_without_news_it_is_given_another_chance() -> None:
    room = Room()
    room.many("near", 80)
    room.many("near", 30, 4.0)
    assert room.fleet.stations["near"].odd_s
    for _ in range(7):
        room.answers("far", 0.4)
    assert room.fleet.stations["near"].odd_s == 0
    room.now += 900
    assert "near" not in room.healing.scores()


def test_a_server_about_to_be_full_is_asked_later() -> None:
    room = Room()
    for number in range(30):
        room.now += 3
        room.reads("near", room.now, kv=0.5 + number * 0.015, waiting=0.0)
    assert room.acted[0].what == "about to saturate"
    assert "KV cache" in room.acted[0].reason
    assert room.order() == ["far", "near"]
    assert len(room.acted) <= 8
    for _ in range(30):
        room.now += 3
        room.reads("near", room.now, kv=0.3, waiting=0.0)
    assert room.order() == ["near", "far"]
    assert room.acted[-1].after is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["near", "far"]), st.floats(0, 500), st.floats(0, 2)), max_size=80))
def test_nobody_is_ever_refused(steps: list[tuple[str, float, float]]) -> None:
    room = Room()
    for name, value, kv in steps:
        room.now += 5
        room.reads(name, room.now, kv=kv, waiting=value, running=value)
        room.fails(name, room.sent(name))
        room.answers(name, value, 1.0)
    assert all(each.refusal is None for each in room.fleet.rank())
    assert sum(abs(dict(each.terms).get("about to saturate", 0.0)) for each in room.fleet.rank()) <= 6.0
    assert all(1 <= each.limiter.limit <= each.provider.max_concurrent for each in room.fleet.stations.values())


async def test_overload_means_fewer_at_once_and_calm_means_all_again() -> None:
    room = Room()
    station = room.fleet.stations["near"]
    slots = [await station.limiter.acquire("f") for _ in range(8)]
    requests = [room.sent("near") for _ in slots]
    room.now += 1
    for request_id, slot in zip(requests, slots, strict=True):
        slot.release()
        room.fails("near", request_id)
    assert station.limiter.limit == 4
    (acted,) = room.acted
    assert (acted.what, acted.before, acted.after, acted.reason) == ("concurrency", 16, 4, "HTTP 503")
    room.now += 1000
    room.healing.look()
    assert station.limiter.limit == 16
    assert room.acted[-1].after == 16


async def test_what_a_person_undoes_is_left_alone_for_a_while() -> None:
    room = Room()
    room.many("near", 80)
    room.many("near", 30, 4.0)
    number = room.did("behaves oddly")[0].number
    said = await room.healing.undo(number)
    assert "not set behind again" in said
    assert room.fleet.stations["near"].odd_s == 0
    acted = len(room.did("behaves oddly"))
    room.many("near", 10, 40.0)
    assert len(room.did("behaves oddly")) == acted
    rows = await room.healing.show()
    assert isinstance(rows, list)
    assert {each.number: each.standing for each in rows}[number] == "undone"
    assert isinstance(rows[0], ActionRow)
    room.now += HELD_S
    room.many("near", 10, 40.0)
    assert room.fleet.stations["near"].odd_s > 0
    with pytest.raises(BadArguments):
        await room.healing.undo(999)


async def test_off_puts_everything_back_and_goes_on_watching() -> None:
    room = Room()
    room.many("near", 80)
    room.many("near", 30, 4.0)
    station = room.fleet.stations["near"]
    assert station.odd_s
    await room.healing.off()
    assert (station.odd_s, station.saturating_s, station.hurry, station.limiter.limit) == (0, 0, None, 16)
    acted = len(room.acted)
    room.many("near", 20, 40.0)
    assert len(room.acted) == acted
    assert room.healing.scores()["near"] > 0
    await room.healing.switch_on()
    room.many("near", 5, 40.0)
    assert station.odd_s > 0


def test_settings_switch_it_and_its_parts() -> None:
    room = Room(HealingSettings(routing=False))
    room.many("near", 80)
    room.many("near", 30, 4.0)
    assert [each for each in room.acted if each.what == "behaves oddly"] == []
    room = Room()
    room.bus.publish(SettingChanged("healing.enabled", "true", "false", "settings.set"))
    assert not room.healing.on
    room.bus.publish(SettingChanged("healing.enabled", "false", None, "settings.unset"))
    assert room.healing.on


def test_a_wait_is_learnt_and_doubled_when_it_was_too_short() -> None:
    room = Room()
    station = room.fleet.stations["near"]
    room.many("near", 40)
    assert station.hurry is not None
    assert station.hurry.first_token_s == 10.0
    assert station.timeouts(100, last=False).first_token == 10.0
    assert station.timeouts(100, last=True).first_token == 120.0
    assert station.timeouts(10_000, last=False).first_token == 120.0
    room.fails("near", room.sent("near"), None, "timeout")
    assert station.hurry.first_token_s == 20.0
    assert "longer" in room.acted[-1].reason


def test_after_its_breaker_closed_its_first_answers_say_nothing() -> None:
    room = Room()
    room.many("near", 80)
    room.bus.publish(BreakerChanged("near", "m", "closed", "it answers again"))
    for _ in range(5):
        room.answers("near", 90.0)
    assert room.fleet.stations["near"].odd_s == 0


async def test_a_provider_that_is_another_one_now_is_not_known() -> None:
    room = Room()
    room.many("near", 80)
    room.fleet.remove("near")
    room.answers("near", 0.4)
    room.fleet.add(replace(provider("near"), max_concurrent=3))
    room.answers("near", 0.4)
    rows = await room.healing.state()
    assert isinstance(rows, list)
    (row,) = [each for each in rows if each.provider == "near"]
    assert isinstance(row, StateRow)
    assert row.at_once == "3 of 3 at once"
    assert row.first_token == "first token: 1 of 36 seen"


async def test_places_given_back_are_told_together() -> None:
    room = Room()
    station = room.fleet.stations["near"]
    station.limiter.limit = 1
    patient = room.healing._patient("near")
    assert patient is not None
    patient.concurrency.put(1)
    patient.told_limit, patient.told_at = 1, room.now
    for _ in range(200):
        held = [await station.limiter.acquire("f") for _ in range(station.limiter.limit)]
        held.pop().release()
        room.answers("near", 0.4, 0.1)
        for slot in held:
            slot.release()
    told = [(each.before, each.after) for each in room.acted if each.what == "concurrency"]
    assert told == [(1, 16)]
