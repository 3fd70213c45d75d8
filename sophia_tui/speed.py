"""How fast an answer is arriving, for the status bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 3.0
CHARS_PER_TOKEN = 4.0
"""Only while streaming; the server's own count replaces the estimate at the end."""


class Speed:
    """Characters over the last seconds, told as tokens per second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._chars = 0

    def add(self, chars: int) -> None:
        """Counts text that has just arrived."""
        now = self._clock()
        self._seen.append((now, chars))
        self._chars += chars
        while self._seen and now - self._seen[0][0] > WINDOW_SECONDS:
            self._chars -= self._seen.popleft()[1]

    @property
    def tokens_per_s(self) -> float | None:
        """None until there is enough to tell."""
        if len(self._seen) < 2:
            return None
        span = self._seen[-1][0] - self._seen[0][0]
        return self._chars / CHARS_PER_TOKEN / span if span > 0.2 else None
