"""Where questions go: the commands that show it, and those that hold a provider's breaker open or closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backend_client.errors import InvalidRequest
from backend_client.types import ChatRequest
from sophia_core.commands import CommandError, command
from sophia_core.logs import turn_of

if TYPE_CHECKING:
    from backend_client import BackendClient
    from backend_client.breaker import BreakerView
    from backend_client.fleet import Decision
    from backend_client.routing import Ranked
    from sophia_core.state import Current


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A provider's place in the route of the next question."""

    place: int
    provider: str
    verdict: str
    """`asked first`, `asked next`, or why it is not asked."""
    why: str
    """Its tier, and what it is ranked by within that: an estimate of the wait, with what else counts added to it."""
    tier: int
    score: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """The circuit breaker of one provider's model."""

    provider: str
    model: str
    state: str
    reason: str
    seen: str
    """What it has seen in the last minute, in words."""
    calls: int
    failures: int
    slow: int
    retry_in_s: float | None


def route_of(client: BackendClient, current: Current, provider: str | None = None) -> tuple[Ranked, ...]:
    """Where the next question goes, asked of the chosen provider, model and session. Raises InvalidRequest."""
    chosen, model = current.route
    next_question = ChatRequest((), model=model, flow=current.session_id or "")
    return client.explain(next_question, provider or chosen)


class Routes:
    """The commands about the way of a question."""

    def __init__(self, client: BackendClient, current: Current) -> None:
        self._client, self._current = client, current

    @command("route.explain", slash="route")
    async def explain(self, provider: str | None = None) -> list[RouteRow]:
        """Show where the next question would go, and why."""
        try:
            route = route_of(self._client, self._current, provider)
        except InvalidRequest as error:
            raise CommandError(str(error), error.hint) from None
        asked = [each for each in route if each.refusal is None]
        return [_row(place, each, asked) for place, each in enumerate(route, 1)]

    @command("route.last")
    async def last(self) -> list[RouteRow]:
        """Show why the last question went where it went, attempt by attempt."""
        decisions = list(self._client.fleet.decisions)
        if not decisions:
            raise CommandError("Nothing was asked yet.", "/route shows where the next question would go.")
        question = _question_of(decisions[-1])
        return [
            _decided(number, each)
            for number, each in enumerate((one for one in decisions if _question_of(one) == question), 1)
        ]

    @command("breaker.list", slash="breakers")
    async def breakers(self) -> list[BreakerRow]:
        """List the circuit breakers and what they have seen."""
        return [
            BreakerRow(
                provider,
                model,
                view.state.replace("_", " "),
                view.reason,
                _seen(view),
                view.calls,
                view.failures,
                view.slow,
                view.retry_in_s,
            )
            for provider, model, view in self._client.breakers()
        ]

    @command("breaker.open", audited=True)
    async def hold_open(self, provider: str) -> str:
        """Ask a provider nothing more until its breaker is reset."""
        return self._force(provider, "open", f"{provider} is not asked any more; /breaker.reset {provider} ends that.")

    @command("breaker.close", audited=True)
    async def hold_closed(self, provider: str) -> str:
        """Go on asking a provider whatever happens, until its breaker is reset."""
        return self._force(
            provider, "closed", f"{provider} is asked whatever happens; /breaker.reset {provider} ends that."
        )

    @command("breaker.reset", audited=True)
    async def reset(self, provider: str) -> str:
        """Let a provider's breaker go by what it sees again."""
        return self._force(provider, None, f"The breaker of {provider} goes by what it sees again.")

    def _force(self, provider: str, to: Literal["open", "closed"] | None, done: str) -> str:
        try:
            self._client.force(provider, None, to)
        except InvalidRequest as error:
            raise CommandError(str(error), error.hint) from None
        return done


def _question_of(decision: Decision) -> str:
    return turn_of(decision.request_id)


def _decided(number: int, decision: Decision) -> RouteRow:
    """One attempt: who was asked, and what spoke for that against the others."""
    asked = next(each for each in decision.route if each.provider == decision.provider)
    others = [each for each in decision.route if each.provider != decision.provider]
    against = "; ".join(f"{each.provider}: {each.reason or f'{each.score:.2f} s, tier {each.tier}'}" for each in others)
    verdict = f"attempt {number}{', although ' + asked.reason if asked.reason else ''}"
    why = _why(asked) + (f" · against {against}" if against else "")
    return RouteRow(number, decision.provider, verdict, why, asked.tier, round(asked.score, 3))


def _row(place: int, each: Ranked, asked: list[Ranked]) -> RouteRow:
    verdict = "asked first" if asked[:1] == [each] else "asked next" if each in asked else f"not asked: {each.reason}"
    return RouteRow(place, each.provider, verdict, _why(each), each.tier, round(each.score, 3))


def _why(each: Ranked) -> str:
    terms = " + ".join(f"{seconds:.2f} {name}" for name, seconds in each.terms).replace("+ -", "- ")
    return f"tier {each.tier}, {each.score:.2f} s" + (f" = {terms}" if terms else "")


def _seen(view: BreakerView) -> str:
    slow = f", {view.slow} slow" if view.slow else ""
    again = f"; tried again in {view.retry_in_s:.0f} s" if view.state == "open" and view.retry_in_s else ""
    return f"{view.failures} of {view.calls} failed{slow}{again}" if view.calls else f"nothing yet{again}"
