"""A picture for a model that cannot see: who could is offered before anything is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from sophia_core.attach.pictures import plain_png
from sophia_tui.app import SophiaApp
from sophia_tui.screens.pick import Pick
from tests.scripted import ScriptedTransport, chat
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
BLIND = (
    '[[providers]]\nname = "blind"\nbase_url = "http://blind/v1"\nmodel = "m"\ncontext_window = 9000\nkind = "vllm"\n'
)
OWL = BLIND.replace("blind", "owl") + 'capabilities = ["chat", "vision"]\ntier = 1\n'
NONE = {"SOPHIA_BASE_URL": "", "SOPHIA_MODEL": "", "SOPHIA_ROUTING__EMBEDDED_FALLBACK": "false"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    (made / "red.png").write_bytes(plain_png(8, 8, (255, 0, 0)))
    (made / "config.toml").write_text(BLIND + OWL)
    return made


async def ask(app: SophiaApp, pilot: Pilot[int], home: Path) -> Pick[object]:
    """Asks the blind one about a picture, and waits for the dialog."""
    await app.runtime.run("model.use", "blind")
    await app.runtime.run("attach.add", str(home / "red.png"))
    app.chat.prompt.put("Which colour?")
    await pilot.press("enter")
    async with asyncio.timeout(30):
        while not isinstance(app.screen, Pick):
            await pilot.pause()
    return app.screen


def wire(app: SophiaApp) -> ScriptedTransport:
    assert isinstance(app._transport, ScriptedTransport)
    return app._transport


async def test_somebody_who_sees_is_asked_instead(open_app: OpenApp, home: Path) -> None:
    async with open_app(chat("Red."), home=home, **NONE) as (app, pilot):
        offered = await ask(app, pilot, home)
        assert [item.label for item in offered.items] == ["Ask owl", "Send without", "Cancel"]
        await pilot.press("enter")
        await settle(app, pilot)
        assert app.runtime.current.provider == "owl"
        assert [call.url for call in wire(app).calls if call.body] == ["http://owl/v1/chat/completions"]
        assert app.chat.transcript.entries[-1].text == "Red."


async def test_the_words_can_go_without_the_picture(open_app: OpenApp, home: Path) -> None:
    async with open_app(chat("Hm."), home=home, **NONE) as (app, pilot):
        (home / "notes.txt").write_text("note\n")
        await app.runtime.run("attach.add", str(home / "notes.txt"))
        await ask(app, pilot, home)
        await pilot.press("down", "enter")
        await settle(app, pilot)
        assert app.runtime.current.provider == "blind"
        assert [each.name for each in app.chat.transcript.entries[0].asides] == ["notes.txt"]
        assert app.chat.transcript.entries[-1].text == "Hm."


@pytest.mark.parametrize("keys", [("escape",), ("down", "down", "enter")])
async def test_cancelling_sends_nothing_and_keeps_everything(
    open_app: OpenApp, home: Path, keys: tuple[str, ...]
) -> None:
    async with open_app(home=home, **NONE) as (app, pilot):
        await ask(app, pilot, home)
        await pilot.press(*keys)
        await settle(app, pilot)
        assert app.chat.prompt.text == "Which colour?"
        assert [each.name for each in app.runtime.attachments.waiting] == ["red.png"]
        assert not [call for call in wire(app).calls if call.body]


async def test_other_models_of_a_provider_are_offered(open_app: OpenApp, home: Path) -> None:
    (home / "config.toml").write_text(BLIND + 'models = ["qwen2-vl", "plain"]\n')
    async with open_app(chat("Red."), home=home, **NONE) as (app, pilot):
        offered = await ask(app, pilot, home)
        assert [item.label for item in offered.items] == ["Ask blind qwen2-vl", "Send without", "Cancel"]
        await pilot.press("enter")
        await settle(app, pilot)
        assert wire(app).bodies[0]["model"] == "qwen2-vl"
