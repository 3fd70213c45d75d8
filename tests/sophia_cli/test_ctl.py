"""`sophia ctl` against a running app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backend_client.errors import InvalidRequest
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedTransport, chat
from tests.sophia_cli.harness import Program


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Runtime]:
    home = tmp_path / "home"
    env = {
        "SOPHIA_HOME": str(home),
        "SOPHIA_BASE_URL": "http://scripted/v1",
        "SOPHIA_MODEL": "m",
        "SOPHIA_NO_KEYRING": "1",
    }
    runtime = Runtime(
        load_settings(env),
        transport=ScriptedTransport(chat("Hello."), chat("Again."), InvalidRequest("no such model")),
        env=env,
    )
    await runtime.start()
    yield runtime
    await runtime.close()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


async def test_lines_are_run_one_after_the_other(running: Runtime, program: Program) -> None:
    await running.run("control.open")
    ended = await program.run("ctl", 'chat.send "hi"', "chat.send again")
    assert (ended.code, ended.out) == (0, "Hello.\nAgain.\n")
    listed = await program.run("ctl", "session.list", "--json")
    assert listed.json[0]["message_count"] == 4
    unanswered = await program.run("ctl", "chat.send more")
    assert unanswered.code == 4 and unanswered.err
    failed = await program.run("ctl", "no.such", "session.list")
    assert (failed.code, failed.out) == (1, "") and "There is no command" in failed.err
    asks = await program.run("ctl", "session.delete")
    assert asks.code == 1 and "--yes" in asks.err
    assert (await program.run("ctl", "session.delete", "--yes")).code == 0


async def test_without_an_app_it_says_what_to_do(program: Program, running: Runtime) -> None:
    ended = await program.run("ctl", "session.list")
    assert ended.code == 2 and "no running app can be reached" in ended.err and "control.open" in ended.err
    assert (await program.run("ctl")).code == 2
    await running.run("control.open")
    assert "of process 1 can be reached" in (await program.run("ctl", "--pid", "1", "session.list")).err
