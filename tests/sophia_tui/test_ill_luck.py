"""What the operating system refuses is a word in the corner, never the end of the app."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
from tests.sophia_tui.conftest import settle
from tests.sophia_tui.test_toasts import words

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]


async def test_a_folder_that_cannot_be_written(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: SophiaApp) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", "sophia.svg")

    monkeypatch.setattr(SophiaApp, "save_screenshot", refuse)
    async with open_app() as (app, pilot):
        app.dispatcher.start("app.screenshot")
        await settle(app, pilot)
        assert app.is_running and any("Permission denied: 'sophia.svg'" in each for each in words(app))


async def test_no_clipboard_and_nowhere_to_write(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await app.ready.wait()
        app.dispatcher.clipboard._env = {"TERM": "linux"}
        folder = app.runtime.paths.control_dir
        if folder.is_dir():
            folder.rename(folder.with_name("elsewhere"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("a file where the folder should be")
        app.dispatcher.copy("text", "answer")
        await settle(app, pilot)
        assert app.is_running and any("could not be written to a file either" in each for each in words(app))
        app.dispatcher.start("copy.file")
        await settle(app, pilot)
        assert app.is_running and any("That did not work" in each for each in words(app))
