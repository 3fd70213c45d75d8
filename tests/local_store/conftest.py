"""A store in a temporary folder, with passphrase work made cheap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
def paths(tmp_path: Path) -> StorePaths:
    return StorePaths(tmp_path / "store", tmp_path / "device")


@pytest.fixture
async def opening(paths: StorePaths) -> AsyncIterator[OpenStore]:
    """Opens the store, with any of `open_store`'s options; whatever is still open at the end is closed."""
    opened: list[Store] = []

    async def open_one(
        *,
        passphrase: str | None = None,
        recovery_key: str | None = None,
        allow_keyring: bool = False,
        create: bool = True,
        policy: KeyPolicy = CHEAP,
        at: StorePaths = paths,
        typed_only: bool = False,
    ) -> Store:
        store = await open_store(
            at,
            passphrase=passphrase,
            recovery_key=recovery_key,
            allow_keyring=allow_keyring,
            create=create,
            policy=policy,
            typed_only=typed_only,
        )
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(opening: OpenStore) -> Store:
    return await opening()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made
