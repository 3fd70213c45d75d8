"""What events say about objectives: which of them something counts for, and whether it was good. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from sophia_core.events import AnswerEnded, AttemptFailed, Event, FailedOver, TurnFinished

if TYPE_CHECKING:
    from sophia_core.objectives.settings import Measure, Objective

OURS: Final = frozenset(
    {
        "authentication",
        "content_policy_violation",
        "context_length_exceeded",
        "invalid_request",
        "not_found",
        "payment_required",
        "permission_denied",
    }
)
"""Errors that are the asker's own doing; no objective is about them."""
OUR_FAULT: Final = frozenset({"caller", "account"})
EMBEDDED: Final = "embedded"
REMEMBERED: Final = 256


class Seen(NamedTuple):
    """One thing that counts: how it went, or how long it took."""

    measure: Measure
    ok: bool
    seconds: float | None = None


class Counting:
    """Makes events what counts. `embedded` says whether the model on this machine counts too.

    Where it answered because a server could not, the turn was not answered as was promised.
    """

    def __init__(self, embedded: bool = False) -> None:
        self._embedded = embedded
        self._moved: OrderedDict[str, None] = OrderedDict()

    def seen(self, event: Event) -> Iterator[Seen]:
        """Everything that an event says."""
        match event:
            case FailedOver(request_id=request):
                self._moved[request] = None
                while len(self._moved) > REMEMBERED:
                    self._moved.popitem(last=False)
            case AttemptFailed(fault=fault, provider=provider) if fault not in OUR_FAULT and self._counts(provider):
                yield Seen("errors", ok=False)
            case AnswerEnded(outcome="complete" | "failed") if self._counts(event.provider):
                if event.error_type not in OURS:
                    yield Seen("errors", ok=event.outcome == "complete")
                yield Seen("first token", ok=True, seconds=event.first_token_s)
                if event.accepted_s is not None:
                    yield Seen("api", ok=True, seconds=event.accepted_s)
            case TurnFinished():
                yield from self._turn(event)
            case _:
                pass

    def _turn(self, event: TurnFinished) -> Iterator[Seen]:
        fell_back = self._moved.pop(event.request_id, self) is None
        if event.cached_at is not None or event.status == "cancelled":
            return  # nobody was asked, or nobody waited for the end
        if event.status != "complete":
            if event.error_type not in OURS:
                yield Seen("answered", ok=False)
        elif event.provider is None or self._counts(event.provider):
            yield Seen("answered", ok=True)
        elif fell_back:
            yield Seen("answered", ok=False)

    def _counts(self, provider: str) -> bool:
        return self._embedded or provider != EMBEDDED


def good(objective: Objective, seen: Seen) -> bool:
    """Whether it was as the objective wants it."""
    return seen.ok and (objective.seconds is None or seen.seconds is None or seen.seconds <= objective.seconds)


def judged(objectives: Iterable[Objective], seen: Iterable[Seen], tell: Callable[[Objective, bool], None]) -> None:
    """Tells of each objective that something counts for whether it was good."""
    for each in seen:
        for objective in objectives:
            if objective.measure == each.measure:
                tell(objective, good(objective, each))
