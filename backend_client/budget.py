"""How many retries may be made. When most calls fail, trying each of them again makes an overload worse."""

from __future__ import annotations

from typing import Final

_ROUNDING: Final = 1e-9


class RetryBudget:
    """A retry costs, a success gives a little back: in the long run one retry for every ten successes."""

    __slots__ = ("_capacity", "_cost", "_level", "_refund")

    def __init__(self, capacity: float = 20.0, cost: float = 2.0, refund: float = 0.2) -> None:
        if not 0 < cost <= capacity or refund < 0:
            raise ValueError("a retry costs more than nothing and no more than the capacity; a refund is not negative")
        self._capacity = capacity
        self._cost = cost
        self._refund = refund
        self._level = capacity

    @property
    def level(self) -> float:
        """What is left, between 0 and the capacity."""
        return self._level

    def take(self) -> bool:
        """Pay for one retry; False means that there shall be none now."""
        # Ten refunds of 0.2 add up to a hair less than 2.0.
        if self._level + _ROUNDING < self._cost:
            return False
        self._level = max(0.0, self._level - self._cost)
        return True

    def success(self) -> None:
        """A call succeeded."""
        self._level = min(self._capacity, self._level + self._refund)
