"""Providers, models, routes, breakers, sign-ins, settings and the control socket."""

from __future__ import annotations

import asyncio
import json

from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.sign_in import SignIn
from tests.oidc_server import NAME
from tests.scripted import JSON, ScriptedReply, chat
from tests.sophia_tui.every.walk import Walk, scene


def models(*names: str) -> ScriptedReply:
    """A server's list of models."""
    listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    return ScriptedReply((json.dumps(listed).encode(),), headers=JSON)


TWO = """
[[providers]]
name = "near"
base_url = "http://near/v1"
model = "m"

[[providers]]
name = "far"
base_url = "http://far/v1"
model = "m"
"""


@scene(
    "model.use",
    "route.explain",
    "route.last",
    "breaker.list",
    "breaker.open",
    "breaker.close",
    "breaker.reset",
    script=(chat("one"), chat("two")),
    config=TWO,
)
async def routes(walk: Walk) -> None:
    await walk.do("/model far")
    await walk.ask()
    assert "far" in walk.transport.calls[-1].url
    await walk.do("/model auto")
    assert "near" in await walk.do("/route")
    assert "far" in await walk.do("/route.last")
    await walk.do("/breaker.open near")
    assert "open" in await walk.do("/breakers")
    await walk.ask("again")
    assert "far" in walk.transport.calls[-1].url
    await walk.do("/breaker.close near")
    assert "closed" in await walk.do("/breakers")
    assert "again" in await walk.do("/breaker.reset near")


@scene("settings.list", "settings.set", "settings.reset", "settings.history")
async def settings(walk: Walk) -> None:
    assert "chat.temperature" in await walk.do("/set temperature")
    await walk.do("/settings.set chat.temperature 0.5")
    assert "temperature = 0.5" in (walk.home / "config.toml").read_text()
    assert "chat.temperature" in await walk.do("/settings.history")
    await walk.do("/settings.reset chat.temperature")
    assert "temperature" not in (walk.home / "config.toml").read_text()


@scene("control.open", "control.close")
async def the_control_socket(walk: Walk) -> None:
    await walk.do("/control.open")
    path = walk.app.runtime.control.path
    assert path is not None
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"line": "session.list"}\n')
    async with asyncio.timeout(60):
        assert json.loads(await reader.readline()) == {"done": []}
    writer.close()
    await walk.do("/control.close")
    assert walk.app.runtime.control.path is None and not path.exists()


@scene("model.list", pages={"/models": models("alpha", "beta")})
async def what_there_is_to_ask(walk: Walk) -> None:
    said = await walk.do("/models")
    assert "alpha" in said and "beta" in said


@scene("provider.add", "provider.look", "provider.find", pages={"/models": models("alpha", "beta")}, config=TWO)
async def a_server_of_ones_own(walk: Walk) -> None:
    assert "alpha" in await walk.do("/provider.look http://mine/v1")
    assert "alpha" in await walk.do("/provider.find")
    await walk.do("/provider.add mine http://mine/v1 alpha")
    assert 'base_url = "http://mine/v1"' in (walk.home / "config.toml").read_text()


@scene("provider.connect", pages={"/models": models("alpha", "beta")}, config=TWO)
async def the_wizard(walk: Walk) -> None:
    await walk.begin("/connect")
    for _ in ("server", "model"):
        await walk.screen(Pick)
        await walk.pilot.press("enter")
        await walk.pilot.pause()
    await walk.screen(AskText)
    await walk.press("enter")
    written = (walk.home / "config.toml").read_text()
    assert "127.0.0.1:8000" in written and 'model = "alpha"' in written


SIGN_IN = """
[[providers]]
name = "box"
base_url = "http://127.0.0.1:9/v1"
model = "m"
issuer = "{issuer}"
client_id = "device"
scopes = ["openid", "profile"]
"""


@scene("auth.login", "auth.status", "auth.logout", config=SIGN_IN, issuer=True)
async def signing_in(walk: Walk) -> None:
    assert walk.issuer is not None
    await walk.begin("/login box device")
    shown = await walk.screen(SignIn)
    await walk.issuer.type_code(shown._address, shown._code)
    await walk.settle()
    assert f"Signed in to box as {NAME}" in walk.words()
    assert NAME in await walk.do("/auth.status")
    assert "Signed out" in await walk.do("/logout")
