"""The person's own editor: the terminal is lent to it, and everything but the drawing goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from unittest.mock import PropertyMock, patch

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
from tests.scripted import DONE, ScriptedReply, delta
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
WAIT_S = 30


@pytest.fixture(autouse=True)
def a_terminal_to_lend() -> Iterator[None]:
    with patch.object(HeadlessDriver, "can_suspend", new_callable=PropertyMock, return_value=True):
        yield


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that says who it is, and waits until there is a file `go`."""
    program = tmp_path / "editor"
    place = tmp_path / "editing"
    program.write_text(
        f"#!/bin/sh\necho $$ > {place}.pid\nmv {place}.pid {place}\n"
        f'while [ ! -e {tmp_path}/go ]; do sleep 0.02; done\nprintf " and more" >> "$1"\n'
    )
    program.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(program))
    return place


async def until(pilot: Pilot[int], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await pilot.pause(0.01)


async def test_an_answer_streams_and_is_journalled_while_the_editor_is_open(
    open_app: OpenApp, editor: Path, tmp_path: Path
) -> None:
    more = asyncio.Event()
    reply = ScriptedReply((delta(content="one"), more, delta(content=" two"), delta("stop"), DONE))
    async with open_app(reply) as (app, pilot):
        app.chat.prompt.put("tell")
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.chat.transcript.entries) and app.chat.turns.live is not None)
        app.chat.prompt.put("next")
        await pilot.press("alt+e")
        await until(pilot, editor.exists)
        assert app._batch_count  # nothing is drawn on the terminal that is lent
        more.set()
        await until(pilot, lambda: not app.runtime.chat.busy)
        assert (await app.runtime.sessions.messages())[-1].text == "one two"
        assert app.chat.prompt.text == "next"
        (tmp_path / "go").touch()
        await until(pilot, lambda: app.chat.prompt.text == "next and more")
        await settle(app, pilot)
        assert not app._batch_count


async def test_what_was_written_stays_with_its_session(open_app: OpenApp, editor: Path, tmp_path: Path) -> None:
    async with open_app(ScriptedReply((delta(content="a"), delta("stop"), DONE))) as (app, pilot):
        await app.runtime.run("chat.send", "first")
        await settle(app, pilot)
        first = app.feed.draft_of
        app.chat.prompt.put("for the first")
        await pilot.press("alt+e")
        await until(pilot, editor.exists)
        await app.runtime.run("session.new")
        await until(pilot, lambda: app.feed.draft_of is None)
        (tmp_path / "go").touch()
        await settle(app, pilot)
        assert app.chat.prompt.text == ""
        assert await app.runtime.drafts.load(first) == "for the first and more"


async def test_ctrl_c_in_the_editor_is_not_for_the_app(open_app: OpenApp, editor: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    async with open_app() as (app, pilot):
        app.chat.prompt.put("typed")
        await pilot.press("alt+e")
        await until(pilot, editor.exists)
        os.kill(os.getpid(), signal.SIGINT)
        (tmp_path / "go").touch()
        await until(pilot, lambda: app.chat.prompt.text == "typed and more")
        await settle(app, pilot)
        assert signal.getsignal(signal.SIGINT) == before


async def test_an_editor_goes_with_the_app(open_app: OpenApp, editor: Path) -> None:
    async with open_app() as (app, pilot):
        await pilot.press("alt+e")
        await until(pilot, editor.exists)
        pid = int(editor.read_text())
        workers = [each for each in app.workers if each.group == "commands"]
        for worker in workers:
            worker.cancel()
        await until(pilot, lambda: all(each.is_finished for each in workers))
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not list(app.runtime.paths.control_dir.glob("edit-*"))
