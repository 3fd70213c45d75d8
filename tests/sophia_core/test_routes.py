"""The commands about the way of a question, and what the client does as events."""

from __future__ import annotations

import pytest

from backend_client import Unreachable
from backend_client.errors import LoginNeeded as NobodySignedIn
from backend_client.happenings import (
    AnswerEnded,
    BreakerChanged,
    FailedOver,
    Happening,
    ProviderProbed,
    QueueWaited,
    TokenRenewed,
)
from backend_client.types import Attempt
from sophia_core import events
from sophia_core.commands import CommandError
from sophia_core.telling import events_of
from tests.sophia_core.test_degradation import GOOD, NEXT, OWN, ROUTER, Watch, server


async def test_the_route_says_who_is_asked_who_not_and_why() -> None:
    watch = Watch(ROUTER, GOOD, NEXT, OWN, cap=0.0)
    watch.breaks("gh200-a", "no connection")
    rows = await watch.routes.explain()
    assert [(row.place, row.provider, row.verdict) for row in rows] == [
        (1, "gh200-b", "asked first"),
        (2, "embedded", "asked next"),
        (3, "gh200-a", "not asked: no connection"),
        (4, "router", "not asked: the cost cap of $0.00 is reached"),
    ]
    assert rows[0].why.startswith("tier 0, ") and "first token" in rows[0].why
    assert rows[0].score == pytest.approx(sum_of(rows[0].why), abs=0.01)


def sum_of(why: str) -> float:
    """The terms added up again."""
    terms = why.partition(" = ")[2].replace(" - ", " + -").split(" + ")
    return sum(float(term.split()[0]) for term in terms)


async def test_it_is_the_route_of_the_next_question_with_its_model_and_its_session() -> None:
    watch = Watch(server("a", model="m"), server("b", model="n"))
    watch.current.model = "n"
    assert [row.provider for row in await watch.routes.explain() if row.verdict == "asked first"] == ["b"]
    watch.current.model, watch.current.session_id = None, "s"
    watch.client.fleet.remember("s", "b")
    assert "knows this session" in next(row.why for row in await watch.routes.explain() if row.provider == "b")


async def test_one_provider_may_be_asked_about() -> None:
    watch = Watch(GOOD, NEXT)
    assert [row.provider for row in await watch.routes.explain("gh200-b")] == ["gh200-b"]
    for line in (watch.routes.explain("x"), watch.routes.hold_open("x"), watch.routes.reset("x")):
        with pytest.raises(CommandError, match="no provider 'x'"):
            await line


async def test_breakers_tell_what_they_have_seen() -> None:
    watch = Watch(GOOD, NEXT)
    await watch.routes.explain()
    assert {(row.provider, row.state, row.seen) for row in await watch.routes.breakers()} == {
        ("gh200-a", "closed", "nothing yet"),
        ("gh200-b", "closed", "nothing yet"),
    }
    watch.breaks("gh200-a", "no connection")
    row = next(row for row in await watch.routes.breakers() if row.provider == "gh200-a")
    assert (row.state, row.reason, row.calls, row.failures) == ("open", "no connection", 1, 1)
    assert row.retry_in_s and row.seen.startswith("1 of 1 failed; tried again in ")


async def test_holding_and_letting_go() -> None:
    watch = Watch(GOOD)
    assert "not asked any more" in await watch.routes.hold_open("gh200-a")
    assert (await watch.routes.breakers())[0].state == "forced open"
    assert "whatever happens" in await watch.routes.hold_closed("gh200-a")
    watch.breaks("gh200-a")
    assert (await watch.routes.explain())[0].verdict == "asked first"
    assert "by what it sees again" in await watch.routes.reset("gh200-a")
    assert (await watch.routes.breakers())[0].state == "closed"


DOWN = Unreachable("no connection", provider="a")


def failed(attempt: int, retrying: bool, wait_s: float) -> events.AttemptFailed:
    return events.AttemptFailed("r", "a", attempt, str(DOWN), retrying, wait_s, DOWN.fault, DOWN.error_type)


@pytest.mark.parametrize(
    ("happening", "told"),
    [
        (Attempt("a", "m", "r", 1, 0.1), []),
        (Attempt("a", "m", "r", 1, 0.1, DOWN, 2.0), [failed(1, True, 2.0)]),
        (Attempt("a", "m", "r", 2, 0.1, DOWN), [failed(2, False, 0.0)]),
        (Attempt("a", "m", "r", 1, 0.1, DOWN, 0.0), [failed(1, True, 0.0)]),
        (FailedOver("r", "b", "a", "why", "t"), [events.FailedOver("r", "b", "a", "why", "t")]),
        (BreakerChanged("a", "m", "open", "why", 5.0), [events.BreakerChanged("a", "m", "open", "why", 5.0)]),
        (QueueWaited("r", "a", 0.5), [events.QueueWaited("r", "a", 0.5)]),
        (ProviderProbed("a", True, "ok", 3.0), [events.ProviderProbed("a", True, "ok", 3.0)]),
        (TokenRenewed("a", False, "no"), [events.TokenRenewed("a", False, "no")]),
        (
            AnswerEnded("r", "a", "m", "complete", 0.1, 1.0, 7, 3, 0.5, None),
            [events.AnswerEnded("r", "a", "m", "complete", 0.1, 1.0, 7, 3, 0.5, None)],
        ),
    ],
)
def test_everything_the_client_does_is_an_event(happening: Happening, told: list[events.Event]) -> None:
    assert events_of(happening) == told


def test_a_missing_sign_in_is_a_failed_attempt_and_a_wish() -> None:
    error = NobodySignedIn("nobody is signed in", hint="sophia login a")
    failed, wish = events_of(Attempt("a", None, "r", 1, 0.0, error))
    assert isinstance(failed, events.AttemptFailed)
    assert wish == events.LoginNeeded("a", "sophia login a")
