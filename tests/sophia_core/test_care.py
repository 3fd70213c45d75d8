"""Looking after the store, as commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import StorePaths
from sophia_core.backups import Backups
from sophia_core.care import Care
from sophia_core.commands import CommandError, NeedsConfirmation, Registry
from sophia_core.events import Bus, Event, SessionChanged
from sophia_core.state import Current
from sophia_core.vault import Vault
from tests.local_store.damage_support import flip, layout


class Desk:
    """The commands on a store of their own."""

    def __init__(self, folder: Path) -> None:
        self.paths = StorePaths(folder / "store", folder / "device")
        self.bus, self.current, self.registry = Bus(), Current(), Registry()
        self.vault = Vault(self.paths, self.bus, allow_keyring=False)
        self.backups = Backups(self.vault, self.bus, self.current, self.paths, allow_keyring=False)
        self.busy = False
        self.care = Care(
            self.vault,
            self.bus,
            self.current,
            self.paths,
            self.backups,
            allow_keyring=False,
            busy=lambda: self.busy,
        )
        self.registry.collect(self.care)
        self.events: list[Event] = []
        self.bus.subscribe(self.events.append)

    async def say(self, text: str) -> str:
        store = await self.vault.get()
        session = await store.sessions.create(text)
        turn = await store.turns.begin(session.id, None, text, request_id="r")
        await store.turns.finish(turn.answer.id, text="well", status="complete")
        return session.id


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.vault.open()
    yield desk
    await desk.vault.close()


async def test_a_store_in_use_is_salvaged_and_opened_again(desk: Desk) -> None:
    session = await desk.say("hello")
    desk.current.session_id = session
    with pytest.raises(NeedsConfirmation):
        await desk.registry.run("store.salvage")
    told = str(await desk.registry.run("store.salvage", confirmed=True))
    assert told.startswith("Saved 2 messages in 1 session: ") and "Nothing was lost." in told
    assert desk.vault.state == "open" and desk.current.session_id is None
    assert SessionChanged(None) in desk.events
    assert len(await (await desk.vault.get()).messages.path(session)) == 2


async def test_a_damaged_store_is_not_repaired_but_salvaged(desk: Desk) -> None:
    await desk.say("hello")
    assert "There was nothing to repair." in str(await desk.registry.run("store.repair"))
    await desk.vault.close()
    flip(desk.paths.database, layout(desk.paths).root["message_by_parent"])
    await desk.vault.open()
    with pytest.raises(CommandError) as refused:
        await desk.registry.run("store.repair")
    assert "salvage" in refused.value.hint
    told = str(await desk.registry.run("store.salvage", str(desk.paths.root.parent / "new"), confirmed=True))
    assert "1 page of" in told and "message_by_parent" not in told


async def test_what_is_to_go_has_to_be_clear(desk: Desk) -> None:
    session = await desk.say("hello")
    for arguments in ({}, {"session": session, "deleted": True}, {"older_than": "soon"}, {"older_than": "90d"}):
        with pytest.raises(CommandError) as refused:
            await desk.registry.run("session.purge", confirmed=True, **arguments)
        assert refused.value.hint
    desk.busy = True
    with pytest.raises(CommandError, match="arriving"):
        await desk.registry.run("session.purge", session, confirmed=True)
    desk.busy = False
    desk.current.session_id = session
    told = await desk.registry.run("session.purge", confirmed=True)
    assert told == "Removed 1 session with 2 messages for good."
    assert desk.current.session_id is None
    told = await desk.registry.run("session.purge", deleted=True, confirmed=True)
    assert told == "Removed what was left of deleted sessions."
