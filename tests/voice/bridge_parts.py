"""Both ends of a bridge in one process: devices that are only numbers, and a link that is slow or falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sophia_core.voice.bridge.devices import BridgeDevices
from sophia_core.voice.bridge.places import Place
from sophia_core.voice.bridge.server import Bridge
from sophia_core.voice.bridge.wire import new_token
from sophia_core.voice.ports import FRAME_BYTES, FRAME_MS, SAMPLE_BYTES, AudioTrouble, Device, Frame, Notice

PATIENCE_S = 20.0


class ToyPlayback:
    """Plays in real time, and remembers what and when."""

    def __init__(self, rate: int, pace: float = 1.0) -> None:
        self.rate, self._pace = rate, pace
        self.heard = bytearray()
        self.pieces: list[tuple[float, int]] = []
        """When each piece came, and its bytes."""
        self.aborted_at: float | None = None
        self.finished = False
        self.paused = False
        self.gaps = 0
        """How often there was nothing to play in the midst of it."""
        self._ends_at = 0.0

    @property
    def first_at(self) -> float:
        return self.pieces[0][0]

    @property
    def heard_s(self) -> float:
        left = max(self._ends_at - time.monotonic(), 0.0) / self._pace
        return len(self.heard) / SAMPLE_BYTES / self.rate - left

    async def write(self, pcm: bytes) -> None:
        if self.aborted_at is not None:
            return
        now = time.monotonic()
        if self.pieces and now > self._ends_at:
            self.gaps += 1
        self.pieces.append((now, len(pcm)))
        self.heard += pcm
        self._ends_at = max(self._ends_at, now) + len(pcm) / SAMPLE_BYTES / self.rate * self._pace
        await asyncio.sleep(max(self._ends_at - now - 0.3, 0.0))

    async def pause(self) -> None:
        self.paused = True

    async def resume(self) -> None:
        self.paused = False

    async def finish(self) -> None:
        await asyncio.sleep(max(self._ends_at - time.monotonic(), 0.0))
        self.finished = True

    async def abort(self) -> None:
        if self.aborted_at is None:
            self.aborted_at = time.monotonic()


@dataclass
class ToyDevices:
    """A microphone whose frames are counted, and loudspeakers that remember."""

    name: str = "toys"
    pace: float = 1.0
    """Seconds that a second of sound takes."""
    frames: int | None = None
    """After so many the microphone is lost."""
    refuses: AudioTrouble | None = None
    played: list[ToyPlayback] = field(default_factory=list)
    opened: int = 0
    open: int = 0
    captured_at: list[float] = field(default_factory=list)

    async def list(self) -> list[Device]:
        if self.refuses:
            raise self.refuses
        return [Device("mic", "A \x1b[31mmicrophone", "input", True), Device("spk", "A loudspeaker", "output", True)]

    async def listen(self, device: str | None = None) -> AsyncGenerator[Frame]:
        if self.refuses:
            raise self.refuses
        self.opened += 1
        self.open += 1
        begun = time.monotonic()
        try:
            for number in itertools.count() if self.frames is None else range(self.frames):
                due = begun + number * FRAME_MS / 1000 * self.pace
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                self.captured_at.append(time.monotonic())
                yield Frame(numbered(number), 0.5)
            raise AudioTrouble("The microphone is gone.", "Plug it in.")
        finally:
            self.open -= 1

    async def play(self, rate: int, device: str | None = None) -> ToyPlayback:
        if self.refuses:
            raise self.refuses
        self.played.append(ToyPlayback(rate, self.pace))
        return self.played[-1]

    async def close(self) -> None:
        return


def numbered(number: int) -> bytes:
    """20 ms of sound that say which they are."""
    return (number % 32_768).to_bytes(2, "little") * (FRAME_BYTES // 2)


def number_of(frame: Frame) -> int:
    """Which frame this is; the first sample survives every coding."""
    return int.from_bytes(frame.pcm[:2], "little")


class Wire:
    """A relay on this machine whose two directions are late, stand still, or are cut."""

    def __init__(self, port: int, delay_s: float = 0.0, stalls: float = 0.0, stall_s: float = 0.2) -> None:
        """`delay_s` is how late each direction is; this part of the blocks, and all behind them, are later still."""
        self._target, self._delay_s = port, delay_s
        self._stalls, self._stall_s = stalls, stall_s
        self._random = random.Random(1)  # noqa: S311
        self.port = 0
        self.blocked = asyncio.Event()
        self.blocked.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.carried = {"up": 0, "down": 0}
        self.refusing = False
        self.bytes_per_s: float | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    def stand_still(self) -> None:
        """Carry nothing until `go_on`."""
        self.blocked.clear()

    def go_on(self) -> None:
        self.blocked.set()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        for name, source, target in (("up", reader, far_writer), ("down", far_reader, writer)):
            task = asyncio.create_task(self._carry(name, source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, name: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        carrying = asyncio.create_task(self._deliver(name, waiting, target))
        try:
            while block := await source.read(4096):
                waiting.put_nowait((time.monotonic() + self._delay_s, block))
            waiting.put_nowait((0.0, b""))
            await carrying
        except OSError:
            target.transport.abort()
        finally:
            carrying.cancel()

    async def _deliver(
        self, name: str, waiting: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
    ) -> None:
        while True:
            due, block = await waiting.get()
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            if self._random.random() < self._stalls:
                await asyncio.sleep(self._stall_s)
            await self.blocked.wait()
            if not block:
                target.close()
                return
            self.carried[name] += len(block)
            if self.bytes_per_s:
                await asyncio.sleep(len(block) / self.bytes_per_s)
            with contextlib.suppress(OSError):
                target.write(block)
                await target.drain()


@dataclass
class Ends:
    """A bridge, and devices at its other end."""

    toys: ToyDevices
    bridge: Bridge
    wire: Wire
    token: str
    devices: BridgeDevices
    notices: list[Notice]
    places: list[Place]

    def others(self, token: str | None = None) -> BridgeDevices:
        """Devices of another window of SOPHIA."""
        return BridgeDevices(lambda: [Place(str(self.wire.port), token or self.token)])


@asynccontextmanager
async def ends(
    toys: ToyDevices | None = None,
    *,
    delay_s: float = 0.0,
    stalls: float = 0.0,
    away_s: float = 10.0,
    give_up_s: float = 10.0,
    microphone: bool = True,
) -> AsyncIterator[Ends]:
    """Both ends, connected by a relay."""
    toys = toys or ToyDevices()
    token = new_token()
    bridge = Bridge(toys, token, name="laptop", microphone=microphone, away_s=away_s)
    wire = Wire(await bridge.open(), delay_s, stalls)
    await wire.open()
    notices: list[Notice] = []
    places = [Place(str(wire.port), token)]
    devices = BridgeDevices(lambda: places, on_notice=notices.append, give_up_s=give_up_s)
    try:
        yield Ends(toys, bridge, wire, token, devices, notices, places)
    finally:
        await devices.close()
        await bridge.close()
        await wire.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; fails when it never comes."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
