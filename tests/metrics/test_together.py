"""The whole app over machines, some of them bad: asked over the network, shown, kept, judged and alerted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from backend_client.seam import Call, Reply
from backend_client.transport import HttpTransport
from sophia_core.events import AlertRaised, Event
from sophia_core.first_look import FirstLook
from sophia_core.metrics.view.text import words
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.panes.metrics import MetricsPane
from tests.backend_client.certificates import self_signed
from tests.contract_metrics import BAD, Machines
from tests.metrics.bench import until
from tests.quiet import use_for_pauses
from tests.scripted import ScriptedReply, ScriptedTransport, chat

RULES = '[[rule]]\nname = "busy"\nsignal = "requests_running"\nabove = -1\ntargets = ["vllm-00"]\nfor = "0s"\n'
UP = ("vllm-00", "dcgm-00", "node-00", "reset")
DOWN = {"hang": "within", "gone": "404", "broken": "closed", "tls": "certificate"}


class Apart:
    """Questions are answered from memory; numbers come over the network."""

    def __init__(self, *script: ScriptedReply) -> None:
        self._played, self._real = ScriptedTransport(*script), HttpTransport()

    async def open(self, call: Call) -> Reply:
        if call.url.startswith("http://scripted"):
            return await self._played.open(call)
        return await self._real.open(call)

    async def aclose(self) -> None:
        await self._real.aclose()


@pytest.fixture(autouse=True)
def pauses_that_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_for_pauses(monkeypatch)
    yield


@asynccontextmanager
async def app_over(home: Path, config: str, *script: ScriptedReply) -> AsyncIterator[tuple[SophiaApp, Pilot[int]]]:
    """The app, as far as it is begun, with these settings."""
    (home / "config.toml").write_text(config)
    (home / "alerts.toml").write_text(RULES)
    env = {"SOPHIA_HOME": str(home), "SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "m"}
    loaded = load_settings(env)
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=Apart(*script))
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.ready.wait()
            await app.runtime.vault.settled()
            yield app, pilot
    finally:
        await app.runtime.close()


def shown(pane: MetricsPane) -> str:
    return "\n".join(words(each) for each in pane.sheet.lines)


async def section(pilot: Pilot[int], pane: MetricsPane, key: str, true: Callable[[], object]) -> None:
    """Goes to a section and waits for what it shows."""
    await pilot.press(key)
    await until(true)


async def test_machines_good_and_bad_in_the_whole_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")
    with Machines(1) as machines, Machines(1, pem=self_signed(tmp_path)) as private:
        bad = [each for each in BAD if each not in ("endless", "bomb", "stale")]
        tls = f'[[metrics.targets]]\nname = "tls"\nkind = "vllm"\nurl = "{private.url}/box-00/vllm"\n'
        config = machines.targets(*bad, interval_s=0.2).replace("timeout_s = 2", "timeout_s = 0.5") + tls
        async with app_over(tmp_path, config, chat("well")) as (app, pilot):
            runtime, heard = app.runtime, list[Event]()
            runtime.bus.subscribe(heard.append)
            await until(lambda: len(runtime.metrics.readings()) == len(runtime.metrics.targets))
            await until(lambda: runtime.metrics.readings()["vllm-00"].quantiles)
            readings = runtime.metrics.readings()
            assert {name: readings[name].health for name in UP} == dict.fromkeys(UP, "up")
            assert {name: readings[name].health for name in DOWN} == dict.fromkeys(DOWN, "down")
            for name, why in DOWN.items():
                assert why in readings[name].reason, readings[name]
            assert not readings["nan"].values and not readings["garbage"].values

            await pilot.press("f5")
            pane = app.query_one("#metrics", MetricsPane)
            await until(lambda: pane.is_mounted and "GPU memory" in shown(pane))
            first = shown(pane)
            await until(lambda: shown(pane) != first)  # its numbers move
            await section(pilot, pane, "5", lambda: "404" in shown(pane))
            await section(pilot, pane, "3", lambda: "org/model" in shown(pane))

            await runtime.run("chat.send", "how are you?")
            assert "gen_ai" in repr(await runtime.run("trace.show", "last"))
            await section(pilot, pane, "8", lambda: "chat_requests_total" in shown(pane))
            await section(pilot, pane, "9", lambda: "availability" in shown(pane))
            assert {each.events for each in runtime.objectives.states() if each.name == "availability"} == {1}

            await until(lambda: any(isinstance(each, AlertRaised) and each.rule == "busy" for each in heard))
            await section(pilot, pane, "a", lambda: "busy" in shown(pane))
            await pilot.press("2", "n")
            await until(lambda: pane.plot.has_plot and pane.plot.drawn_dots())
            await _kept(runtime, tmp_path)


async def _kept(runtime: object, home: Path) -> None:
    """What was measured is in the store, and not in plain text."""
    metrics = runtime.metrics  # type: ignore[attr-defined]
    now = time.time()
    tracks = await metrics.history("requests_running", now - 60, now, 60)
    assert "vllm-00" in {each.name for each in tracks}
    await metrics.rest()
    files = [each for each in home.rglob("metrics*") if each.is_file()]
    assert files and not any(b"requests_running" in each.read_bytes() for each in files)


async def test_what_a_shell_command_counted_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "m"}
    for said in ("one", "two"):
        transport = ScriptedTransport(chat(said))
        async with open_runtime(load_settings(env), transport=transport, env=env) as runtime:
            await runtime.run("chat.send", said)
    async with open_runtime(load_settings(env), transport=ScriptedTransport(), env=env) as runtime:
        await runtime.objectives.load()
        told = {each.name: each.events for each in runtime.objectives.states()}
        assert told["availability"] == told["errors"] == 2


async def test_a_shell_command_that_asked_nobody_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "m"}
    async with open_runtime(load_settings(env), transport=ScriptedTransport(), env=env) as runtime:
        await runtime.run("session.list")
        await asyncio.sleep(0)
    assert not list(tmp_path.rglob("metrics.db"))
