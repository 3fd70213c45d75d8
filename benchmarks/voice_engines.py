"""The voice of this machine by itself: how fast it speaks and hears, how well, and what it costs.

python -m benchmarks.voice_engines [--sentences 50] [--hours 0]

Speech is synthesised, for no recordings of people come with the project; how well people are understood is not
measured here. Two ways to write the same words count as the same ("9:30", "nine thirty").
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks import Spread, cpu_seconds, resident_mb, spread, table
from benchmarks.voice_said import SAID, errors, words
from sophia_core.voice.bridge.coding import Coding, pack_frame, unpack_frame
from sophia_core.voice.engine_process import Engine
from sophia_core.voice.engines import MOUTH_RATE, VOICES, Embedded
from sophia_core.voice.ports import FRAME_BYTES, MIC_RATE, Frame

Result = TypeVar("Result")
NOISE_DB = 10
MOST_CLEAN, MOST_NOISY = 0.06, 0.12
MOST_FRAME_MS = 1.0
LONG_SENTENCE = (
    "When the first people climbed this mountain they carried everything on their backs and slept on the snow, "
    "because nobody knew yet how long it would take them to come down again on the other side of the glacier."
)


async def said(engines: Embedded, text: str, voice: str = VOICES[0]) -> tuple[bytes, float]:
    """The sound of a text, and the seconds until the first of it was there."""
    began, first, pieces = time.perf_counter(), 0.0, []
    async for piece in engines.mouth.speak(text, voice=voice):
        first = first or time.perf_counter() - began
        pieces.append(piece)
    return b"".join(pieces), first


def for_ears(pcm: bytes) -> NDArray[np.float64]:
    """Sound of the mouth at the rate of the ears, with nothing above what that rate can hold."""
    sound = np.frombuffer(pcm, "<i2").astype(np.float64)
    count = len(sound) * MIC_RATE // MOUTH_RATE
    changed = np.fft.irfft(np.fft.rfft(sound)[: count // 2 + 1], count)
    return np.asarray(changed * (count / len(sound)), np.float64)


def noisy(sound: NDArray[np.float64], dice: np.random.Generator) -> NDArray[np.float64]:
    """Sound with pink noise, so many decibels below it."""
    spectrum = np.fft.rfft(dice.standard_normal(len(sound)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(sound))
    loudness = np.sqrt(np.mean(sound**2)) / 10 ** (NOISE_DB / 20)
    return np.asarray(sound + pink * (loudness / np.sqrt(np.mean(pink**2))), np.float64)


def pcm(sound: NDArray[np.float64]) -> bytes:
    return np.clip(np.round(sound), -32768, 32767).astype("<i2").tobytes()


def travelled(sound: bytes) -> bytes:
    """Sound as it arrives over a link that is too narrow for all of it: a quarter of the bytes."""
    frames = [Frame(sound[at : at + FRAME_BYTES], 0.0) for at in range(0, len(sound) - FRAME_BYTES + 1, FRAME_BYTES)]
    return b"".join(unpack_frame(pack_frame(each, Coding.ADPCM)).pcm for each in frames)


class Used:
    """The processor seconds that engines use."""

    def __init__(self, *engines: Engine) -> None:
        self._pids = [engine.pid or 0 for engine in engines]
        self._before = self._now()

    def _now(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._pids)

    def __call__(self) -> float:
        return self._now() - self._before


async def speaking(engines: Embedded, texts: tuple[str, ...]) -> tuple[list[bytes], dict[str, object]]:
    used, began = Used(engines.mouth.engine), time.perf_counter()
    spoken = [await said(engines, text) for text in texts]
    seconds = sum(len(sound) for sound, _ in spoken) / 2 / MOUTH_RATE
    first = spread([each * 1000 for _, each in spoken])
    _, long_first = await said(engines, LONG_SENTENCE)
    return [sound for sound, _ in spoken], {
        "what": "speaking",
        "seconds of sound": seconds,
        "real-time factor, wall": (time.perf_counter() - began) / seconds,
        "CPU": used() / seconds,
        "p50 ms": first.p50,
        "p95 ms": first.p95,
        "note": f"ms to the first sound; a sentence of {len(LONG_SENTENCE)} characters: {long_first * 1000:.0f}",
    }


async def hearing(
    engines: Embedded, what: str, texts: tuple[str, ...], sounds: list[bytes], show: bool
) -> tuple[float, dict[str, object]]:
    used, took, wrong, count = Used(engines.ear.engine), [], 0, 0
    for text, sound in zip(texts, sounds, strict=True):
        began = time.perf_counter()
        heard = (await engines.ear.transcribe(sound)).text
        took.append((time.perf_counter() - began) * 1000)
        mistakes = errors(words(text), words(heard))
        if mistakes and show:
            print(f"  {what}: {text!r} was heard as {heard!r}")
        wrong, count = wrong + mistakes, count + len(words(text))
    seconds, waited = sum(len(sound) for sound in sounds) / 2 / MIC_RATE, spread(took)
    return wrong / count, {
        "what": f"hearing, {what}",
        "seconds of sound": seconds,
        "real-time factor, wall": sum(took) / 1000 / seconds,
        "CPU": used() / seconds,
        "p50 ms": waited.p50,
        "p95 ms": waited.p95,
        "note": f"{wrong / count:.1%} of {count} words wrong",
    }


async def detecting(engines: Embedded, sound: bytes) -> tuple[Spread, float]:
    """Milliseconds a frame, and the share of a core that this process and the engine's take in real time."""
    took, used, ours = [], Used(engines.detector.engine), time.process_time()
    for at in range(0, len(sound) - FRAME_BYTES, FRAME_BYTES):
        began = time.perf_counter()
        await engines.detector.feed(Frame(sound[at : at + FRAME_BYTES], 0.0))
        took.append((time.perf_counter() - began) * 1000)
    return spread(took), (used() + time.process_time() - ours) / (len(sound) / 2 / MIC_RATE)


async def while_hearing(engines: Embedded, sound: bytes, work: Callable[[], Awaitable[Result]]) -> Result:
    """What work gives while the ears are busy all the time."""

    async def busy() -> None:
        while True:
            await engines.ear.transcribe(sound + bytes(len(sound) % 7 * 2))

    task = asyncio.create_task(busy())
    try:
        return await work()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def for_hours(engines: Embedded, sounds: list[bytes], hours: float) -> str:
    """What long sound costs, and the most memory that the ears take for it."""
    once = b"".join(sound + bytes(16_000) for sound in sounds)
    times = max(1, int(hours * 3600 * 2 * MIC_RATE / len(once)))
    pid, used, began, passages = engines.ear.engine.pid or 0, Used(engines.ear.engine), time.perf_counter(), 0
    first = most = resident_mb(pid)

    async def source() -> AsyncIterator[bytes]:
        for _ in range(times):
            for at in range(0, len(once), 32_000):
                yield once[at : at + 32_000]

    async for _ in engines.ear.passages(source()):
        passages, most = passages + 1, max(most, resident_mb(pid))
    seconds = times * len(once) / 2 / MIC_RATE
    return (
        f"long sound: {seconds / 3600:.2f} h in {passages} passages, {(time.perf_counter() - began) / seconds:.3f} of "
        f"real time, CPU {used() / seconds:.3f}; the ears' process took {first:.0f} MB before and {most:.0f} MB at most"
    )


async def load(engines: Embedded) -> str:
    """How long it takes until all three are ready, and what they take."""
    began, ready = time.perf_counter(), []
    await engines.load(lambda done, total: ready.append(time.perf_counter() - began))
    parts = {"mouth": engines.mouth.engine, "ear": engines.ear.engine, "detector": engines.detector.engine}
    memory = ", ".join(f"{name} {resident_mb(engine.pid or 0):.0f} MB" for name, engine in parts.items())
    return f"loaded side by side after {', '.join(f'{each:.2f}' for each in ready)} s; {memory}"


async def measured(sentences: int, hours: float, show: bool) -> bool:
    """Measure and print all of it; True when what is promised is kept."""
    engines, texts = Embedded(), SAID[:sentences]
    try:
        print(await load(engines))
        spoken, row = await speaking(engines, texts)
        rows, sounds, dice = [row], [for_ears(each) for each in spoken], np.random.default_rng(10)
        clean, row = await hearing(engines, "clean", texts, [pcm(each) for each in sounds], show)
        rows.append(row)
        noise = [pcm(noisy(each, dice)) for each in sounds]
        with_noise, row = await hearing(engines, f"pink noise {NOISE_DB} dB below", texts, noise, show)
        rows.append(row)
        narrow = [travelled(pcm(each)) for each in sounds]
        over_link, row = await hearing(engines, "over a narrow link", texts, narrow, show)
        rows.append(row)
        for voice in VOICES[1:]:
            other = [pcm(for_ears((await said(engines, text, voice))[0])) for text in texts[::4]]
            rows.append((await hearing(engines, voice, texts[::4], other, show))[1])
        print(table(rows))
        frame = await together(engines, texts, [pcm(each) for each in sounds])
        if hours:
            print(await for_hours(engines, [pcm(each) for each in sounds], hours))
    finally:
        await engines.close()
    return max(clean, over_link) <= MOST_CLEAN and with_noise <= MOST_NOISY and frame < MOST_FRAME_MS


async def together(engines: Embedded, texts: tuple[str, ...], sounds: list[bytes]) -> float:
    """Detection and speaking alone and while the ears work; returns the median milliseconds a frame alone."""
    stream = b"".join(sounds)[: 60 * 2 * MIC_RATE]
    alone, share = await detecting(engines, stream)
    beside, _ = await while_hearing(engines, sounds[0], lambda: detecting(engines, stream * 2))
    print(
        f"detecting speech: {alone.p50:.2f} ms a frame (p95 {alone.p95:.2f}, most {alone.most:.1f}), beside hearing "
        f"{beside.p50:.2f} (p95 {beside.p95:.2f}, p99 {beside.p99:.2f}, most {beside.most:.1f}); {share:.1%} of a core "
        "in real time, both processes"
    )
    first = spread([(await said(engines, text))[1] * 1000 for text in texts])

    async def again() -> Spread:
        return spread([(await said(engines, text))[1] * 1000 for text in texts])

    busy = await while_hearing(engines, sounds[0], again)
    print(f"first sound: p50 {first.p50:.0f} ms, p95 {first.p95:.0f}; beside hearing {busy.p50:.0f}, {busy.p95:.0f}")
    return alone.p50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=len(SAID))
    parser.add_argument("--hours", type=float, default=0.0, help="of long sound (default: none)")
    parser.add_argument("--show", action="store_true", help="print every sentence that was not understood")
    given = parser.parse_args()
    kept = asyncio.run(measured(given.sentences, given.hours, given.show))
    print("kept" if kept else f"NOT KEPT: {MOST_CLEAN:.0%}, {MOST_NOISY:.0%} with noise, {MOST_FRAME_MS} ms a frame")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
