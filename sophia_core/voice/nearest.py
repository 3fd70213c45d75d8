"""The devices nearest to the person: those at the far end of a bridge where one answers, else this machine's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from sophia_core.voice.ports import Device, Devices, Frame, Playback

ASKED_AGAIN_S: Final = 5.0
"""A bridge that did not answer is asked again after so long, and one that did, too: links come and go."""


class Bridge(Devices, Protocol):
    """Devices at the far end of a bridge."""

    async def present(self) -> bool:
        """Say whether it answers now."""
        ...


class NearestDevices:
    """Chooses anew whenever something is opened; what is open stays where it is."""

    def __init__(
        self,
        local: Callable[[], Devices],
        bridge: Callable[[], Bridge],
        announced: Callable[[], Sequence[object]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`announced` says, without asking anybody, where bridges may be; none is asked where there are none."""
        self._make_local, self._make_bridge, self._announced, self._clock = local, bridge, announced, clock
        self._local: Devices | None = None
        self._bridge: Bridge | None = None
        self._answers, self._asked_at = False, float("-inf")
        self._asking = asyncio.Lock()
        self.name = "this machine"
        """Of the devices that were used last."""

    async def list(self) -> list[Device]:
        """Return all microphones and loudspeakers. Raises AudioTrouble."""
        return await (await self.nearest()).list()

    async def listen(self, device: str | None = None) -> AsyncGenerator[Frame]:
        """Open the microphone until the iterator is closed. Raises NoAudio, DeviceLost, AudioTrouble."""
        nearest = await self.nearest()
        async with aclosing(nearest.listen(device)) as frames:  # type: ignore[type-var]
            async for frame in frames:
                yield frame

    async def play(self, rate: int, device: str | None = None) -> Playback:
        """Begin to play sound of this rate. Raises NoAudio, AudioTrouble."""
        return await (await self.nearest()).play(rate, device)

    async def nearest(self) -> Devices:
        """The ones to use now."""
        if await self.bridged() and self._bridge is not None:
            nearest: Devices = self._bridge
        else:
            self._local = nearest = self._local or self._make_local()
        self.name = nearest.name
        return nearest

    async def bridged(self) -> bool:
        """Whether a bridge answers now."""
        if not await asyncio.to_thread(self._announced):
            return False
        async with self._asking:
            if self._clock() - self._asked_at >= ASKED_AGAIN_S:
                if self._bridge is None:
                    self._bridge = self._make_bridge()
                self._answers = await self._bridge.present()
                self._asked_at = self._clock()
        return self._answers

    async def close(self) -> None:
        """End all that is open."""
        for each in (self._bridge, self._local):
            if each is not None:
                await each.close()
        self._bridge = self._local = None
