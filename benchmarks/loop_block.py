"""How long the event loop of the app is held up while an answer streams, with and without typing.

    python -m benchmarks.loop_block [--tokens 6000] [--rate 200]      the long one: --tokens 20000

A block is one turn of the event loop, from the moment it learns that there is something to do until it waits again:
nothing else, no key and no byte, is noticed meanwhile. The selector takes the times, so nothing is sampled or missed.
Each interval between two frames of the transcript counts with its longest block. `CPU` is what the loop's own thread
spent, `wall` also has what other threads and other programs took, and tells how far to trust a run on a busy machine.
The baselines of the same run are the idle app and a bare Textual app that shows the same text in a `RichLog`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import selectors
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import COLUMNS, ROOT, ROWS, Spread, child_env, spread, table
from benchmarks.streaming_server import serving
from benchmarks.terminal import bare_app, fresh_home

if TYPE_CHECKING:
    from textual.app import App
    from textual.pilot import Pilot

    Drive = Callable[["Pilot[Any]", "Watch"], Awaitable[None]]

BUDGET_MS = 16.0
IDLE_SECONDS = 4.0
WINDOW = 1 / 15
"""Seconds that stand for a frame where nothing draws frames."""
KEY_SECONDS = 0.12
BARE_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Block:
    """One turn of the loop, in seconds; `ended` is monotonic."""

    ended: float
    wall: float
    cpu: float
    """Of the loop's own thread."""


class WatchedSelector(selectors.DefaultSelector):
    """Notes how long the loop was busy between two waits."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self._woke: tuple[float, float] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits like any selector; the time since the last wait ended was one block."""
        if self._woke is not None:
            now, cpu = time.monotonic(), time.thread_time()
            self.blocks.append(Block(now, now - self._woke[0], cpu - self._woke[1]))
        ready = super().select(timeout)
        self._woke = time.monotonic(), time.thread_time()
        return ready


@dataclass(slots=True)
class Watch:
    """What happened while one thing was measured."""

    selector: WatchedSelector
    frames: list[float] = field(default_factory=list)
    """When each frame had been drawn."""
    frame_cpu: list[float] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def phase(self, name: str, rows: list[dict[str, Any]]) -> AsyncIterator[None]:
        """Measures the block and adds its figures."""
        await asyncio.sleep(0)
        first, began, cpu = len(self.selector.blocks), time.monotonic(), time.process_time()
        drawn = len(self.frame_cpu)
        yield
        await asyncio.sleep(0)
        ended = time.monotonic()
        frames = [each for each in self.frames if began < each <= ended]
        blocks = self.selector.blocks[first:]
        edges = frames or [began + WINDOW * each for each in range(1, int((ended - began) / WINDOW) + 1)]
        rows.append(
            {
                "name": name,
                "longest": _ms(_longest(blocks, edges, cpu=True)),
                "longest_wall": _ms(_longest(blocks, edges, cpu=False)),
                "turns": _ms([each.cpu for each in blocks]),
                "frame": _ms(self.frame_cpu[drawn:]),
                "load": (time.process_time() - cpu) / (ended - began),
                "per_second": len(frames) / (ended - began),
            }
        )


def _ms(seconds: Sequence[float]) -> list[float]:
    found: Spread = spread([each * 1000 for each in seconds])
    return [found.p50, found.p95, found.p99, found.most, found.count]


def _longest(blocks: Sequence[Block], edges: Sequence[float], *, cpu: bool) -> list[float]:
    """The longest block of each interval that ends at one of the edges."""
    longest = [0.0] * len(edges)
    number = 0
    for block in blocks:
        while number < len(edges) and edges[number] < block.ended - block.wall:
            number += 1
        if number == len(edges):
            break
        longest[number] = max(longest[number], block.cpu if cpu else block.wall)
    return longest


# -- the apps, each in a process of its own


def run_app(app: App[Any], drive: Drive, close: Callable[[], Awaitable[object]]) -> None:
    """Runs an app that renders everything for a terminal of the usual size and sends it nowhere."""
    from textual.drivers.headless_driver import HeadlessDriver

    class SilentDriver(HeadlessDriver):
        """Headless, but the app does not know, so that it draws."""

        @property
        def is_headless(self) -> bool:
            return False

    selector = WatchedSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        app.driver_class = SilentDriver

        async def pilot_in(pilot: Pilot[Any]) -> None:
            await drive(pilot, Watch(selector))
            pilot.app.exit()

        async def run() -> None:
            await app.run_async(size=(COLUMNS, ROWS), auto_pilot=pilot_in)
            await close()

        runner.run(run())


async def ask(pilot: Pilot[Any], question: str) -> None:
    """Types a question and sends it; returns before anything comes back."""
    await pilot.press(*question)
    pilot.app.simulate_key("enter")


async def type_until(app: App[Any], ended: Awaitable[object]) -> None:
    """Types a letter and takes it back again until something has ended."""

    async def type_on() -> None:
        while True:
            for key in ("x", "backspace"):
                app.simulate_key(key)
                await asyncio.sleep(KEY_SECONDS)

    typing = asyncio.create_task(type_on())
    try:
        await ended
    finally:
        typing.cancel()


async def _nothing_to_close() -> None:
    pass


def sophia(question: str, seconds: float) -> list[dict[str, Any]]:
    """Measures the real app: idle, streaming, and streaming with typing."""
    from sophia_core.events import Event, TurnFinished
    from sophia_core.first_look import first_look
    from sophia_core.settings import load_settings
    from sophia_tui.app import SophiaApp
    from sophia_tui.transcript.clock import Pacer

    rows: list[dict[str, Any]] = []
    app = SophiaApp(first_look(), load_settings)

    async def drive(pilot: Pilot[int], watch: Watch) -> None:
        class WatchedPacer(Pacer):
            """Tells of every frame."""

            def drawn(self, cost: float) -> None:
                watch.frames.append(time.monotonic())
                watch.frame_cpu.append(cost)
                super().drawn(cost)

        await app.ready.wait()
        await app.runtime.vault.get()
        await pilot.pause(1.0)
        async with watch.phase("SOPHIA idle", rows):
            await asyncio.sleep(IDLE_SECONDS)
        transcript = app.chat.transcript
        transcript.pacer = WatchedPacer(transcript.pacer.fastest, transcript.pacer.slowest, transcript.pacer.share)
        finished = asyncio.Event()

        def heard(event: Event) -> None:
            if isinstance(event, TurnFinished):
                finished.set()

        app.runtime.bus.subscribe(heard)
        await ask(pilot, question)
        async with watch.phase("SOPHIA", rows):
            await asyncio.sleep(seconds / 2)
        async with watch.phase("SOPHIA, typing", rows):
            await type_until(app, finished.wait())
            await pilot.pause()

    run_app(app, drive, lambda: app.runtime.close())
    return rows


def bare(question: str, url: str, seconds: float) -> list[dict[str, Any]]:
    """Measures the baseline."""
    rows: list[dict[str, Any]] = []
    app = bare_app(url)

    async def drive(pilot: Pilot[None], watch: Watch) -> None:
        await pilot.pause(0.5)
        await ask(pilot, question)
        async with watch.phase("bare RichLog", rows):
            await asyncio.sleep(seconds / 2)
        async with watch.phase("bare RichLog, typing", rows):
            await type_until(app, app.workers.wait_for_complete())

    run_app(app, drive, _nothing_to_close)
    return rows


# -- both


def measure(tokens: int, rate: float) -> None:
    """Runs both and prints the tables."""
    print(f"loop_block: {tokens} tokens at {rate:g}/s, {COLUMNS}×{ROWS}, typing in the second half")
    with serving() as url, fresh_home() as home:
        env = child_env(home, url) | {"TEXTUAL_ANIMATIONS": "none"}
        rows: list[dict[str, Any]] = []
        for who, count in (("sophia", tokens), ("bare", min(tokens, BARE_TOKENS))):
            command = [sys.executable, "-m", "benchmarks.loop_block", "--part", who, "--tokens", str(count)]
            done = subprocess.run(
                [*command, "--rate", f"{rate:g}", "--url", url], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
            )
            if done.returncode:
                raise SystemExit(done.returncode)
            rows += json.loads(done.stdout.splitlines()[-1])
    _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    print("  the longest block between two frames, ms (without frames: in each 1/15 s)")
    print(
        table(
            [
                {
                    "": each["name"],
                    **_named("CPU", each["longest"]),
                    "wall p95": round(each["longest_wall"][1], 1),
                    "wall max": round(each["longest_wall"][3], 1),
                    "frames/s": round(each["per_second"], 1),
                    "CPU %": round(each["load"] * 100, 1),
                }
                for each in rows
            ]
        )
    )
    print("  every block, and the whole cost of a frame, ms of CPU")
    print(
        table(
            [
                {
                    "": each["name"],
                    **_named("block", each["turns"]),
                    "blocks": each["turns"][4],
                    **(_named("frame", each["frame"]) if each["frame"][4] else {}),
                }
                for each in sorted(rows, key=lambda each: not each["frame"][4])
            ]
        )
    )
    worst = max(each["longest"][1] for each in rows if each["name"].startswith("SOPHIA"))
    base = max(each["longest"][1] for each in rows if each["name"].startswith("bare"))
    print(
        f"  p95 of the longest block {worst:.1f} ms of CPU: ×{worst / BUDGET_MS:.2f} of the {BUDGET_MS:g} ms budget, ",
        end="",
    )
    print(f"×{worst / base:.2f} of the bare app")


def _named(name: str, values: Sequence[float]) -> dict[str, float]:
    return {
        f"{name} {part}": round(value, 1) for part, value in zip(("p50", "p95", "p99", "max"), values, strict=False)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=200.0, help="tokens a second")
    parser.add_argument("--part", choices=["sophia", "bare"], help="be one of the measured apps")
    parser.add_argument("--url", default="")
    args = parser.parse_args()
    question, seconds = f"tokens={args.tokens} rate={args.rate:g}", args.tokens / args.rate
    match args.part:
        case "sophia":
            print(json.dumps(sophia(question, seconds)))
        case "bare":
            print(json.dumps(bare(question, args.url, seconds)))
        case _:
            measure(args.tokens, args.rate)


if __name__ == "__main__":
    main()
