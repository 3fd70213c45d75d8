"""Locking the store: what runs is kept, only what is typed opens it again, and being away long enough does it too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from local_store import StorePaths
from sophia_core.commands import CommandDisabled, CommandError, Registry
from sophia_core.events import Bus, Event, Notice, StoreStateChanged, TextDelta, TurnFinished
from sophia_core.idle_lock import IdleLock
from sophia_core.vault import Vault
from tests.scripted import ScriptedReply, chat, delta
from tests.sophia_core.conftest import OpenBench


class Typing:
    """A person who types these, in turn."""

    def __init__(self, *typed: str) -> None:
        self.typed, self.shown, self.titles = list(typed), "", list[str]()

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        self.titles.append(title)
        return self.typed.pop(0) if self.typed else None

    async def show_recovery_key(self, key: str) -> str | None:
        self.shown = key
        return key


async def heard(bus: Bus, wanted: Callable[[Event], bool]) -> None:
    """Waits until the bus says such an event."""
    arrived = asyncio.Event()
    unsubscribe = bus.subscribe(lambda event: arrived.set() if wanted(event) else None)
    async with asyncio.timeout(10):
        await arrived.wait()
    unsubscribe()


def locked(event: Event) -> bool:
    return isinstance(event, StoreStateChanged) and event.state == "locked"


async def test_locking_keeps_what_has_arrived_and_asks_for_the_passphrase(bench: OpenBench) -> None:
    made = await bench(chat("kept"), ScriptedReply((delta(content="so far"), asyncio.Event())), SOPHIA_PASSPHRASE="p")
    vault = made.runtime.vault
    vault.before_lock.append(made.runtime.chat.close)
    await made.runtime.dispatch("chat.send one")
    asking = asyncio.ensure_future(made.runtime.dispatch("chat.send two"))
    await heard(made.runtime.bus, lambda event: isinstance(event, TextDelta) and event.text == "so far")
    await made.runtime.dispatch("/lock")
    finished = await asking
    assert isinstance(finished, TurnFinished) and finished.saved
    assert (vault.state, vault.store) == ("locked", None)
    assert made.heard(StoreStateChanged)[-1] == StoreStateChanged("locked", vault.detail, vault.hint)
    with pytest.raises(CommandError, match="locked"):
        await made.runtime.dispatch("chat.send three")
    with pytest.raises(CommandDisabled, match="already"):
        await made.runtime.dispatch("/lock")

    vault.asker = Typing("wrong")
    with pytest.raises(CommandError):
        await made.runtime.dispatch("/unlock")
    vault.asker = Typing("p")
    await made.runtime.dispatch("/unlock")
    rows = await made.runtime.sessions.messages()
    assert [row.text for row in rows] == ["one", "kept", "two", "so far"]
    assert rows[-1].status == "cancelled"


async def test_a_store_that_nothing_typed_opens_is_not_locked(bench: OpenBench) -> None:
    made = await bench()
    with pytest.raises(CommandDisabled, match="passphrase"):
        await made.runtime.dispatch("/lock")
    assert made.runtime.vault.state == "open"


async def test_the_device_key_does_not_open_what_was_locked(bench: OpenBench) -> None:
    made = await bench()
    vault = made.runtime.vault
    vault.asker = asker = Typing()
    await made.runtime.dispatch("/recovery")
    await made.runtime.dispatch("/lock")
    await vault.open(create=False)
    assert vault.state == "locked"
    vault.asker = Typing(asker.shown)
    await made.runtime.dispatch("/unlock")
    assert vault.store is not None and vault.store.unlocked_by == "recovery"


async def test_answers_that_are_not_saved_yet_keep_it_open(bench: OpenBench) -> None:
    from local_store import StoreFull

    made = await bench(SOPHIA_PASSPHRASE="p")
    vault = made.runtime.vault
    refusing = True

    async def save() -> None:
        if refusing:
            raise StoreFull("no room")

    vault.keep(save)
    with pytest.raises(CommandError, match="not saved yet"):
        await made.runtime.dispatch("/lock")
    assert vault.state == "open" and vault.store is not None
    refusing = False
    await made.runtime.dispatch("/lock")
    assert vault.store is None and vault.unwritten == 0


async def test_the_recovery_key_sets_a_new_passphrase(bench: OpenBench) -> None:
    made = await bench(SOPHIA_PASSPHRASE="forgotten")
    vault = made.runtime.vault
    vault.asker = asker = Typing()
    await made.runtime.dispatch("/recovery")
    with pytest.raises(CommandDisabled):
        await made.runtime.dispatch("keys.recover")
    await made.runtime.dispatch("/lock")
    for nothing in ((), ("nonsense",), ("0" * 56,)):
        vault.asker = Typing(*nothing)
        with pytest.raises(CommandError):
            await made.runtime.dispatch("keys.recover")
    vault.asker = Typing(asker.shown, "new")
    assert "from now on" in str(await made.runtime.dispatch("keys.recover"))
    await made.runtime.dispatch("/lock")
    assert not await vault.unlock("forgotten")
    assert await vault.unlock("new")


async def test_a_change_of_the_keys_offers_new_ones(bench: OpenBench) -> None:
    made = await bench()
    made.runtime.vault.asker = Typing("p", "q")
    await made.runtime.dispatch("/passphrase")
    (offered,) = [event for event in made.heard(Notice) if isinstance(event, Notice) and "/rotate" in event.hint]
    assert offered.level == "warning" and "copied" in offered.text
    assert "2. data key" in str(await made.runtime.dispatch("/rotate"))
    slots = await made.runtime.vault.list_slots()
    assert [slot.kind for slot in slots] == ["passphrase"]
    with pytest.raises(CommandError, match="nothing strong"):
        await made.runtime.run("keys.remove", slots[0].id, confirmed=True)


class Time:
    """Time that passes when somebody sleeps, and only as far as it was let go."""

    def __init__(self) -> None:
        self.now, self.until = 0.0, asyncio.Event()
        self.limit = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        due = self.now + seconds
        while due > self.limit:
            self.until.clear()
            await self.until.wait()
        self.now = max(self.now, due)

    async def pass_to(self, limit: float) -> None:
        self.limit = limit
        self.until.set()
        for _ in range(50):
            await asyncio.sleep(0)
        self.now = max(self.now, limit)


async def idle(tmp_path: Path, time: Time, passphrase: str | None, busy: list[bool]) -> tuple[Vault, IdleLock, Bus]:
    bus = Bus()
    vault = Vault(StorePaths(tmp_path / "s", tmp_path / "d"), bus, passphrase=passphrase, allow_keyring=False)
    await vault.open()
    lock = IdleLock(vault, bus, 1.0, busy=lambda: bool(busy), clock=time.clock, sleep=time.sleep)
    lock.start()
    return vault, lock, bus


async def test_nobody_there_for_a_minute_locks_it(tmp_path: Path) -> None:
    time, busy = Time(), list[bool]()
    vault, lock, bus = await idle(tmp_path, time, "p", busy)
    await time.pass_to(59)
    assert vault.state == "open"
    lock.touch()
    await time.pass_to(100)
    assert vault.state == "open"
    waiting = asyncio.ensure_future(heard(bus, locked))
    await time.pass_to(300)
    await waiting
    assert await vault.unlock("p")
    await lock.close()
    await vault.close()


async def test_a_streaming_answer_puts_it_off(tmp_path: Path) -> None:
    time, busy = Time(), [True]
    vault, lock, bus = await idle(tmp_path, time, "p", busy)
    await time.pass_to(600)
    assert vault.state == "open"
    busy.clear()
    waiting = asyncio.ensure_future(heard(bus, locked))
    await time.pass_to(900)
    await waiting
    await lock.close()
    await vault.close()


async def test_what_cannot_be_locked_is_said_once(tmp_path: Path) -> None:
    time, busy = Time(), list[bool]()
    vault, lock, bus = await idle(tmp_path, time, None, busy)
    events: list[Event] = []
    bus.subscribe(events.append)
    await time.pass_to(1000)
    said = [event for event in events if isinstance(event, Notice)]
    assert len(said) == 1 and "passphrase" in said[0].text and vault.state == "open"
    await lock.close()
    await vault.close()


def test_the_lock_is_a_command_of_the_store(tmp_path: Path) -> None:
    registry = Registry()
    registry.collect(Vault(StorePaths(tmp_path / "s", tmp_path / "d"), Bus()))
    assert registry.get("lock").name == "store.lock" and registry.get("rotate").name == "keys.rotate"
    assert registry.get("keys.remove").spec.dangerous
