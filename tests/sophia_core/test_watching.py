"""What others do with the store becomes events, within one look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from local_store import Store, StoreBusy, StorePaths, open_store
from sophia_core.chat.letters import TRIES, patiently
from sophia_core.events import AnswerGrew, Bus, ChangedElsewhere, Event, Notice, SessionsChanged, SettingsEdited
from sophia_core.state import Current
from sophia_core.vault import Vault
from sophia_core.watching import Watching


class Post:
    """A vault being watched, and the same store as another process has it open."""

    def __init__(self, home: Path, config: Path | None = None) -> None:
        self.paths = StorePaths(home / "store", home / "device")
        self.bus, self.current = Bus(), Current()
        self.vault = Vault(self.paths, self.bus, allow_keyring=False)
        self.ticks: asyncio.Queue[None] = asyncio.Queue()
        self.watching = Watching(self.vault, self.bus, self.current, config, sleep=self._sleep)
        self.events: list[Event] = []
        self.looked = asyncio.Event()

    async def _sleep(self, _: float) -> None:
        self.looked.set()
        await self.ticks.get()

    async def open(self) -> Store:
        await self.vault.open()
        self.bus.subscribe(self.events.append)
        return await open_store(self.paths, allow_keyring=False)

    async def look(self) -> list[Event]:
        """What one look tells."""
        self.events.clear()
        await self.watching.look()
        return list(self.events)

    async def tick(self) -> list[Event]:
        """The same, by way of the task."""
        self.events.clear()
        self.looked.clear()
        self.ticks.put_nowait(None)
        async with asyncio.timeout(10):
            await self.looked.wait()
        return list(self.events)


NONE: frozenset[str] = frozenset()


async def test_changes_of_others_are_told_and_ours_are_not(tmp_path: Path) -> None:
    post = Post(tmp_path)
    async with await post.open() as other:
        assert await post.look() == [ChangedElsewhere(NONE, NONE, NONE, many=True), SessionsChanged()]
        assert await post.look() == []
        await (await post.vault.get()).sessions.create("mine")
        assert await post.look() == []
        session = await other.sessions.create("theirs")
        assert await post.look() == [ChangedElsewhere(frozenset({session.id}), NONE, NONE), SessionsChanged()]
        post.current.session_id = session.id
        turn = await other.turns.begin(session.id, None, "q", request_id="r")
        await other.turns.journal(turn.answer.id, text="so far")
        assert (await post.look())[0] == AnswerGrew(turn.answer.id, "so far", "", begun=True)
        await other.sessions.delete(session.id)
        assert await post.look() == [ChangedElsewhere(NONE, frozenset({session.id}), NONE), SessionsChanged()]
        assert post.current.session_id is None
    await post.vault.close()


async def test_a_locked_store_is_left_alone_and_watched_again_afterwards(tmp_path: Path) -> None:
    post = Post(tmp_path)
    async with await post.open() as other:
        await post.look()
        store, post.vault.store = post.vault.store, None
        assert await post.look() == []
        await other.sessions.create("s")
        post.vault.store = store
        assert ChangedElsewhere in [type(each) for each in await post.look()]
    await post.vault.close()


async def test_an_answer_whose_process_is_gone_is_settled(tmp_path: Path) -> None:
    post = Post(tmp_path)
    other = await post.open()
    session = await other.sessions.create("s")
    turn = await other.turns.begin(session.id, None, "q", request_id="r")
    await other.turns.journal(turn.answer.id, text="so far")
    await other.close()
    post.current.session_id = session.id
    await post.look()
    answer = await (await post.vault.get()).messages.get(turn.answer.id)
    assert (answer.status, answer.text) == ("interrupted", "so far")
    await post.vault.close()


async def test_the_task_looks_until_it_is_closed_and_survives_a_closed_store(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    post = Post(tmp_path, config)
    other = await post.open()
    post.watching.start()
    async with asyncio.timeout(10):
        await post.looked.wait()
    session = await other.sessions.create("s")
    assert ChangedElsewhere(frozenset({session.id}), NONE, NONE) in await post.tick()
    config.write_text("theme = 'x'\n")
    assert SettingsEdited() in [*await post.tick(), *await post.tick()]
    assert SettingsEdited() not in [*await post.tick(), *await post.tick()]
    await other.close()
    assert post.vault.store is not None
    await post.vault.store.close()
    assert await post.tick() == []
    await post.watching.close()
    await post.vault.close()


async def test_a_busy_store_is_waited_for_and_said_once() -> None:
    bus, heard, tries = Bus(), list[Event](), [0]
    bus.subscribe(heard.append)

    async def begin() -> str:
        tries[0] += 1
        if tries[0] < TRIES:
            raise StoreBusy("another process holds it")
        return "begun"

    assert await patiently(bus, begin) == "begun"
    assert [type(each) for each in heard] == [Notice]

    async def never() -> str:
        raise StoreBusy("another process holds it", hint="Wait for it.")

    with pytest.raises(StoreBusy):
        await patiently(bus, never)
