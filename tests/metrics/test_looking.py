"""What a running app knows at a moment, put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend_client.errors import Unreachable
from local_store.alerts import Standing
from sophia_core.metrics.view.looking import Looking
from sophia_core.metrics.view.page import header, page
from sophia_core.metrics.view.text import words
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedTransport, chat

ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}


async def test_a_turn_is_seen_in_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    transport = ScriptedTransport(chat("hello", tokens=(7, 3)), Unreachable("nobody"), Unreachable("nobody"))
    async with open_runtime(load_settings(env), transport=transport, env=env) as runtime:
        looking = Looking(runtime)
        before = looking.now()
        assert before.slow == () and before.ways[0].verdict == "asked first" and before.alerts == ()
        await runtime.run("chat.send", "hi")
        await runtime.traces.written()
        await looking.catch_up()
        seen = looking.now()
        turn = seen.slow[0]
        assert turn.model == "scripted" and turn.ok and turn.duration_s >= 0
        assert str(await runtime.run("trace.show", turn.answer)), "what the row leads to is there"
        told = {each.name: each.value for each in seen.own}
        assert told["chat_requests_total"] == 1.0
        assert {each.name for each in seen.objectives}
        assert seen.ways[0].breaker == "closed" and "0 of 1 failed" in seen.ways[0].seen
        assert f"L{seen.level}" in words(header(seen, 200))
        assert "chat_requests_total" in "\n".join(page(seen, 120))


async def test_what_is_in_the_store_is_read_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    monkeypatch.setenv("SOPHIA_HOME", str(tmp_path))
    now = 1000.0
    async with open_runtime(load_settings(env), transport=ScriptedTransport(chat("a"), chat("b")), env=env) as runtime:
        looking = Looking(runtime, clock=lambda: now)
        await looking.catch_up()
        await runtime.run("chat.send", "hi")
        await runtime.traces.written()
        await looking.catch_up()
        assert looking.now().slow == (), "not at once again"
        now += 11
        await looking.catch_up()
        assert len(looking.now().slow) == 1


async def test_an_alert_that_is_over_is_not_shown_for_being_in_the_store_a_moment_ago(tmp_path: Path) -> None:
    env = {**ENV, "SOPHIA_HOME": str(tmp_path)}
    async with open_runtime(load_settings(env), transport=ScriptedTransport(), env=env) as runtime:
        store = await runtime.vault.get()
        await store.alerts.begin(Standing("hot/target=node", "hot", "error", "node is hot", "node", 0, told=True))
        looking = Looking(runtime)
        await looking.catch_up()
        assert len(looking.now().alerts) == 1, "nobody watches here: what the store has"
        runtime.alerts.start()
        assert looking.now().alerts == ()
