"""The runtime as a whole: what attending starts, and that closing leaves nothing behind whenever it comes."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend_client import Unreachable
from sophia_core.commands import CommandError
from sophia_core.events import (
    BreakerChanged,
    FailedOver,
    RouteChosen,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.contract_server import ContractServer
from tests.scripted import ScriptedReply, ScriptedTransport, chat, delta

DOWN = Unreachable("no connection", reached=False)
TWO = """[routing]
embedded_fallback = false
[[providers]]
name = "first"
base_url = "http://first.test/v1"
model = "m"
[[providers]]
name = "second"
base_url = "http://second.test/v1"
model = "m"
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    for each in made.opened:
        await each.close()


class House:
    """A home with two providers, on scripted wires."""

    def __init__(self, home: Path) -> None:
        self.home, self.opened = home, list[Runtime]()
        (home / "config.toml").write_text(TWO)

    def runtime(self, *script: ScriptedReply | Unreachable, **env: str) -> Runtime:
        variables = {"SOPHIA_HOME": str(self.home), "SOPHIA_NO_KEYRING": "1", **env}
        made = Runtime(load_settings(variables), transport=ScriptedTransport(*script), env=variables)
        self.opened.append(made)
        return made

    async def started(self, *script: ScriptedReply | Unreachable, **env: str) -> Runtime:
        made = self.runtime(*script, **env)
        await made.start()
        return made


def others() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()}


async def test_a_question_fails_over_and_says_so(house: House) -> None:
    runtime, told = await house.started(DOWN, chat("Hello")), list[object]()
    runtime.bus.subscribe(told.append)
    assert runtime.provider.name == "first"
    finished = await runtime.run("chat.send", "hi")
    assert isinstance(finished, TurnFinished)
    assert (finished.text, finished.provider) == ("Hello", "second")
    kinds = [type(event) for event in told if isinstance(event, BreakerChanged | FailedOver | RouteChosen)]
    assert kinds == [BreakerChanged, FailedOver, RouteChosen]
    assert runtime.provider.name == "second"


async def test_a_model_chosen_for_all_is_asked_of_whoever_can_and_auto_ends_a_choice(house: House) -> None:
    runtime = await house.started(chat("one"), chat("two"))
    await runtime.run("model.use", "second", "m")
    assert ((await runtime.run("chat.send", "hi")).provider, runtime.provider.name) == ("second", "second")  # type: ignore[attr-defined]
    assert "best provider" in str(await runtime.run("model.use", "auto"))
    assert (runtime.current.provider, runtime.current.model) == (None, None)
    with pytest.raises(CommandError, match="no provider 'third'") as caught:
        await runtime.run("model.use", "third")
    assert "first, second, and auto for all of them" in caught.value.hint
    assert (await runtime.run("chat.send", "hi")).text == "two"  # type: ignore[attr-defined]


async def test_only_a_person_makes_questions_wait(house: House) -> None:
    script = [DOWN] * 40
    runtime = await house.started(*script)
    assert (await runtime.run("chat.send", "hi")).status == "failed"  # type: ignore[attr-defined]
    runtime.attend()
    assert (await runtime.run("chat.send", "hi")).status == "queued"  # type: ignore[attr-defined]
    assert runtime.chat.offer_continue


async def test_closing_twice_or_before_the_start_is_fine(house: House) -> None:
    runtime = house.runtime()
    await runtime.close()
    await runtime.close()
    started = await house.started()
    started.attend()
    await started.close()
    await started.close()
    assert others() == set()


@pytest.mark.parametrize("when", ["at once", "while it is stored", "while it waits", "while it streams"])
async def test_closing_while_a_question_is_asked_keeps_it_and_leaves_no_task(house: House, when: str) -> None:
    forever = asyncio.Event()
    waits = ScriptedReply(before=(forever,))
    streams = ScriptedReply((delta(content="Hel"), forever))
    runtime, seen = await house.started(streams if when == "while it streams" else waits), asyncio.Event()
    sign = {"while it waits": TurnStarted, "while it streams": TextDelta}.get(when)
    runtime.bus.subscribe(lambda event: seen.set() if sign and isinstance(event, sign) else None)
    runtime.attend()
    asking = asyncio.create_task(runtime.run("chat.send", "hi"))
    if sign:
        await seen.wait()
    elif when == "while it is stored":
        await asyncio.sleep(0)
    await runtime.close()
    await asyncio.gather(asking, return_exceptions=True)
    assert others() == set()
    again = await house.started()
    assert again.vault.recovered == 0, "nothing was left streaming"
    found = await (await again.vault.get()).sessions.list()
    if sign:
        rows = await (await again.vault.get()).messages.path(found[0].id)
        assert [row.text for row in rows] == ["hi", "Hel" if when == "while it streams" else ""]


async def test_what_cannot_be_closed_keeps_nothing_else_open(house: House) -> None:
    runtime = await house.started()
    store = runtime.vault.store
    assert store

    async def broken() -> None:
        raise RuntimeError("the wire will not close")

    runtime.client.aclose = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="will not close"):
        await runtime.close()
    assert runtime.vault.store is None
    del runtime.client.aclose


async def test_closing_a_real_one_while_it_delivers_and_probes_warns_of_nothing(tmp_path: Path) -> None:
    async with ContractServer() as server:
        (tmp_path / "config.toml").write_text(TWO.replace("http://first.test/v1", server.base_url))
        env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1"}
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            runtime = Runtime(load_settings(env), env=env)
            await runtime.start()
            runtime.attend()
            await server.go_down()
            finished = await runtime.run("chat.send", "hi")
            assert isinstance(finished, TurnFinished) and finished.status == "queued"
            await server.come_up()
            server.fault = "stall_headers"
            runtime.outbox.poke()
            while not (await asyncio.wait_for(server.arrival(), 20)).path.endswith("/chat/completions"):
                pass
            await runtime.close()
            gc.collect()
    assert {task.get_name() for task in others()} & {"outbox", "turn", "provider-monitor", "spending"} == set()


async def test_closing_says_nothing_about_a_store_that_had_nothing_to_catch_up_with(house: House) -> None:
    runtime, told = await house.started(), list[object]()
    runtime.bus.subscribe(told.append)
    await runtime.close()
    assert [event for event in told if isinstance(event, StoreStateChanged)] == []
