"""A spoken conversation in the real app, on virtual devices: how long it takes, and what it costs meanwhile.

    python -m benchmarks.voice_loop [--turns 6] [--interrupts 20] [--minutes 2] [--model]

Questions are synthesised, spoken into a virtual microphone, written down, answered and heard from a virtual
loudspeaker. The answer comes from a server that sends at once, or with `--model` from the embedded model. Our own
overhead is what is left of the time from the last sound of the question to the first of the answer, after the silence
that ends an utterance, the writing down, what the mouth takes when asked by itself, what an open loudspeaker takes for
a tone, and, with `--model`, what it takes to answer; a server that sends at once takes nothing, so all of that is ours.
`--minutes` listens to silence for so long; an hour is `--minutes 60`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import cpu_seconds, rank, resident_mb, table
from benchmarks.loop_block import BUDGET_MS, Watch, run_app
from sophia_core.events import Event, ListeningChanged, SpeakingChanged, SpeechHeard, TextDelta, TurnFinished
from tests.scripted import JSON, PlayedReply, ScriptedReply, chat, delta
from tests.voice.pulse import MICROPHONE, Pulse, missing, tone

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from backend_client import Call
    from sophia_core.runtime import Runtime

QUESTIONS = ("What is the capital of France?", "How many days does a week have?", "Who wrote this song for you?")
ANSWER = "It is a good question. The answer is that nobody knows it for certain."
LONG = "One and two and three and four and five and six and seven and eight and nine and ten. " * 4
SILENCE_MS = 900
TRIES = 3
SOFT = 30
"""A sample of the question: the virtual microphone has no noise, and words fade out."""
MOST_S, MOST_OWN_MS, MOST_BARGE_MS, MOST_CPU = 2.0, 100.0, 150.0, 0.05
PATIENCE_S = 60.0
CONFIG = f"""
[voice]
mouths = ["embedded"]
ears = ["embedded"]
send = "send"
speak_answers = true
silence_ms = {SILENCE_MS}
"""


class Answering:
    """A server that answers every question at once, word by word."""

    async def open(self, call: Call) -> PlayedReply:
        if call.method == "GET":
            return PlayedReply(ScriptedReply((b'{"data":[{"id":"bench-model"}]}',), headers=JSON))
        pieces = [delta(content=f"{word} ") for word in ANSWER.split()]
        return PlayedReply(ScriptedReply((*pieces, *chat("").pieces)))

    async def aclose(self) -> None: ...


@dataclass
class Ear:
    """When the microphone was last given a sound."""

    last: float = 0.0

    def __call__(self, pcm: bytes) -> None:
        if max(map(abs, array("h", pcm)), default=0) > SOFT:
            self.last = time.monotonic()


@dataclass
class Diary:
    """What happened, and when."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: Event) -> None:
        self.events.append((time.monotonic(), event))
        self.more.set()

    async def when(self, wanted: Callable[[Any], bool], after: int = 0) -> float:
        """When the first wanted event came."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for at, each in self.events[after:]:
                    after += 1  # each is shown once: a wish may gather what it has seen
                    if wanted(each):
                        return at
                self.more.clear()
                await self.more.wait()


@dataclass
class Stand:
    """What everything is measured with."""

    runtime: Runtime
    pulse: Pulse
    diary: Diary
    ear: Ear


def is_state(kind: type[Event], state: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, kind) and event.state == state  # type: ignore[union-attr]


async def said(runtime: Runtime, text: str) -> bytes:
    return b"".join([piece async for piece in runtime.voice.embedded.mouth.speak(text)])


def for_ears(pcm: bytes) -> bytes:
    """Sound of the mouth at the rate of the ear."""
    from sophia_core.voice.sound import Resampler

    changed = Resampler(24_000, 16_000)
    return changed.feed(pcm) + changed.flush()


async def alone(stand: Stand) -> dict[str, float]:
    """What the devices, the ear and the mouth take by themselves, in milliseconds."""
    voice, pulse = stand.runtime.voice, stand.pulse
    devices, ears, mouths = [], [], []
    question = for_ears(await said(stand.runtime, QUESTIONS[0]))
    for number in range(TRIES):
        mark = pulse.mark()
        playback = await voice.devices.play(24_000)
        await asyncio.sleep(0.2)  # it is opened while the mouth begins
        began = time.monotonic()
        await playback.write(tone(0.3, rate=24_000))
        devices.append((await pulse.wait_loud(mark)).at - began)
        await playback.finish()
        began = time.monotonic()
        await voice.embedded.ear.transcribe(question[: -2 - 2 * number])  # it remembers what it heard last
        ears.append(time.monotonic() - began)
        began = time.monotonic()
        async with aclosing(voice.embedded.mouth.speak(ANSWER.split(". ")[0] + ".")) as sound:
            await anext(sound)
        mouths.append(time.monotonic() - began)
    parts = {"devices": devices, "ear": ears, "mouth": mouths}
    return {name: statistics.median(times) * 1000 for name, times in parts.items()}


def whole_sentence() -> Callable[[Event], bool]:
    """Whether the first sentence of the answer is there with this: before that there is nothing to say."""
    so_far: list[str] = []

    def complete(event: Event) -> bool:
        so_far.extend([event.text] if isinstance(event, TextDelta) else [])
        return isinstance(event, TurnFinished) or bool(re.search(r"[.!?:]\s", "".join(so_far)))

    return complete


def own_ms(each: Mapping[str, float], alone_ms: Mapping[str, float], *, model: bool) -> float:
    """What nobody but us took of a turn."""
    engines = max(0.0, each["written"]) + alone_ms["mouth"] + alone_ms["devices"]
    silence = min(each["silence"], SILENCE_MS)  # a word that fades out may be silence already: that is no merit
    return each["all"] - silence - engines - (max(0.0, each["answered"]) if model else 0.0)


async def turn(stand: Stand, question: bytes) -> dict[str, float]:
    """One question and the beginning of its answer, in milliseconds from the end of the question."""
    diary, pulse = stand.diary, stand.pulse
    first, mark = len(diary.events), pulse.mark()
    talking = asyncio.create_task(stand.runtime.run("voice.talk"))
    await diary.when(is_state(ListeningChanged, "waiting"), first)
    await pulse.said(question, 24_000)
    heard = await diary.when(lambda event: isinstance(event, SpeechHeard), first)
    ended = stand.ear.last
    writing = await diary.when(is_state(ListeningChanged, "writing"), first)
    text = await diary.when(whole_sentence(), first)
    spoken = await diary.when(is_state(SpeakingChanged, "speaking"), first)
    audible = (await pulse.wait_loud(mark)).at
    await diary.when(is_state(SpeakingChanged, "silent"), first)
    await talking
    found = {"silence": writing - ended, "written": heard - writing, "answered": text - heard}
    found |= {"voiced": spoken - text, "heard": audible - spoken, "all": audible - ended}
    return {name: seconds * 1000 for name, seconds in found.items()}


async def interrupt(stand: Stand) -> float:
    """How long something is still heard after it was interrupted, in milliseconds."""
    mark, first = stand.pulse.mark(), len(stand.diary.events)
    saying = asyncio.create_task(stand.runtime.run("voice.say", LONG))
    await stand.pulse.wait_loud(mark)
    await asyncio.sleep(0.4)
    asked = time.monotonic()
    await stand.runtime.voice.speaking.interrupt()
    await stand.diary.when(is_state(SpeakingChanged, "silent"), first)
    await saying
    return max(0.0, (await stand.pulse.wait_silent() - asked) * 1000)


def children(of: int) -> list[int]:
    """The processes that a process started."""
    return [int(pid) for path in Path(f"/proc/{of}/task").glob("*/children") for pid in path.read_text().split()]


def family() -> list[int]:
    """We ourselves, and those of our processes that belong to the voice."""
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(os.getpid())}
    return [os.getpid(), *(pid for pid, name in names.items() if b"_child.py" in name and b"voice" in name)]


async def silent_minutes(stand: Stand, minutes: float) -> dict[str, float]:
    """What hands-free listening to silence costs, and whether it hears what is not there."""
    first = len(stand.diary.events)
    await stand.runtime.run("voice.hands_free", "on")
    await stand.diary.when(is_state(ListeningChanged, "waiting"), first)
    await asyncio.sleep(5)
    began, cpu = time.monotonic(), {pid: cpu_seconds(pid) for pid in family()}
    memory = [sum(map(resident_mb, family()))]
    while time.monotonic() - began < minutes * 60:
        await asyncio.sleep(min(10.0, minutes * 60))
        stand.pulse.forget()  # an hour of it is more than all else takes
        memory.append(sum(map(resident_mb, family())))
    took = time.monotonic() - began
    used = {pid: cpu_seconds(pid) - before for pid, before in cpu.items() if Path(f"/proc/{pid}").exists()}
    turns = sum(is_state(ListeningChanged, "hearing")(event) for _, event in stand.diary.events[first:])
    await stand.runtime.run("voice.hands_free", "off")
    return {
        "minutes": took / 60,
        "false turns": turns,
        "CPU % of a core": sum(used.values()) / took * 100,
        "of it the app": used[os.getpid()] / took * 100,
        "MB at first": memory[0],
        "MB at last": memory[-1],
    }


def measure(home: Path, pulse: Pulse, args: argparse.Namespace) -> dict[str, Any]:
    """Runs the app without a terminal, and talks with it."""
    from sophia_core.first_look import FirstLook
    from sophia_core.settings import load_settings
    from sophia_tui.app import SophiaApp

    (home / "config.toml").write_text(CONFIG)
    env = {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1"}
    env |= {} if args.model else {"SOPHIA_BASE_URL": "http://127.0.0.1:9/v1", "SOPHIA_MODEL": "bench-model"}
    loaded = load_settings(env)
    transport = None if args.model else Answering()
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=transport)
    found: dict[str, Any] = {"blocks": []}

    async def drive(pilot: Pilot[int], watch: Watch) -> None:
        await app.ready.wait()
        runtime = app.runtime
        await runtime.vault.get()
        stand = Stand(runtime, pulse, Diary(), Ear())
        runtime.bus.subscribe(stand.diary)
        pulse._record(MICROPHONE, stand.ear)
        await runtime.voice.embedded.load()
        await pilot.pause(1.0)
        await found_of(stand, watch, args, found)

    run_app(app, drive, lambda: app.runtime.close())
    return found


async def found_of(stand: Stand, watch: Watch, args: argparse.Namespace, found: dict[str, Any]) -> None:
    """Everything, one after the other."""
    found["alone"] = await alone(stand)
    questions = [await said(stand.runtime, each) for each in QUESTIONS]
    if args.model:
        await asyncio.wait_for(_warm(stand.runtime.run("chat.send", "Hello.")), 300)
        await stand.runtime.voice.speaking.interrupt()
    async with watch.phase("talking", found["blocks"]):
        found["turns"] = [await turn(stand, each) for each, _ in zip(cycle(questions), range(args.turns), strict=False)]
    async with watch.phase("interrupting", found["blocks"]):
        found["interrupts"] = [await interrupt(stand) for _ in range(args.interrupts)]
    if args.minutes:
        async with watch.phase("listening", found["blocks"]):
            found["silence"] = await silent_minutes(stand, args.minutes)


async def _warm(asked: Awaitable[object]) -> None:
    if not isinstance(await asked, TurnFinished):
        raise RuntimeError("the embedded model did not answer")


def report(found: dict[str, Any], *, model: bool) -> bool:
    """Print it; return whether every bar was reached."""
    names = list(found["turns"][0])
    middle = {name: statistics.median(each[name] for each in found["turns"]) for name in names}
    alone_ms = found["alone"]
    owns = [own_ms(each, alone_ms, model=model) for each in found["turns"]]
    own = statistics.median(owns)
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"voice_loop: from the last sound of a question, ms; the machine had {busy:.1f} programs for each core")
    rows = [{"": "median", **middle}, *({"": f"turn {at}", **each} for at, each in enumerate(found["turns"], 1))]
    print(table([{name: each if isinstance(each, str) else round(each) for name, each in row.items()} for row in rows]))
    print(f"  own overhead {own:.0f} ms, in the least disturbed turn {min(owns):.0f} ms")
    print(f"  by themselves: {', '.join(f'{name} {value:.0f}' for name, value in alone_ms.items())} ms")
    barge = rank(found["interrupts"], 0.95)
    print(f"  interrupted: silent after {statistics.median(found['interrupts']):.0f} ms, p95 {barge:.0f} ms")
    for each in found["blocks"]:
        wall, cpu = each["longest_wall"][1], each["longest"][1]
        print(f"  loop while {each['name']}: p95 block {cpu:.1f} ms of CPU, {wall:.1f} ms wall")
    good = {
        f"end of speech to first audio ≤ {MOST_S:g} s": middle["all"] <= MOST_S * 1000,
        f"own overhead ≤ {MOST_OWN_MS:g} ms": own <= MOST_OWN_MS,
        f"interrupted p95 ≤ {MOST_BARGE_MS:g} ms": barge <= MOST_BARGE_MS,
        f"p95 block ≤ {BUDGET_MS:g} ms": all(each["longest"][1] <= BUDGET_MS for each in found["blocks"]),
    }
    if silence := found.get("silence"):
        print("  silence: " + ", ".join(f"{name} {value:.1f}" for name, value in silence.items()))
        good["no false turn"] = not silence["false turns"]
        good[f"≤ {MOST_CPU:.0%} of a core"] = silence["CPU % of a core"] <= MOST_CPU * 100
    for name, reached in good.items():
        print(f"  {'reached' if reached else 'MISSED '}  {name}")
    return all(good.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--interrupts", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if reason := missing():
        print(f"voice_loop: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="sophia-voice-") as folder:
        pulse = Pulse(Path(folder, "pulse"))
        try:
            pulse.start()
            os.environ |= pulse.env
            found = measure(Path(folder), pulse, args)
        finally:
            pulse.stop()
    if args.json:
        print(json.dumps(found))
    return 0 if report(found, model=args.model) else 1


if __name__ == "__main__":
    raise SystemExit(main())
