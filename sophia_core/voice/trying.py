"""A try of everything a spoken conversation needs, one thing after the other, with what was found of each."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backend_client.errors import BackendError
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_core.voice.ports import FRAME_MS, AudioTrouble

if TYPE_CHECKING:
    from sophia_core.voice.voice import Voice

SENTENCE: Final = "This is a test of the loudspeaker. Now say something."
HEARD: Final = 0.2
"""At this level something is heard, and at less only the room."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    what: str
    ok: bool
    found: str
    hint: str = ""


async def tried(voice: Voice, *, seconds: float = 5.0) -> AsyncIterator[Step]:
    """Yield each step as soon as it is done; the first that fails is the last."""
    for step in (_devices, _loudspeaker, _microphone, _ears):
        try:
            found = await step(voice, seconds)
        except (AudioTrouble, BackendError, CommandError) as trouble:
            what = (step.__doc__ or "").rstrip(".")
            yield Step(what, False, one_line(str(trouble), 300), one_line(trouble.hint, 300))
            return
        yield found
        if not found.ok:
            return


async def _devices(voice: Voice, seconds: float) -> Step:
    """Devices."""
    found = await voice.devices.list()
    inputs, outputs = (sum(each.kind == kind for each in found) for kind in ("input", "output"))
    words = f"{inputs} microphones and {outputs} loudspeakers of {voice.devices.name}"
    ok = bool(inputs and outputs)
    return Step("Devices", ok, words, "" if ok else "Plug them in, or bring those of your laptop: sophia voice ssh")


async def _loudspeaker(voice: Voice, seconds: float) -> Step:
    """Speaking."""
    began = time.monotonic()
    await voice.speaking.say(SENTENCE)
    return Step("Speaking", True, f"by {voice.mouths.used or 'nobody'}, {time.monotonic() - began:.1f} s to the end")


async def _microphone(voice: Voice, seconds: float) -> Step:
    """Microphone."""
    loudest, exact, count = 0.0, True, 0
    async with aclosing(voice.devices.listen(voice.listening.device)) as frames:  # type: ignore[type-var]
        async for frame in frames:
            loudest, count = max(loudest, frame.level), count + 1
            exact = exact and not any(frame.pcm)
            if count * FRAME_MS >= 1000:
                break
    if exact:
        hint = "Unmute it, or choose another: voice.input in the settings, sophia voice devices"
        return Step("Microphone", False, "it gives nothing but exact silence", hint)
    return Step("Microphone", True, f"open for a second, the loudest moment {(loudest - 1) * 60:.0f} dB")


async def _ears(voice: Voice, seconds: float) -> Step:
    """Listening."""
    try:
        text = await voice.listening.listen()
    except CommandError as error:
        return Step("Listening", False, str(error), error.hint)
    return Step("Listening", True, f"{text!r}, written down by {voice.listening.state.ear or voice.ears.first}")
