"""What takes seconds to load is loaded while a person still speaks, or while the model still thinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from sophia_core.events import TurnFinished
from sophia_core.runtime import Runtime, open_runtime
from sophia_core.settings import load_settings
from sophia_core.voice.ears import Ears
from sophia_core.voice.engine_process import Engine, is_installed
from sophia_core.voice.mouths import Mouths
from sophia_core.voice.ports import NoVoice
from tests.scripted import ScriptedTransport, chat
from tests.voice.room import LoudMeansSpeech, Room, Typist, until
from tests.voice.speakers import Loudspeaker, Mouth

ENV = {"SOPHIA_BASE_URL": "http://scripted.test/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}


class SlowMouth(Mouth):
    loads = 0

    async def load(self) -> None:
        self.loads += 1


class SlowEar(Typist):
    loads = 0

    async def load(self) -> None:
        self.loads += 1
        raise NoVoice("It is not installed.")


@pytest.fixture
def ear() -> SlowEar:
    return SlowEar("embedded", "hello")


@pytest.fixture
def mouth() -> SlowMouth:
    return SlowMouth("embedded")


@pytest.fixture
async def runtime(tmp_path: Path, ear: SlowEar, mouth: SlowMouth) -> AsyncIterator[Runtime]:
    env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    async with open_runtime(
        load_settings(env), transport=ScriptedTransport(chat("Yes."), chat("Yes.")), env=env
    ) as running:
        room = Room()
        room.loudspeaker = Loudspeaker()
        vars(running.voice).update(
            devices=room,
            ears=Ears((Typist("server", "hello"), ear), running.bus),
            mouths=Mouths((mouth, SlowMouth("server")), running.bus),
            detector=LoudMeansSpeech(),
        )
        yield running


async def listens(runtime: Runtime) -> None:
    """The microphone is opened, and closed again."""
    talking = asyncio.create_task(runtime.run("voice.talk"))
    await until(lambda: runtime.voice.listening.open)
    await until(lambda: not runtime.voice._asides)
    await runtime.voice.rest()
    await talking


async def test_an_open_microphone_loads_the_ear_and_where_answers_are_spoken_the_mouth(
    runtime: Runtime, ear: SlowEar, mouth: SlowMouth
) -> None:
    await listens(runtime)
    assert (ear.loads, mouth.loads) == (1, 0)
    runtime.voice.speaking.auto = True
    await listens(runtime)
    assert (ear.loads, mouth.loads) == (2, 1)


async def test_the_mouth_is_loaded_when_answers_will_be_spoken_and_with_each_question(
    runtime: Runtime, ear: SlowEar, mouth: SlowMouth
) -> None:
    answer = await runtime.run("chat.send", "Hello?")
    assert isinstance(answer, TurnFinished) and mouth.loads == 0
    await runtime.run("voice.auto", "on")
    await until(lambda: mouth.loads == 1)
    await runtime.run("chat.send", "Hello?")
    await until(lambda: mouth.loads == 2)
    await runtime.run("voice.auto", "off")
    await runtime.run("settings.set", "voice.speak_answers", "true")
    await until(lambda: mouth.loads == 3)
    assert ear.loads == 0


async def test_only_the_one_that_is_asked_first_is_loaded(runtime: Runtime) -> None:
    first, second = SlowMouth("server"), SlowMouth("embedded")
    mouths = Mouths((first, second), runtime.bus)
    await mouths.load()
    assert (first.loads, second.loads) == (1, 0)
    await mouths.load("embedded")
    assert (first.loads, second.loads) == (1, 1)
    await Mouths((Mouth(), second), runtime.bus).load()
    assert second.loads == 1


@pytest.mark.skipif(not is_installed("mouth"), reason="the extra `voice` is not installed")
async def test_who_is_not_wanted_any_more_while_it_loads_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sophia_core.voice.engine_process.GRACE_SECONDS", 60)
    engine = Engine("mouth")
    loading = asyncio.create_task(engine.ready())
    async with asyncio.timeout(10):
        while engine.pid is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
    child = engine._child
    assert child
    loading.cancel()
    with suppress(asyncio.CancelledError):
        await loading
    assert child.returncode == -9 and engine.pid is None
