"""What happens, as what was promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from sophia_core.events import AnswerEnded, AttemptFailed, Bus, Event, FailedOver, ObjectiveChanged, TurnFinished
from sophia_core.objectives.counting import Counting, Seen
from sophia_core.objectives.objectives import Objectives
from sophia_core.objectives.settings import ObjectiveSettings

NOW = 1_800_000_000.0


class Kept:
    """Books in memory."""

    def __init__(self, *before: tuple[float, float, float]) -> None:
        self.counts: Counter[tuple[str, bool]] = Counter()
        self._before = before

    def count(self, objective: str, good: bool) -> None:
        self.counts[objective, good] += 1

    async def counted(self, objective: str, since: float) -> Sequence[tuple[float, float, float]]:
        return [each for each in self._before if each[0] >= since]


def turn(status: str = "complete", provider: str | None = "gh200", error: str | None = None) -> TurnFinished:
    return TurnFinished("s", "a", "r", "", status, provider, error_type=error)  # type: ignore[arg-type]


def ended(outcome: str = "complete", first: float = 0.4, accepted: float | None = 0.05) -> AnswerEnded:
    return AnswerEnded("r", "gh200", "m", outcome, first, first + 1, accepted_s=accepted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (turn(), [("answered", True)]),
        (turn("failed", error="timeout"), [("answered", False)]),
        (turn("partial", error="server"), [("answered", False)]),
        (turn("queued", None, "provider_unavailable"), [("answered", False)]),
        (turn("failed", error="context_length_exceeded"), []),
        (turn("cancelled"), []),
        (turn(provider="embedded"), []),
        (TurnFinished("s", "a", "r", "", "complete", "gh200", cached_at=5), []),
        (AttemptFailed("r", "gh200", 1, "no", True, 0.1, "network"), [("errors", False)]),
        (AttemptFailed("r", "gh200", 1, "no", False, 0.0, "caller"), []),
        (AttemptFailed("r", "embedded", 1, "no", False, 0.0, "network"), []),
        (ended(), [("errors", True), ("first token", True), ("api", True)]),
        (ended("failed", accepted=None), [("errors", False), ("first token", True)]),
        (ended("cancelled"), []),
    ],
)
def test_what_counts(event: Event, counted: list[tuple[str, bool]]) -> None:
    assert [(each.measure, each.ok) for each in Counting().seen(event)] == counted


def test_an_answer_of_this_machine_because_a_server_failed_is_no_answer_as_promised() -> None:
    counting = Counting()
    assert not list(counting.seen(FailedOver("r", "embedded", "gh200", "nothing answers", "provider_unavailable")))
    assert list(counting.seen(turn(provider="embedded"))) == [Seen("answered", ok=False)]
    assert not list(counting.seen(turn(provider="embedded"))), "only that one"


def test_an_answer_of_this_machine_counts_where_that_is_wanted() -> None:
    assert list(Counting(embedded=True).seen(turn(provider="embedded"))) == [Seen("answered", ok=True)]


class Room:
    """Objectives on a bus, at a time that is set by hand."""

    def __init__(self, kept: Kept, settings: ObjectiveSettings | None = None) -> None:
        self.now, self.told, self.kept = NOW, list[ObjectiveChanged](), kept
        bus = Bus()
        self.objectives = Objectives(settings or ObjectiveSettings(), bus, kept, lambda: self.now)
        bus.subscribe(self.objectives)
        bus.subscribe(lambda event: self.told.append(event) if isinstance(event, ObjectiveChanged) else None)
        self.publish = bus.publish

    def goes_on(self, minutes: int, *events: Event) -> None:
        for _ in range(minutes):
            self.now += 60
            for event in events:
                self.publish(event)
            self.objectives.look()


def test_a_breach_is_told_once_and_so_is_its_end() -> None:
    room = Room(Kept())
    room.goes_on(30, turn(), turn("failed", error="timeout"))
    assert [(each.name, each.state, each.severity) for each in room.told] == [("availability", "burning", "critical")]
    room.goes_on(4 * 24 * 60, turn())
    states = [(each.state, each.severity) for each in room.told if each.name == "availability"]
    assert states[-1] == ("ok", "info")
    assert len(states) <= 5, "critical, critical, warning, warning, over"


def test_counts_are_kept_by_name_and_how_it_went() -> None:
    room = Room(Kept())
    room.goes_on(1, turn(), turn("failed", error="timeout"), ended(first=9.0))
    assert room.kept.counts == {
        ("availability", True): 1,
        ("availability", False): 1,
        ("errors", True): 1,
        ("first token", False): 1,
        ("api latency", True): 1,
    }


async def test_what_was_counted_before_is_part_of_it() -> None:
    room = Room(Kept((NOW - 86_400 * 7, 990.0, 1000.0), (NOW - 86_400 * 60, 0.0, 5000.0)))
    await room.objectives.load()
    first = room.objectives.states()[0]
    assert (first.events, first.good, first.state) == (1000, 0.99, "breached")


async def test_a_list_says_how_each_stands() -> None:
    room = Room(Kept())
    room.goes_on(5, *[turn()] * 10)
    row = (await room.objectives.show())[0]
    assert (row.objective, row.promised, row.kept) == ("availability", "99.9 %, 30 days", "100 %")
    assert (row.events, row.budget_left, row.state) == (50, "100 %", "ok")


def test_nothing_is_counted_where_that_is_off() -> None:
    room = Room(Kept(), ObjectiveSettings(enabled=False))
    room.goes_on(30, turn("failed", error="timeout"))
    assert not room.kept.counts
    assert not room.told
