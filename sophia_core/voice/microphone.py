"""An open microphone: its frames in order, and from another one where it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from sophia_core.voice.ports import FRAME_MS, AudioTrouble, DeviceLost, Devices, Frame

WAITING: Final = 10_000 // FRAME_MS
"""Frames that are kept while a detector is loaded; the oldest go first."""
STEADY: Final = 10_000 // FRAME_MS
"""After so many frames a microphone counts as one that works."""
AGAIN_S: Final = (0.2, 1.0, 3.0)
"""How long is waited before a lost microphone is opened once more."""
Lost = Callable[[DeviceLost], None]


async def frames_of(
    devices: Devices,
    device: str | None,
    on_lost: Lost,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncGenerator[Frame, None]:
    """Yield frames until this is closed; a microphone that is lost is replaced by the system's own one.

    Raises AudioTrouble where there is none, or where they are lost again and again.
    """
    lost = given = 0
    while True:
        try:
            async with aclosing(_pumped(devices, device)) as frames:
                async for frame in frames:
                    given += 1
                    lost = 0 if given > STEADY else lost
                    yield frame
            raise DeviceLost("The microphone gives no more sound.")
        except DeviceLost as trouble:
            if lost >= len(AGAIN_S):
                raise
            on_lost(trouble)
        await sleep(AGAIN_S[lost])
        device, lost, given = None, lost + 1, 0


async def _pumped(devices: Devices, device: str | None) -> AsyncGenerator[Frame, None]:
    """The frames of one microphone, taken off it at once; it is closed when this is."""
    waiting: asyncio.Queue[Frame | None] = asyncio.Queue()
    pump = asyncio.create_task(_pump(devices.listen(device), waiting), name="microphone")
    try:
        while (frame := await waiting.get()) is not None:
            yield frame
        await pump
    finally:
        pump.cancel()
        await asyncio.wait([pump])
        if not pump.cancelled() and (error := pump.exception()) and not isinstance(error, AudioTrouble):
            raise error


async def _pump(frames: AsyncIterator[Frame], waiting: asyncio.Queue[Frame | None]) -> None:
    try:
        async for frame in frames:
            if waiting.qsize() >= WAITING:
                waiting.get_nowait()
            waiting.put_nowait(frame)
    finally:
        waiting.put_nowait(None)
        if (close := getattr(frames, "aclose", None)) is not None:
            await close()
