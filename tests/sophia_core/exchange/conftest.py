"""A store to export from and import into, without the rest of the app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from local_store import Store, StorePaths
from sophia_core.events import Bus
from sophia_core.exchange.exchange import Exchange
from sophia_core.state import Current
from sophia_core.vault import Vault


class Desk:
    """An open store with its commands."""

    def __init__(self, home: Path) -> None:
        self.bus, self.current = Bus(), Current()
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.exchange = Exchange(self.vault, self.bus, self.current)

    @property
    def store(self) -> Store:
        assert self.vault.store is not None
        return self.vault.store


OpenDesk = Callable[[str], Awaitable[Desk]]


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[OpenDesk]:
    """Opens a store of that name; closed at the end."""
    opened: list[Desk] = []

    async def open_one(name: str) -> Desk:
        desk = Desk(tmp_path / name)
        await desk.vault.open()
        opened.append(desk)
        return desk

    yield open_one
    for desk in opened:
        await desk.vault.close()


@pytest.fixture
async def desk(desks: OpenDesk) -> Desk:
    return await desks("home")
