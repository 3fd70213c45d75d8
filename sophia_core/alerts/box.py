"""Where deliveries wait: in the store, or in memory while that is locked or cannot be written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from local_store.deliveries import Delivery, Post

MOST: Final = 2_000


class Box(Protocol):
    """What `local_store.deliveries.Deliveries` does, as far as whoever delivers needs it."""

    async def post(self, posts: Sequence[Post]) -> list[str]: ...
    async def claim(self, receiver: str, now_ms: int, most: int = 1) -> list[Delivery]: ...
    async def done(self, delivery_id: str) -> None: ...
    async def release(self, delivery_id: str, *, retry_at_ms: int, error: str, counted: bool = True) -> None: ...
    async def bury(self, delivery_id: str, error: str) -> None: ...
    async def due(self) -> dict[str, int]: ...


class MemoryBox:
    """A box that is gone with the process. What is in it moves into the store as soon as that is open."""

    def __init__(self) -> None:
        self._waiting: dict[str, Delivery] = {}
        self._numbers = itertools.count(1)
        self.lost = 0
        """How many made room for others."""

    def __len__(self) -> int:
        return len(self._waiting)

    async def post(self, posts: Sequence[Post]) -> list[str]:
        """Take them; the oldest make room where there are too many."""
        from local_store.deliveries import Delivery

        made = [f"memory-{next(self._numbers)}" for _ in posts]
        for id_, each in zip(made, posts, strict=True):
            self._waiting[id_] = Delivery(id_, each.receiver, each.key, each.payload, "ready", 0, "", 0, 0)
        idle = [id_ for id_, each in self._waiting.items() if each.state != "sending"]
        for id_ in idle[: max(0, len(self._waiting) - MOST)]:
            del self._waiting[id_]
            self.lost += 1
        return made

    async def claim(self, receiver: str, now_ms: int, most: int = 1) -> list[Delivery]:
        """The next that may be sent, from now on being sent."""
        found = [each for each in self._next() if each.receiver == receiver and each.retry_at <= now_ms][:most]
        claimed = [replace(each, state="sending", created_at=each.created_at or now_ms) for each in found]
        self._waiting.update((each.id, each) for each in claimed)
        return claimed

    def _next(self) -> list[Delivery]:
        first: dict[tuple[str, str], Delivery] = {}
        for each in self._waiting.values():
            first.setdefault((each.receiver, each.key), each)
        return [each for each in first.values() if each.state == "ready"]

    async def done(self, delivery_id: str) -> None:
        """It was taken."""
        self._waiting.pop(delivery_id, None)

    async def release(self, delivery_id: str, *, retry_at_ms: int, error: str, counted: bool = True) -> None:
        """It may be sent again."""
        if (each := self._waiting.get(delivery_id)) is not None:
            attempts = each.attempts + int(counted)
            again = replace(each, state="ready", retry_at=retry_at_ms, error=error, attempts=attempts)
            self._waiting[delivery_id] = again

    async def bury(self, delivery_id: str, error: str) -> None:
        """Nobody keeps dead letters in memory: it has been told that it failed."""
        self._waiting.pop(delivery_id, None)

    async def due(self) -> dict[str, int]:
        """When each receiver's next may be sent."""
        soonest: dict[str, int] = {}
        for each in self._next():
            soonest[each.receiver] = min(each.retry_at, soonest.get(each.receiver, each.retry_at))
        return soonest

    def take(self) -> list[Delivery]:
        """Everything that is not being sent just now; it is here no more."""
        taken = [each for each in self._waiting.values() if each.state == "ready"]
        for each in taken:
            del self._waiting[each.id]
        return taken

    @property
    def sending(self) -> bool:
        """Whether anything of it is under way."""
        return any(each.state == "sending" for each in self._waiting.values())
