"""The worker around the engine: one a slot, ends when there is nothing to do, and runs our own commands only if let."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sophia_core.commands import CommandError
from sophia_core.gate.ports import Decision
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.engine import carrier
from sophia_core.swarm.engine.built_in import CommandRunner
from sophia_core.swarm.engine.worker import AlreadyThere, only_one, work
from sophia_core.swarm.place import lock_file
from sophia_core.swarm.plan import Step
from sophia_core.swarm.ports import StepFailed, StepWork
from tests.scripted import ScriptedTransport
from tests.swarm.step_host import KeptHost

ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}
PASSPHRASE = "correct horse battery staple"


def runtime_of(folder: Path) -> Runtime:
    variables: Mapping[str, str] = {**ENV, "SOPHIA_HOME": str(folder)}
    return Runtime(load_settings(variables), transport=ScriptedTransport(), env=variables)


async def test_one_worker_a_slot_that_ends_when_there_is_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrier, "QUEUE_POLL_S", 0.1)
    runtime, said = runtime_of(tmp_path), list[str]()
    await runtime.start()
    try:
        with only_one(lock_file(runtime.paths, 0)), pytest.raises(AlreadyThere):
            await work(runtime, asyncio.Event(), slot=0, labels=(), idle_s=None, trouble=said.append)
        async with asyncio.timeout(60):
            await work(runtime, asyncio.Event(), slot=0, labels=(), idle_s=0.05, trouble=said.append)
        store = await runtime.vault.get()
        assert [each.state for each in await store.workers.list()] == ["stopped"]
        assert not said
    finally:
        await runtime.close()


async def test_a_store_with_a_passphrase_is_opened_by_the_key_that_is_handed_over(tmp_path: Path) -> None:
    first = runtime_of(tmp_path)
    await first.start()
    store = await first.vault.get()
    await store.keys.add_passphrase(PASSPHRASE)
    key = store.keys.for_own_process()
    await first.close()
    for handed, state in ((None, "locked"), (b"x" * len(key), "failed"), (key, "open")):
        worker = runtime_of(tmp_path)
        worker.vault.handed = handed
        await worker.start(create=False)
        assert worker.vault.state == state
        assert worker.vault.handed is None, "the key was not forgotten"
        await worker.close()


async def test_a_command_is_run_once_and_only_when_it_was_allowed() -> None:
    ran: list[str] = []

    async def dispatch(line: str, *, confirmed: bool) -> str:
        ran.append(line)
        if "bad" in line:
            raise CommandError("there is no such command", hint="See /help.")
        return "done"

    runner = CommandRunner(cast("Any", SimpleNamespace(runtime=SimpleNamespace(dispatch=dispatch))))
    work = StepWork("run", Step("a", "board.list", kind="command"), 1, "/", {})
    with pytest.raises(StepFailed, match="refused: not now"):
        await runner.run(work, KeptHost(decision=Decision(False, note="not now")))
    assert not ran
    host = KeptHost()
    assert (await runner.run(work, host)).value == "done"
    assert (await runner.run(work, KeptHost(host.kept))).value == "done"
    assert ran == ["board.list"]
    assert host.asked[0].command == "board.list"
    bad = StepWork("run", Step("a", "bad", kind="command"), 1, "/", {})
    with pytest.raises(StepFailed, match="no such command"):
        await runner.run(bad, KeptHost())
