"""Who is asked first, and why. Pure: it sees what is known of each provider and returns the order.

Providers of a lower tier always come first. Within a tier everything that speaks for or against one is turned into
seconds (of waiting, or as good as) and added up, so that the sum can be shown term by term; the least is asked first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Refusal: TypeAlias = Literal["breaker", "forced", "capability", "model", "cap", "budget", "shunned"]

SLOW_START_S: Final = 30.0
"""How long a provider that was out takes to get back its full share (Envoy calls it the slow-start window)."""
SLOW_START_SHARE: Final = 0.1
"""The share of requests it gets at once."""
BROKEN_FOR_S: Final = 30.0
WARMING_S: Final = 5.0
"""What a provider that is coming back is set behind the others by, for a request it does not get yet."""
TYPICAL_PROMPT: Final = 1000
TYPICAL_ANSWER: Final = 500
"""Tokens that a price is reckoned for."""
UNKNOWN_PRICE_USD: Final = 0.005
"""What an answer of a paid provider without known prices is taken to cost."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each thing counts, in seconds."""

    place_s: float = 0.5
    """Per place further down in the order the person gave; what keeps a small difference from moving anything."""
    waiting_s: float = 0.25
    """Per request that waits at the server or in our own queue before it."""
    region_s: float = 0.3
    """For standing in another region."""
    unknown_first_token_s: float = 0.5
    """Taken for the first token of a provider that has not answered yet."""
    habit_s: float = 0.5
    """For the provider that answered this conversation last: it has the beginning of it in its prefix cache."""
    broken_s: float = 3.0
    """For having broken off an answer just now; less with every second, nothing after `BROKEN_FOR_S`."""
    dollar_s: float = 20.0
    """Per dollar of a typical answer."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one provider when a request has to be placed."""

    provider: str
    tier: int
    place: int
    """0 for the first in the order the person gave."""
    first_token_s: float | None
    """Moving average of the time to its first token."""
    waiting: float
    other_region: bool
    habit: bool
    price_usd: float
    """Of a typical answer."""
    broken: float
    """1 when it has just broken off an answer, down to 0 when that is long ago."""
    warming: bool
    """It has just come back, and this request is not of the share it gets already."""
    refusal: Refusal | None = None
    reason: str = ""
    """Why it is not asked, in words."""
    retry_in_s: float = 0.0
    saturating_s: float = 0.0
    """What it is set behind the others by, as its server is about to be full."""
    odd_s: float = 0.0
    """What it is set behind the others by, as it behaves unlike itself."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One provider's place in the route of a request, with the reasons."""

    provider: str
    tier: int
    score: float
    """Seconds; the least is asked first."""
    terms: tuple[tuple[str, float], ...]
    """What the score is made of; only what counts."""
    refusal: Refusal | None = None
    reason: str = ""
    retry_in_s: float = 0.0


def rank(candidates: Iterable[Candidate], weights: Weights) -> tuple[Ranked, ...]:
    """Return all candidates, those that can be asked first, each group by tier and score."""
    ranked = [_ranked(each, weights) for each in candidates]
    return tuple(sorted(ranked, key=lambda each: (each.refusal is not None, each.tier, each.score)))


def _ranked(one: Candidate, weights: Weights) -> Ranked:
    terms = [
        ("first token", weights.unknown_first_token_s if one.first_token_s is None else one.first_token_s),
        ("place in the config", one.place * weights.place_s),
        ("waiting requests", one.waiting * weights.waiting_s),
        ("other region", weights.region_s if one.other_region else 0.0),
        ("price", one.price_usd * weights.dollar_s),
        ("knows this session", -weights.habit_s if one.habit else 0.0),
        ("broke off lately", one.broken * weights.broken_s),
        ("coming back", WARMING_S if one.warming else 0.0),
        ("about to saturate", one.saturating_s),
        ("behaves oddly", one.odd_s),
    ]
    counted = tuple((name, seconds) for name, seconds in terms if seconds)
    score = sum(seconds for _, seconds in counted)
    return Ranked(one.provider, one.tier, score, counted, one.refusal, one.reason, one.retry_in_s)


def share_of(returned_s: float | None) -> float:
    """Return the share of requests, 0 to 1, for a provider that came back so many seconds ago; None: long ago."""
    if returned_s is None or returned_s >= SLOW_START_S:
        return 1.0
    return SLOW_START_SHARE + (1.0 - SLOW_START_SHARE) * max(0.0, returned_s) / SLOW_START_S


def typical_price(price_prompt: float | None, price_completion: float | None, *, paid: bool) -> float:
    """Return what a typical answer costs in USD; prices are per million tokens."""
    if price_prompt is None and price_completion is None:
        return UNKNOWN_PRICE_USD if paid else 0.0
    return ((price_prompt or 0.0) * TYPICAL_PROMPT + (price_completion or 0.0) * TYPICAL_ANSWER) / 1e6
