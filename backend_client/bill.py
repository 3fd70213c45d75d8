"""What an answer of a paid provider costs: held back from the cap while it is under way, counted when it is over.

A server tells the cost at the end of an answer. One that is cancelled or breaks off costs money all the same, and so
does one whose server tells nothing: those are estimated from what was sent and what came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from backend_client.routing import TYPICAL_ANSWER, TYPICAL_PROMPT, UNKNOWN_PRICE_USD
from backend_client.types import ReasoningChunk, TextChunk, ToolCallChunk

if TYPE_CHECKING:
    from backend_client.fleet import CostCap
    from backend_client.types import ChatRequest, Chunk, Provider, UsageChunk

CHARACTERS_PER_TOKEN: Final = 4
TOKENS_PER_IMAGE: Final = 1000
LONG_ANSWER: Final = 2000
"""Tokens that are held back for at most: few answers are as long as they may be."""
_UNKNOWN: Final = (UNKNOWN_PRICE_USD / 2 / TYPICAL_PROMPT, UNKNOWN_PRICE_USD / 2 / TYPICAL_ANSWER)
"""USD per token of the prompt and of the answer, where no price is configured."""


class Bill:
    """The costs of one request at one provider. Settled once; later words change nothing."""

    __slots__ = (
        "_cap", "_characters", "_held", "_prices", "_prompt_tokens", "_settled", "_told", "by_prices", "sent",
    )  # fmt: skip

    def __init__(self, provider: Provider, request: ChatRequest, cap: CostCap) -> None:
        self.sent = False
        """The request is on its way to the server."""
        self.by_prices = provider.price_prompt is not None and provider.price_completion is not None
        """What is estimated is reckoned by what the settings say, and is no mere guess of what such an answer costs."""
        self._prices = _prices_of(provider)
        self._prompt_tokens = _tokens_of(request)
        self._characters = 0
        self._told: float | None = None
        self._settled = False
        self._cap = cap
        self._held = self._cost(self._prompt_tokens, _length_of(request))
        cap.reserved_usd += self._held

    def came(self, chunks: Iterable[Chunk]) -> None:
        """These came of the answer."""
        for chunk in chunks:
            match chunk:
                case TextChunk(text) | ReasoningChunk(text) | ToolCallChunk(arguments=text):
                    self._characters += len(text)

    def told(self, usage: UsageChunk) -> None:
        """The server says what it took, and perhaps what that costs."""
        cost = usage.cost_usd
        self._told = self._cost(usage.prompt_tokens, usage.completion_tokens) if cost is None else cost

    def settle(self, *, owed: bool) -> float | None:
        """Count the cost, and return it; None when nothing is `owed`, because the server refused or was not reached."""
        if self._settled:
            return None
        self._settled = True
        self._cap.reserved_usd = max(0.0, self._cap.reserved_usd - self._held)
        if self._told is None and not (owed and self.sent):
            return None
        cost = self._told
        if cost is None:
            cost = self._cost(self._prompt_tokens, -(-self._characters // CHARACTERS_PER_TOKEN))
        self._cap.spent_usd += cost
        return cost

    def _cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        return prompt_tokens * self._prices[0] + answer_tokens * self._prices[1]


def _prices_of(provider: Provider) -> tuple[float, float]:
    if provider.price_prompt is None and provider.price_completion is None:
        return _UNKNOWN
    return (provider.price_prompt or 0.0) / 1e6, (provider.price_completion or 0.0) / 1e6


def _tokens_of(request: ChatRequest) -> int:
    characters = sum(len(message.content) for message in request.messages)
    return characters // CHARACTERS_PER_TOKEN + sum(len(each.images) for each in request.messages) * TOKENS_PER_IMAGE


def _length_of(request: ChatRequest) -> int:
    most = request.max_tokens
    return TYPICAL_ANSWER if most is None or most <= 0 else min(most, LONG_ANSWER)
