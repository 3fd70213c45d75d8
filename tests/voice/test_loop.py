"""The whole way round on real parts: spoken into a microphone, answered, heard from a loudspeaker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from sophia_core.events import Event, ListeningChanged, SpeakingChanged, SpeechHeard, TurnFinished
from sophia_core.runtime import Runtime, open_runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedTransport, chat
from tests.voice.pulse import Pulse

QUESTION = "What is the capital of France?"
ANSWER = "It is Paris. That is a large city."
CONFIG = """
[voice]
mouths = ["embedded"]
ears = ["embedded"]
send = "send"
speak_answers = true
silence_ms = 500
"""
PATIENCE_S = 60.0


class Watched:
    """Everything that happened, and a way to wait for some of it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, wanted: Callable[[Event], bool], after: int = 0) -> Event:
        """The first event that is wanted, from a place on."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for each in self.events[after:]:
                    if wanted(each):
                        return each
                self._more.clear()
                await self._more.wait()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def alike(heard: str, said: str) -> bool:
    """Whether it is the same but for a word or two: a sound server that a busy machine keeps waiting drops a bit."""
    one, other = words(heard), words(said)
    return len(one) >= len(other) - 1 and SequenceMatcher(None, one, other).ratio() >= 0.7


async def spoken(runtime: Runtime, text: str) -> bytes:
    """What somebody says, at 24,000 samples a second."""
    return b"".join([piece async for piece in runtime.voice.embedded.mouth.speak(text)])


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def runtime(pulse: Pulse, tmp_path: Path, watched: Watched) -> AsyncIterator[Runtime]:
    (tmp_path / "config.toml").write_text(CONFIG)
    env = {
        "SOPHIA_HOME": str(tmp_path),
        "SOPHIA_BASE_URL": "http://scripted.test/v1",
        "SOPHIA_MODEL": "scripted",
        "SOPHIA_NO_KEYRING": "1",
    }
    transport = ScriptedTransport(chat(ANSWER))
    async with open_runtime(load_settings(env), transport=transport, env=env) as running:
        running.bus.subscribe(watched)
        yield running


async def test_a_spoken_question_is_answered_aloud(runtime: Runtime, pulse: Pulse, watched: Watched) -> None:
    question, _ = await asyncio.gather(spoken(runtime, QUESTION), runtime.voice.embedded.load())
    mark = pulse.mark()
    talking = asyncio.create_task(runtime.run("voice.talk"))
    await watched.until(lambda event: isinstance(event, ListeningChanged) and event.state == "waiting")
    await pulse.said(question, 24_000)
    heard = await watched.until(lambda event: isinstance(event, SpeechHeard))
    assert isinstance(heard, SpeechHeard)
    assert alike(heard.text, QUESTION)
    assert heard.to == "chat"
    answered = await watched.until(lambda event: isinstance(event, TurnFinished))
    assert isinstance(answered, TurnFinished)
    assert answered.text == ANSWER
    await watched.until(lambda event: isinstance(event, SpeakingChanged) and event.state == "silent")
    await talking
    await pulse.wait_silent()
    said = await runtime.voice.ears.transcribe(pulse.heard_loud(mark))
    assert alike(said.text, ANSWER)
    closed = [event for event in watched.events if isinstance(event, ListeningChanged)][-1]
    assert closed.state == "off"
    assert not closed.open


async def test_locking_silences_and_closes_the_microphone(runtime: Runtime, pulse: Pulse, watched: Watched) -> None:
    saying = asyncio.create_task(runtime.run("voice.say", "One two three four five six seven eight nine ten. " * 5))
    await watched.until(lambda event: isinstance(event, SpeakingChanged) and event.state == "speaking")
    await pulse.wait_loud(pulse.mark())
    assert runtime.vault.before_lock[0] == runtime.voice.rest
    await runtime.voice.rest()
    over = await watched.until(lambda event: isinstance(event, SpeakingChanged) and event.state == "silent")
    assert isinstance(over, SpeakingChanged)
    assert over.reason == "locked"
    await saying
    listening = asyncio.create_task(runtime.run("voice.talk"))
    await watched.until(lambda event: isinstance(event, ListeningChanged) and event.state == "waiting")
    await runtime.voice.rest()
    await listening
    assert not runtime.voice.listening.open
