"""Waiting that can be cut short: for work in the background that is due at a time, or when something changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def woken_within(
    woken: asyncio.Event, seconds: float | None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Wait so long (None: for ever), or until the event is set. `sleep` is there for tests."""
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(woken.wait())]
    if seconds is not None:
        waits.append(asyncio.ensure_future(sleep(seconds)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
