"""One ranking from several, by where each thing stands in them and not by what they say of it.

Scores of a word index and distances of vectors cannot be compared; places can. A thing gets 1/(60 + place) from every
ranking it is in (Cormack, Clarke and Büttcher, 2009), so what both find comes before what only one puts first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

DAMPING = 60
Thing = TypeVar("Thing", bound=Hashable)


def fused(rankings: Iterable[Sequence[Thing]]) -> list[Thing]:
    """Return everything in any of the rankings, best first; of equals, the one that was met first."""
    scores: dict[Thing, float] = {}
    for ranking in rankings:
        for place, thing in enumerate(dict.fromkeys(ranking), 1):
            scores[thing] = scores.get(thing, 0.0) + 1 / (DAMPING + place)
    return sorted(scores, key=lambda thing: -scores[thing])
