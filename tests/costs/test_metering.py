"""What an answer has of an hour of a machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from backend_client.scraping.types import RUNNING
from local_store.types import Usage
from sophia_core.costs.metering import Meter, amortised
from sophia_core.costs.task import current_task, for_task
from sophia_core.events import AnswerEnded, RouteChosen, TurnFinished
from sophia_core.metrics.ports import Reading

NOW = 1_000.0
USED = Usage(10, 20)


class Box:
    """A machine of 36 dollars an hour, a cent a second, that says how many requests it has."""

    def __init__(self, running: float | None = None, at: float = NOW) -> None:
        self.readings: dict[str, Reading] = {}
        self.says(running, at)
        self.meter = Meter({"box": 36.0}, lambda: self.readings, lambda: {"node": "box"}, lambda _: "me", lambda: NOW)

    def says(self, running: float | None, at: float = NOW) -> None:
        values = {} if running is None else {RUNNING: running}
        self.readings = {"node": Reading("node", at, "up", values=values)}

    def begins(self, answer: str, provider: str = "box") -> None:
        self.meter(RouteChosen(answer, provider, "m"))

    def ends(self, request: str, seconds: float, provider: str = "box") -> None:
        self.meter(AnswerEnded(request, provider, "m", "complete", 0.1, seconds))


def test_an_answer_alone_costs_the_time_it_took() -> None:
    box = Box()
    box.begins("a")
    box.ends("r-a1", 5.0)
    usage, booking = box.meter.booked(USED, "", "box", "a", "r")
    assert usage == Usage(10, 20, cost_usd=0.05)
    assert (booking.cost_known, booking.seconds, booking.tenant, booking.task) == ("amortised", 5.0, "me", "chat")


def test_what_others_have_the_machine_do_at_once_is_theirs() -> None:
    box = Box(running=4.0)
    box.begins("a")
    box.says(8.0)
    box.ends("r-a1", 6.0)
    usage, _ = box.meter.booked(USED, "", "box", "a", "r")
    assert usage is not None and usage.cost_usd is not None
    assert round(usage.cost_usd, 9) == 0.01


def test_an_old_word_of_the_server_says_nothing_but_our_own_requests_count() -> None:
    box = Box(running=50.0, at=NOW - 60)
    box.begins("b")
    box.begins("a")
    box.ends("r-a1", 4.0)
    usage, _ = box.meter.booked(USED, "", "box", "a", "r")
    assert usage is not None and usage.cost_usd == 0.02


def test_a_cost_that_is_told_is_never_replaced() -> None:
    box = Box()
    box.begins("a")
    box.ends("r-a1", 5.0)
    told = Usage(10, 20, cost_usd=1.0)
    usage, booking = box.meter.booked(told, "reported", "box", "a", "r")
    assert usage == told
    assert booking.cost_known == "reported"


def test_an_answer_that_was_stopped_cost_its_time_too() -> None:
    box = Box()
    box.begins("a")
    box.ends("r-a1", 5.0)
    usage, booking = box.meter.booked(None, "", "box", "a", "r")
    assert usage is None
    assert booking.cost_usd == 0.05


def test_a_provider_without_an_hourly_cost_is_unknown() -> None:
    box = Box()
    box.begins("a", "other")
    box.ends("r-a1", 5.0, "other")
    usage, booking = box.meter.booked(USED, "", "other", "a", "r")
    assert usage == USED
    assert booking.cost_known == ""


def test_an_answer_that_ended_without_usage_is_booked_as_estimated_where_its_prices_are_known() -> None:
    meter = Box().meter
    for request, guess in (("known", 0.02), ("known", 0.01), ("told", 0.03)):
        meter(AnswerEnded(f"{request}-a1", "paid", "m", "cancelled", 0.1, 1.0, cost_usd=guess, estimated=True))
    meter(AnswerEnded("guess-a1", "paid", "m", "cancelled", 0.1, 1.0, cost_usd=0.5))
    usage, booking = meter.booked(None, "", "paid", "a", "known")
    assert (usage, booking.cost_known) == (None, "estimated") and booking.cost_usd == approx(0.03)
    assert meter.booked(USED, "configured", "paid", "b", "told")[1].cost_usd is None, "what is told is not added to"
    assert meter.booked(None, "", "paid", "c", "guess")[1].cost_usd is None
    meter(TurnFinished("s", "a", "known", "", "cancelled"))
    assert meter.booked(None, "", "paid", "a", "known")[1].cost_usd is None


def test_nothing_is_remembered_of_turns_that_are_over() -> None:
    box = Box()
    box.begins("a")
    box.ends("r-a1", 5.0)
    box.meter(TurnFinished("s", "a", "r", "", "complete"))
    assert box.meter.booked(USED, "", "box", "a", "r")[1].seconds is None


@given(st.floats(0, 1e4), st.floats(0, 1e6), st.integers(1, 50))
def test_answers_that_share_a_machine_cost_no_more_than_the_machine(hourly: float, seconds: float, number: int) -> None:
    together = sum(amortised(hourly, seconds, number) for _ in range(number))
    assert together <= hourly / 3600 * seconds * (1 + 1e-9)


def test_the_macro_that_asks_stands_for_everything_it_does() -> None:
    assert current_task() == "chat"
    with for_task("macro digest"), for_task("compare"):
        assert current_task() == "macro digest"
    assert current_task() == "chat"
