"""What the store refused is written later: in order, each once, and whatever happens to it is told truly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import StorePaths
from local_store.errors import NotFound, StoreError, WrongState
from sophia_core.events import Bus, StoreStateChanged
from sophia_core.vault import Vault


class Safe:
    """A vault on a real store, and writes that the test lets pass."""

    def __init__(self, home: Path) -> None:
        self.bus, self.told = Bus(), list[StoreStateChanged]()
        self.bus.subscribe(lambda event: self.told.append(event) if isinstance(event, StoreStateChanged) else None)
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.refuses: StoreError | None = StoreError("the disk is full")
        self.written: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    def keep(self, name: str) -> None:
        async def write() -> None:
            await self.go_on.wait()
            if self.refuses:
                raise self.refuses
            self.written.append(name)

        self.vault.keep(write)


@pytest.fixture
async def safe(tmp_path: Path) -> AsyncIterator[Safe]:
    made = Safe(tmp_path)
    await made.vault.open()
    made.told.clear()
    yield made
    made.go_on.set()
    await made.vault.close()


async def test_what_was_refused_is_written_in_order_and_then_said_to_be_saved(safe: Safe) -> None:
    for name in "abc":
        safe.keep(name)
    await safe.vault.write_kept()
    assert (safe.written, safe.vault.unwritten, safe.told) == ([], 3, [])
    safe.refuses = None
    await safe.vault.write_kept()
    assert (safe.written, safe.vault.unwritten) == (["a", "b", "c"], 0)
    assert [event.state for event in safe.told] == ["open"]
    await safe.vault.write_kept()
    assert len(safe.told) == 1, "there was nothing to say"


@pytest.mark.parametrize("gone", [NotFound("its session is deleted"), WrongState("it is finished")])
async def test_what_has_nowhere_to_go_holds_nothing_up(safe: Safe, gone: StoreError) -> None:
    safe.keep("lost")
    safe.refuses = gone
    await safe.vault.write_kept()
    assert (safe.vault.unwritten, safe.written) == (0, [])


async def test_two_tries_at_once_write_everything_once(safe: Safe) -> None:
    safe.refuses = None
    safe.go_on.clear()
    for name in "abc":
        safe.keep(name)
    tries = [asyncio.create_task(safe.vault.write_kept()) for _ in range(3)]
    await asyncio.sleep(0)
    safe.go_on.set()
    await asyncio.gather(*tries)
    assert (safe.written, safe.vault.unwritten) == (["a", "b", "c"], 0)


async def test_closing_in_the_middle_of_a_write_loses_and_doubles_nothing(safe: Safe) -> None:
    safe.refuses = None
    safe.go_on.clear()
    safe.keep("a")
    safe.keep("b")
    writing = asyncio.create_task(safe.vault.write_kept())
    await asyncio.sleep(0)
    closing = asyncio.create_task(safe.vault.close())
    await asyncio.sleep(0)
    safe.go_on.set()
    await asyncio.gather(writing, closing)
    assert safe.written == ["a", "b"]
    assert [task for task in asyncio.all_tasks() if task.get_name() == "store-retry"] == []


async def test_a_store_that_refuses_to_the_end_still_closes(safe: Safe) -> None:
    safe.keep("a")
    await safe.vault.close()
    assert (safe.written, safe.vault.store) == ([], None)


async def test_an_unsaved_store_is_never_said_to_be_saved(tmp_path: Path) -> None:
    safe = Safe(tmp_path)
    await safe.vault.open_unsaved()
    safe.keep("a")
    safe.refuses = None
    await safe.vault.write_kept()
    assert {event.state for event in safe.told} == {"unsaved"}
    await safe.vault.close()
