"""Voice over a bridge: what it adds to a round trip, how soon silence is silence, what it sends, and what gets lost.

    python -m benchmarks.voice_bridge [--seconds 10] [--trip 0.1] [--stalls 0.01]

Both ends run in this process, with devices that are only numbers, so that what is measured is the bridge and not a
sound card. Between them is a relay that delivers every block half a round trip later; where it stalls, one block in a
hundred, and all behind it, is 200 ms later still, as it is when TCP sends a lost packet again.

Bars: the bridge adds 60 ms at most (median, microphone and loudspeaker together) to the round trip; after an
interruption it is silent within 150 ms and half a round trip, at the 95th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from benchmarks import spread, table
from tests.voice.bridge_parts import Ends, ToyDevices, ends, number_of, until

RATE = 24_000
ADDED_S, SILENT_S = 0.06, 0.15
NARROW = (64_000, 24_000, 16_000)
"""Bytes a second of narrow links."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way to the bridge."""

    name: str
    trip_s: float
    stalls: float = 0.0


@asynccontextmanager
async def _connected(link: Link) -> AsyncIterator[Ends]:
    async with ends(delay_s=link.trip_s / 2, stalls=link.stalls) as both:
        assert await both.devices.present()
        yield both


async def listened(link: Link, seconds: float) -> dict[str, object]:
    """How late frames of the microphone are, beyond half a round trip."""
    late: list[float] = []
    async with _connected(link) as both:
        before, cpu = both.wire.carried["down"], time.process_time()
        begun = time.monotonic()
        async with aclosing(both.devices.listen()) as frames:
            async for frame in frames:
                late.append(time.monotonic() - both.toys.captured_at[number_of(frame)] - link.trip_s / 2)
                if time.monotonic() - begun > seconds:
                    break
        took = time.monotonic() - begun
        rate = (both.wire.carried["down"] - before) / took
        cpu = (time.process_time() - cpu) / took
        missing = len(both.toys.captured_at) - len(late)
    found = spread(late)
    return {
        "link": link.name,
        "added p50 ms": found.p50 * 1000,
        "p95": found.p95 * 1000,
        "p99": found.p99 * 1000,
        "kbit/s": rate * 8 / 1000,
        "lost": max(missing - 1, 0) if missing > 1 + link.trip_s * 100 else 0,
        "CPU %": cpu * 100,
    }


async def said(link: Link, seconds: float) -> dict[str, object]:
    """How soon a sentence begins, whether it stumbles, and how soon it is silent."""
    first: list[float] = []
    silent: list[float] = []
    gaps = 0
    async with _connected(link) as both:
        sentences = max(int(seconds / 1.2), 3)
        for _ in range(sentences):
            playback = await both.devices.play(RATE)
            begun = time.monotonic()
            await playback.write(bytes(RATE * 2))
            await playback.finish()
            toy = both.toys.played[-1]
            first.append(toy.first_at - begun - link.trip_s / 2)
            gaps += toy.gaps
        for _ in range(sentences):
            playback = await both.devices.play(RATE)
            writing = asyncio.create_task(playback.write(bytes(RATE * 4)))
            toy = both.toys.played[-1]
            await until(lambda toy=toy: toy.heard_s > 0.1)  # type: ignore[misc]
            begun = time.monotonic()
            await playback.abort()
            await until(lambda toy=toy: toy.aborted_at)  # type: ignore[misc]
            silent.append((toy.aborted_at or 0.0) - begun)
            await writing
    start, end = spread(first), spread(silent)
    return {
        "link": link.name,
        "added p50 ms": start.p50 * 1000,
        "p95": start.p95 * 1000,
        "stumbles a sentence": gaps / sentences,
        "silent p50 ms": end.p50 * 1000,
        "silent p95 ms": end.p95 * 1000,
    }


async def narrow(bytes_per_s: int, seconds: float) -> dict[str, object]:
    """How far behind both directions fall on a link that carries so much."""
    late: list[float] = []
    async with ends(ToyDevices(), delay_s=0.05) as both:
        assert await both.devices.present()
        both.wire.bytes_per_s = bytes_per_s
        begun = time.monotonic()
        async with aclosing(both.devices.listen()) as frames:
            async for frame in frames:
                late.append(time.monotonic() - both.toys.captured_at[number_of(frame)])
                if time.monotonic() - begun > seconds:
                    break
        lost = len(both.toys.captured_at) - len(late)
        playback = await both.devices.play(RATE)
        await playback.write(bytes(int(RATE * 2 * seconds)))
        await playback.finish()
        toy = both.toys.played[-1]
        took = toy.pieces[-1][0] - toy.first_at
    return {
        "kbit/s": bytes_per_s * 8 // 1000,
        "microphone behind, at the end ms": late[-1] * 1000,
        "lost frames": max(lost, 0),
        "said in, of its length": took / seconds,
        "stumbles": toy.gaps,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--trip", type=float, default=0.1)
    parser.add_argument("--stalls", type=float, default=0.01)
    args = parser.parse_args()
    links = (
        Link("near", 0.0),
        Link(f"{args.trip * 1000:.0f} ms", args.trip),
        Link(f"{args.trip * 1000:.0f} ms, {args.stalls:.0%} stalls", args.trip, args.stalls),
    )
    heard = [await listened(link, args.seconds) for link in links]
    print(f"The microphone, beyond half a round trip\n{table(heard)}")
    spoken = [await said(link, args.seconds) for link in links]
    print(f"The loudspeaker: until it begins, beyond half a round trip; until it is silent, in all\n{table(spoken)}")
    print(f"Narrow links\n{table([await narrow(width, args.seconds / 2) for width in NARROW])}")
    for link, ear, mouth in zip(links, heard, spoken, strict=True):
        added = float(str(ear["added p50 ms"])) + float(str(mouth["added p50 ms"]))
        silent = float(str(mouth["silent p95 ms"]))
        verdict = added <= ADDED_S * 1000 and silent <= (SILENT_S + link.trip_s / 2) * 1000
        print(f"{link.name}: adds {added:.0f} ms, silent after {silent:.0f} ms: {'ok' if verdict else 'TOO SLOW'}")


if __name__ == "__main__":
    asyncio.run(main())
