"""What steps do this moment, written over at most four times a second, however often it is said."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from local_store.errors import StoreError
from sophia_core.swarm.run_log import Live, RunLog

EVERY_S: Final = 0.25
LONGEST: Final = 4000


class Lives:
    """Keeps the newest word of each step until it is written."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._new: dict[tuple[str, str], Live] = {}
        self._task: asyncio.Task[None] | None = None

    def show(self, live: Live) -> None:
        """Takes the place of what was said of the step before."""
        self._new[live.run_id, live.step] = live
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="swarm-live")

    def forget(self, run_id: str) -> None:
        """Says nothing more of a run."""
        for key in [each for each in self._new if each[0] == run_id]:
            del self._new[key]

    async def _write(self) -> None:
        while self._new:
            await asyncio.sleep(EVERY_S)
            new, self._new = list(self._new.values()), {}
            now = int(time.time() * 1000)
            with contextlib.suppress(StoreError):
                await self._log.say_live([_bearable(each, now) for each in new])

    async def close(self) -> None:
        """Writes nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


def _bearable(live: Live, now: int) -> Live:
    text = live.text[-LONGEST:]
    return Live(live.run_id, live.step, live.at or now, live.action[:200], text, live.tokens_out, live.tokens_per_s)
