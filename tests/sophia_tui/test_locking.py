"""What is on the screen while the store is locked."""

from __future__ import annotations

from sophia_tui.app import SophiaApp
from tests.scripted import chat
from tests.sophia_tui.conftest import settle
from tests.sophia_tui.test_app import OpenApp, ask

SECRET = "the launch code is 0000"


def shown_on(app: SophiaApp) -> str:
    return app.export_screenshot()


async def test_a_locked_store_leaves_nothing_on_the_screen(open_app: OpenApp) -> None:
    async with open_app(chat(SECRET)) as (app, pilot):
        assert app.runtime.vault.store is not None
        await app.runtime.vault.store.keys.add_passphrase("pass-word")
        await ask(app, pilot, "tell me the code")
        assert any(SECRET in entry.text for entry in app.chat.transcript.entries)
        await pilot.press(*"later")
        await pilot.pause()
        await settle(app, pilot)
        await app.runtime.run("store.lock")
        await pilot.pause()
        assert app.chat.transcript.entries == []
        assert app.chat.prompt.text == ""
        assert app.chat.prompt.recent == []
        assert "launch" not in shown_on(app)
        await pilot.press(*"pass-word", "enter")
        await settle(app, pilot)
        await pilot.pause()
        assert any(SECRET in entry.text for entry in app.chat.transcript.entries)
        assert app.chat.prompt.text == "later"
