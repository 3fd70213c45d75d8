"""Sound files: written down into the prompt, and made of answers."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from pathlib import Path

from sophia_core.voice.ears import Ears
from sophia_core.voice.mouths import Mouths
from tests.sophia_tui.every.walk import Walk, scene
from tests.voice.room import Typist


class Humming:
    """A mouth that hums."""

    name, rate = "server", 16_000

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        yield b"\x00\x10\x00\x20" * 800 * len(text)


@scene("voice.transcribe", "voice.save")
async def sound_files(walk: Walk) -> None:
    app, bus = walk.app, walk.app.runtime.bus
    voice = app.runtime.voice
    vars(voice).update(ears=Ears((Typist("server", "what was said"),), bus), mouths=Mouths((Humming(),), bus))
    file = walk.home / "note.wav"
    assert ".wav" in await walk.do(f"/voice.save {file} Hello there.")
    assert frames(file) == 800 * 2 * len("Hello there.")
    await walk.do(f"/voice.transcribe {file}")
    await walk.until(lambda: app.chat.prompt.text == "what was said", "the text")


def frames(path: Path) -> int:
    with wave.open(str(path), "rb") as read:
        return read.getnframes()
