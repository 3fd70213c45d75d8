"""A conversation with nothing but this machine: a spoken question, the embedded model, a spoken answer; once."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from sophia_core.embedded.model import QWEN_CODER
from sophia_core.events import ListeningChanged, SpeakingChanged, SpeechHeard, TurnFinished
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings
from tests.voice.pulse import Pulse
from tests.voice.test_loop import CONFIG, QUESTION, Watched, alike, spoken, words

FEW = 24
"""Tokens of the answer: enough for a sentence."""
SMALL = f"""
[chat]
max_tokens = {FEW}
temperature = 0
titles = "words"
system_prompt = "Answer in one short sentence."
[embedded]
context = 1024
"""


@pytest.fixture
def weights(request: pytest.FixtureRequest) -> str:
    """The line that names the model's file where it is unpacked already; else empty, and it is unpacked."""
    if importlib.util.find_spec("xllamacpp") is None or any(part.locate() is None for part in QWEN_CODER.parts):
        pytest.skip("needs the extra 'embedded'")
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    unpacked = sorted(cache.mkdir("embedded").glob("models/*.gguf")) if cache else []
    return f'model_path = "{unpacked[0]}"\n' if unpacked else ""


async def test_a_question_is_heard_answered_and_said_by_this_machine_alone(
    pulse: Pulse, tmp_path: Path, weights: str
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG + SMALL + weights)
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1"}
    watched = Watched()
    async with open_runtime(load_settings(env), env=env) as runtime:
        runtime.bus.subscribe(watched)
        question, _ = await asyncio.gather(spoken(runtime, QUESTION), runtime.voice.embedded.load())
        mark = pulse.mark()
        talking = asyncio.create_task(runtime.run("voice.talk"))
        await watched.until(lambda event: isinstance(event, ListeningChanged) and event.state == "waiting")
        await pulse.said(question, 24_000)
        heard = await watched.until(lambda event: isinstance(event, SpeechHeard))
        assert isinstance(heard, SpeechHeard)
        assert alike(heard.text, QUESTION)
        answered = await watched.until(lambda event: isinstance(event, TurnFinished))
        assert isinstance(answered, TurnFinished)
        assert answered.status == "complete"
        assert "paris" in words(answered.text)
        await watched.until(lambda event: isinstance(event, SpeakingChanged) and event.state == "silent")
        await talking
        await pulse.wait_silent()
        said = await runtime.voice.ears.transcribe(pulse.heard_loud(mark))
        assert alike(said.text, answered.text)
