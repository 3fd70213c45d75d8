"""Work that takes long: it tells how far it is, can be stopped, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from local_store import StorePaths
from sophia_core.backups import Backups
from sophia_core.commands import CommandError, Registry
from sophia_core.events import Bus, Event, SessionsChanged, WorkEnded, WorkProgressed
from sophia_core.long_work import LongWork, Progress
from sophia_core.state import Current
from sophia_core.vault import Vault
from tests.sophia_core.test_care import Desk


def heard(bus: Bus) -> list[Event]:
    events: list[Event] = []
    bus.subscribe(events.append)
    return events


async def shown(events: list[Event]) -> None:
    while not events:  # noqa: ASYNC110 - the loop's own timer publishes it
        await asyncio.sleep(0)


async def test_each_percent_is_told_once_and_the_end() -> None:
    bus = Bus()
    events, work = heard(bus), LongWork(bus, shown_after=0)

    async def half(tell: Progress) -> str:
        await shown(events)
        for done in (10, 11, 499, 500):
            tell(done, 1000)
        return "done"

    assert await work.run("The half", half) == "done"
    told = [(each.done, each.total) for each in events if isinstance(each, WorkProgressed)]
    assert told == [(0, 0), (10, 1000), (499, 1000), (500, 1000)]
    assert events[-1] == WorkEnded(1)


async def test_what_is_quick_is_not_worth_a_word() -> None:
    bus = Bus()
    events, work = heard(bus), LongWork(bus, shown_after=60)

    async def quick(tell: Progress) -> None:
        tell(1, 2)

    await work.run("The quick", quick)
    assert not events


async def test_it_is_stopped_once_and_says_how_things_stand() -> None:
    bus, registry = Bus(), Registry()
    events, work = heard(bus), LongWork(bus, shown_after=0)
    registry.collect(work)
    tidied = asyncio.Event()

    async def long(tell: Progress) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.set()

    running = asyncio.create_task(work.run("The long", long, stopped="Half of it stays."))
    await shown(events)
    await registry.run("work.stop")
    assert not work.stop()  # it is putting things in order, and a second time would end that
    with pytest.raises(CommandError, match=r"^The long was stopped\.$") as stopped:
        await running
    assert stopped.value.hint == "Half of it stays."
    assert tidied.is_set()
    assert events[-1] == WorkEnded(1)
    with pytest.raises(CommandError, match="nothing is being done"):
        await registry.run("work.stop")


async def test_who_gives_up_waiting_ends_it() -> None:
    work, ended = LongWork(Bus(), shown_after=60), asyncio.Event()

    async def long(tell: Progress) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    begun = asyncio.Event()
    running = asyncio.create_task(work.run("The long", long))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    assert not work.stop()


async def test_what_it_raises_is_raised() -> None:
    async def wrong(tell: Progress) -> None:
        raise CommandError("No.")

    with pytest.raises(CommandError, match=r"^No\.$"):
        await LongWork(Bus()).run("The wrong", wrong)


async def test_whoever_needs_the_store_during_a_restore_gets_the_new_one(tmp_path: Path) -> None:
    paths, bus, current = StorePaths(tmp_path / "store", tmp_path / "device"), Bus(), Current()
    vault = Vault(paths, bus, allow_keyring=False)
    backups = Backups(vault, bus, current, paths, allow_keyring=False)
    await vault.open()
    before = await vault.get()
    kept = await before.sessions.create("kept")
    file = (await backups.make()).info.path
    await before.sessions.create("made after the backup")
    current.session_id = kept.id
    restoring = asyncio.create_task(backups.restore(str(file)))
    while vault._settled.is_set():  # noqa: ASYNC110 - until the backup is being proven, which nothing tells
        await asyncio.sleep(0)
    after = await vault.get()
    assert after is not before
    assert [each.title for each in await after.sessions.list(10)] == ["kept"]
    await restoring
    assert current.session_id is None
    await vault.close()


async def test_a_restore_that_is_refused_leaves_the_store_to_all_who_wait(tmp_path: Path) -> None:
    paths, bus = StorePaths(tmp_path / "store", tmp_path / "device"), Bus()
    vault = Vault(paths, bus, allow_keyring=False)
    backups = Backups(vault, bus, Current(), paths, allow_keyring=False)
    await vault.open()
    before = await vault.get()
    (tmp_path / "no").write_text("no backup")
    with pytest.raises(Exception, match="backup"):
        await backups.restore(str(tmp_path / "no"))
    assert await vault.get() is before
    await vault.close()


async def test_a_purge_that_was_stopped_shows_what_is_left(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.vault.open()
    gone = await desk.say("goes first")
    kept = await desk.say("would go second")
    store = await desk.vault.get()
    desk.current.session_id = gone

    async def stopped_in_between(*_: object, **__: object) -> None:
        await store.sessions.delete(gone)
        raise asyncio.CancelledError

    store.purge.sessions = stopped_in_between  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        await desk.care.purge([gone, kept])
    assert desk.current.session_id is None
    assert isinstance(desk.events[-1], SessionsChanged)
    await desk.vault.close()
