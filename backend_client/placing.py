"""A request's place at a provider: its turn in the queue, the breaker's permit, and what becomes of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from backend_client.bill import Bill
from backend_client.breaker import Permit
from backend_client.errors import BUDGET_HINT, AllUnavailable, BackendError, CostCapReached, InvalidRequest
from backend_client.fleet import Station
from backend_client.limiter import Slot
from backend_client.retry import failure_kind, refuses_us
from backend_client.routing import Ranked

PROVED_S: Final = 2.0
"""An answer that has been coming for so long shows that its provider is back."""


class Place:
    """Held from the moment a request may go until its answer is over. Settled once; later words change nothing."""

    def __init__(self, station: Station, slot: Slot, permit: Permit, bill: Bill | None = None) -> None:
        self.station = station
        self.settled = self._began = False
        self.bill = bill
        """What the answer costs, where it costs anything."""
        self.cost_usd: float | None = None
        """What it has cost, once that is settled and where the cap counts it."""
        self._slot, self._permit = slot, permit

    def sent(self) -> None:
        """The request goes to the server now."""
        if self.bill is not None:
            self.bill.sent = True

    def began(self, first_token_s: float) -> None:
        """The answer begins, so many seconds after the request was sent."""
        self._began = True
        self._permit.first_token(first_token_s)
        self.station.answered(first_token_s)

    def goes_well(self, since_s: float) -> None:
        """The answer has been coming for so long. Held to the end of a long one, a probe would keep all others out."""
        if self._permit.probe and since_s >= PROVED_S:
            self._permit.success()

    def succeeded(self) -> None:
        """The answer is complete."""
        self._settle(self._permit.success)

    def failed(self, error: BackendError) -> None:
        """It could not be given, or broke off."""
        if refuses_us(error):
            self.station.shun(error.message)
        elif self._began:
            self.station.broke_off()
        kind = failure_kind(error)
        # A server that refuses takes nothing for it; one that falls silent may have done all the work.
        owed = self._began or (error.status is None and error.reached)
        if kind is None:
            self._settle(self._permit.success, owed=owed)
        else:
            self._settle(lambda: self._permit.failure(kind, error.message, error.retry_after), owed=owed)

    def cancelled(self) -> None:
        """Nobody wants it any more: that says nothing about the provider."""
        self._settle(self._permit.cancelled)

    def _settle(self, tell: Callable[[], None], *, owed: bool = True) -> None:
        if not self.settled:
            self.settled = True
            if self.bill is not None:
                self.cost_usd = self.bill.settle(owed=owed)
            self._slot.release()
            tell()


def nowhere(ranked: Sequence[Ranked], needs: frozenset[str]) -> BackendError:
    """Return the error for a request that no provider may be asked for now."""
    out = [each for each in ranked if each.refusal == "breaker"]
    capped = [each for each in ranked if each.refusal in ("cap", "budget")]
    if not out and capped and capped[0].refusal == "budget":
        return CostCapReached(capped[0].reason, hint=BUDGET_HINT)
    if not out and capped:
        return CostCapReached(f"only paid providers could answer, and {capped[0].reason}")
    if not out and all(each.refusal in ("capability", "model") for each in ranked):
        wanted = ", ".join(sorted(needs))
        return InvalidRequest(
            f"no provider is configured that can do {wanted}", hint="See `capabilities` in docs/settings.md."
        )
    told = "; ".join(f"{each.provider}: {each.reason}" for each in ranked) or "none is configured"
    wait = min((each.retry_in_s for each in out), default=None)
    return AllUnavailable(f"nobody can answer now ({told})", retryable=bool(out), retry_after=wait)
