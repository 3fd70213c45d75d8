"""An answer that has begun: its chunks, and what its end means for the provider it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from backend_client.budget import RetryBudget
from backend_client.errors import BackendError
from backend_client.exchange import Exchange
from backend_client.happenings import AnswerEnded, Hook
from backend_client.types import Chunk, Routed, UsageChunk

if TYPE_CHECKING:
    from backend_client.placing import Place


class Answer:
    """Nothing is tried again from here on. Close it, whatever happens."""

    def __init__(
        self,
        exchange: Exchange,
        place: Place,
        routed: Routed,
        first_token_s: float,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        *,
        hook: Hook,
        budget: RetryBudget,
    ) -> None:
        self._exchange, self._place, self._routed = exchange, place, routed
        self._first_token_s, self._clock, self._redact = first_token_s, clock, redact
        self._began_at = clock()
        self._hook, self._budget, self._bill = hook, budget, place.bill
        self._usage: UsageChunk | None = None
        self.opening: list[Chunk] = [routed, *self._priced(exchange.opening)]
        """What is there already; Routed is the first."""

    async def more(self) -> list[Chunk] | None:
        """Return the next chunks, or None at the end. Raises the error that ends the answer early."""
        try:
            chunks = await self._exchange.more()
        except BackendError as error:
            failure = error.placed(self._routed.provider, self._routed.request_id, self._redact)
        else:
            if chunks is None:
                self._end("complete")
                return None
            self._place.goes_well(self._clock() - self._began_at)
            return self._priced(chunks)
        self._end("failed", failure)
        raise failure

    async def aclose(self) -> None:
        """Close the connection at once; an answer that was not over counts as cancelled."""
        try:
            await self._exchange.aclose()
        finally:
            self._end("complete" if self._exchange.complete else "cancelled")

    def _priced(self, chunks: list[Chunk]) -> list[Chunk]:
        for index, chunk in enumerate(chunks):
            if type(chunk) is UsageChunk:
                chunks[index] = self._usage = self._place.station.provider.priced(chunk, self._routed.model)
                if self._bill is not None:
                    self._bill.told(self._usage)
        if self._bill is not None:
            self._bill.came(chunks)
        return chunks

    def _end(self, outcome: Literal["complete", "failed", "cancelled"], error: BackendError | None = None) -> None:
        if self._place.settled:
            return
        if error is not None:
            self._place.failed(error)
        elif outcome == "complete":
            self._place.succeeded()
            self._budget.success()
        else:
            self._place.cancelled()
        usage = self._usage
        self._hook(
            AnswerEnded(
                self._routed.request_id,
                self._routed.provider,
                self._routed.model,
                outcome,
                self._first_token_s,
                self._first_token_s + self._clock() - self._began_at,
                usage.prompt_tokens if usage else None,
                usage.completion_tokens if usage else None,
                usage.cost_usd if usage and usage.cost_usd is not None else self._place.cost_usd,
                error.error_type if error else None,
                self._exchange.accepted_s,
                self._exchange.times,
                usage is None and self._bill is not None and self._bill.by_prices,
            )
        )
