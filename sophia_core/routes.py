"""Where questions go: the commands that show it, and those that hold a provider's breaker open or closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backend_client.errors import InvalidRequest
from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from backend_client import BackendClient
    from backend_client.breaker import BreakerView
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


class Routes:
    """The commands about the way of a question."""

    def __init__(self, client: BackendClient, current: Current) -> None:
        self._client, self._current = client, current

    @command("route.explain", slash="route")
    async def explain(self, provider: str | None = None) -> list[RouteRow]:
        """Show where the next question would go, and why."""
        try:
            route = self._client.explain(provider=provider or self._current.provider)
        except InvalidRequest as error:
            raise CommandError(str(error), error.hint) from None
        asked = [each for each in route if each.refusal is None]
        return [_row(place, each, asked) for place, each in enumerate(route, 1)]

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

    @command("breaker.open")
    async def hold_open(self, provider: str) -> str:
        """Ask a provider nothing more until its breaker is reset."""
        return self._force(provider, "open", f"{provider} is not asked any more; breaker.reset {provider} ends that.")

    @command("breaker.close")
    async def hold_closed(self, provider: str) -> str:
        """Go on asking a provider whatever happens, until its breaker is reset."""
        return self._force(provider, "closed", f"{provider} is asked whatever happens; breaker.reset ends that.")

    @command("breaker.reset")
    async def reset(self, provider: str) -> str:
        """Let a provider's breaker go by what it sees again."""
        return self._force(provider, None, f"The breaker of {provider} goes by what it sees again.")

    def _force(self, provider: str, to: Literal["open", "closed"] | None, done: str) -> str:
        try:
            self._client.force(provider, None, to)
        except InvalidRequest as error:
            raise CommandError(str(error), error.hint) from None
        return done


def _row(place: int, each: Ranked, asked: list[Ranked]) -> RouteRow:
    terms = " + ".join(f"{seconds:.2f} {name}" for name, seconds in each.terms).replace("+ -", "- ")
    why = f"tier {each.tier}, {each.score:.2f} s" + (f" = {terms}" if terms else "")
    verdict = "asked first" if asked[:1] == [each] else "asked next" if each in asked else f"not asked: {each.reason}"
    return RouteRow(place, each.provider, verdict, why, each.tier, round(each.score, 3))


def _seen(view: BreakerView) -> str:
    slow = f", {view.slow} slow" if view.slow else ""
    again = f"; tried again in {view.retry_in_s:.0f} s" if view.state == "open" and view.retry_in_s else ""
    return f"{view.failures} of {view.calls} failed{slow}{again}" if view.calls else f"nothing yet{again}"
