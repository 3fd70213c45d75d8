"""What is wrong with a store that opened is said, kept in the audit log, and ends when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import KeyPolicy, StorePaths, engine, open_store
from local_store.keys import Credentials, open_keys
from sophia_core.chat.drafts import Drafts
from sophia_core.commands import Registry
from sophia_core.events import Bus, Event, Notice, StoreStateChanged
from sophia_core.vault import Vault


class Place:
    """A store, and the vaults that open it."""

    def __init__(self, home: Path) -> None:
        self.paths = StorePaths(home / "store", home / "device")
        self.told: list[Event] = []
        self._vaults: list[Vault] = []

    async def written(self) -> None:
        async with await open_store(self.paths, allow_keyring=False) as store:
            await store.sessions.create("kept")

    async def open(self, *, allow_network_folder: bool = False) -> Vault:
        bus = Bus()
        bus.subscribe(self.told.append)
        vault = Vault(self.paths, bus, allow_keyring=False, allow_network_folder=allow_network_folder)
        self._vaults.append(vault)
        await vault.open()
        return vault

    async def close(self) -> None:
        for vault in self._vaults:
            await vault.close()

    def notices(self) -> list[Notice]:
        return [each for each in self.told if isinstance(each, Notice)]

    def states(self) -> list[StoreStateChanged]:
        return [each for each in self.told if isinstance(each, StoreStateChanged)]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.close()


async def put_back(place: Place) -> None:
    await place.written()
    before = place.paths.database.read_bytes()
    await place.written()
    place.paths.database.write_bytes(before)


async def test_an_earlier_state_is_said_each_time_and_kept_once(place: Place) -> None:
    await put_back(place)
    for _ in range(2):
        vault = await place.open()
        await vault.close()
    vault = await place.open()
    notices = place.notices()
    assert len(notices) == 3 and {each.level for each in notices} == {"error"}
    assert "put back" in notices[0].text and "store accept" in notices[0].hint
    assert vault.store is not None and vault.state == "open"
    kinds = [each.kind for each in await vault.store.audit.entries()]
    assert kinds.count("store.rolled_back") == 1


async def test_an_accepted_state_is_not_said_again(place: Place) -> None:
    await put_back(place)
    vault = await place.open()
    registry = Registry()
    registry.collect(vault)
    assert "counts from now on" in str(await registry.run_line("store.accept mine", confirmed=True))
    assert "nothing to accept" in str(await registry.run_line("store.accept", confirmed=True))
    await vault.close()
    place.told.clear()
    vault = await place.open()
    assert place.notices() == []


async def test_a_newer_store_is_open_and_says_once_that_it_is_only_read(place: Place) -> None:
    await place.written()
    keys = open_keys(place.paths, Credentials(None, None, allow_keyring=False), KeyPolicy(), create=False)
    with contextlib.closing(engine.Opener(place.paths.database, keys.database_keys()[0]).writer()) as connection:
        connection.execute("PRAGMA user_version = 99")
    vault = await place.open()
    assert vault.store is not None
    full = [each for each in place.states() if each.state == "full"]
    assert len(full) == 1 and "newer version" in full[0].detail and "Update" in full[0].hint
    drafts = Drafts(vault)
    await drafts.save("s", "half a thought")
    assert await drafts.load("s") == "half a thought"
    await drafts.save("s", "")
    assert await drafts.load("s") == ""
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "store-writable"]


async def test_what_can_be_written_again_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sophia_core.vault.RETRY_SECONDS", 0.0)
    await place.written()
    vault = await place.open()
    assert vault.store is not None
    place.told.clear()
    looks = iter([False, False, True])

    async def retry_writing() -> bool:
        return next(looks)

    monkeypatch.setattr(vault.store, "retry_writing", retry_writing)
    await vault._until_writable(vault.store)
    assert [(each.state, bool(each.detail)) for each in place.states()] == [("open", True)]
