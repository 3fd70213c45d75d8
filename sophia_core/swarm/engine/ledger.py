"""Writes down what many say at the same time, together: one transaction costs little more than one event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from sophia_core.swarm.run_log import Happened, Saying

LONGEST_TEXT: Final = 60_000
MOST: Final = 250
"""Events of one transaction, so that others who write wait little."""


class Log(Protocol):
    """Where it is written down."""

    async def write_all(self, said: Sequence[Saying]) -> Sequence[int]: ...


class Pen:
    """Keeps the order in which things were said."""

    def __init__(self, log: Log, told: Callable[[Happened], None] = lambda event: None) -> None:
        """`told` hears what is new as soon as it is written, so that nobody has to read it back."""
        self._log, self._told = log, told
        self._waiting: list[tuple[Saying, asyncio.Future[int]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, *said: Saying) -> list[int]:
        """The number of each in its run, 0 of one that was not new, once all are written. Raises StoreError."""
        loop = asyncio.get_running_loop()
        mine: list[asyncio.Future[int]] = [loop.create_future() for _ in said]
        self._waiting += zip(said, mine, strict=True)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        # Who asked may be stopped; what was said is written all the same.
        await asyncio.shield(asyncio.gather(*mine, return_exceptions=True))
        return [each.result() for each in mine]

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[tuple[Saying, asyncio.Future[int]]]) -> None:
        try:
            numbers = await self._log.write_all([said for said, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                # One that cannot be written must not take the others with it.
                for each in batch:
                    await self._write_batch([each])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (said, future), number in zip(batch, numbers, strict=True):
            if number:
                self._told(_happened(said, number))
            if not future.done():
                future.set_result(number)


def _happened(said: Saying, number: int) -> Happened:
    """The event as it would be read back."""
    return Happened(said.run_id, number, 0, said.kind, said.step, json.loads(json.dumps(said.detail)))


def bearable(detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detail with its long texts cut, as the log takes it."""
    return {key: _cut(value, LONGEST_TEXT) for key, value in detail.items()}


def _cut(value: Any, longest: int) -> Any:
    match value:
        case str() if len(value) > longest:
            note = f"\n[… {len(value) - longest:,} characters are left out …]\n"
            return value[: longest // 2] + note + value[-longest // 2 :]
        case Mapping():
            return {str(key): _cut(each, longest // 2) for key, each in list(value.items())[:200]}
        case list() | tuple():
            return [_cut(each, longest // 2) for each in value[:200]]
    return value
