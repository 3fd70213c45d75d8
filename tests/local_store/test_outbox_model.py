"""Whatever two stores do with the letters, closing in between, the outbox is what a plain model says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import Store, StorePaths, open_store

Step = tuple[str, int]
ACTIONS = ("queue", "claim", "claim", "answer", "release", "bury", "retry", "drop", "tick", "end", "end mid-answer")
steps = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 11)), max_size=30)


@dataclass
class Entry:
    id: str
    session: str
    state: str = "waiting"
    owner: int | None = None
    retry_at: int = 0


class Bench:
    """Two stores on the same files; either may end and be opened again."""

    def __init__(self, paths: StorePaths) -> None:
        self.paths = paths
        self.stores: list[Store] = []

    async def open(self) -> None:
        self.stores = [await open_store(self.paths, allow_keyring=False) for _ in range(2)]

    async def reopen(self, which: int) -> None:
        await self.stores[which].close()
        self.stores[which] = await open_store(self.paths, allow_keyring=False)

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Bench]]:
    folder: Path = tmp_path_factory.mktemp("letters")
    with asyncio.Runner() as runner:
        made = Bench(StorePaths(folder / "s", folder / "d"))
        runner.run(made.open())
        yield runner, made
        runner.run(made.close())


@settings(max_examples=30, deadline=None)
@given(steps)
def test_the_outbox_is_what_the_model_says(bench: tuple[asyncio.Runner, Bench], steps: list[Step]) -> None:
    runner, made = bench
    runner.run(Play(made).through(steps))


class Play:
    """The letters as a plain list, oldest first, and the stores that should agree with it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.letters: list[Entry] = []
        self.sessions: list[str] = []
        self.now = 0

    async def through(self, steps: list[Step]) -> None:
        store = self.bench.stores[0]
        self.sessions = [(await store.sessions.create()).id for _ in range(2)]
        for action, number in steps:
            await self.take(action, number)
            found = [(letter.id, letter.state) for letter in await self.bench.stores[0].outbox.list()]
            assert found == [(letter.id, letter.state) for letter in self.letters]
        for session in self.sessions:
            await self.bench.stores[0].sessions.delete(session)
        assert await self.bench.stores[1].outbox.list() == []

    async def take(self, action: str, number: int) -> None:
        which = number % 2
        match action:
            case "queue":
                await self.queue(self.bench.stores[which], self.sessions[number // 2 % 2])
            case "claim":
                await self.claim(which)
            case "tick":
                self.now += 10
            case "end" | "end mid-answer":
                await self.end(which, mid_answer=action != "end")
            case "retry" | "drop":
                await self.by_hand(action, number)
            case _:
                await self.settle(action, number)

    async def queue(self, store: Store, session: str) -> None:
        turn = await store.turns.begin(session, None, "q", request_id="r")
        await store.outbox.queue(turn.answer.id, provider=None, model=None, error="offline")
        self.letters.append(Entry(turn.answer.id, session))

    def next(self) -> Entry | None:
        taken = {letter.session for letter in self.letters if letter.state == "delivering"}
        for letter in self.letters:
            if letter.state == "waiting" and letter.session not in taken:
                if letter.retry_at <= self.now:
                    return letter
                taken.add(letter.session)
        return None

    async def claim(self, which: int) -> None:
        expected = self.next()
        got = await self.bench.stores[which].outbox.claim(self.now)
        assert (got and got.id) == (expected and expected.id)
        if expected is not None:
            expected.state, expected.owner = "delivering", which

    async def settle(self, action: str, number: int) -> None:
        letter = self.pick("delivering", number)
        if letter is None or letter.owner is None:
            return
        store = self.bench.stores[letter.owner]
        await store.turns.reopen(letter.id, "again")
        letter.owner = None
        match action:
            case "answer":
                await store.turns.finish(letter.id, text="a", status="complete" if number % 2 else "partial")
                self.letters.remove(letter)
            case "release":
                letter.state, letter.retry_at = "waiting", self.now + number
                await store.outbox.release(letter.id, retry_at_ms=letter.retry_at, error="busy")
            case _:
                letter.state = "dead"
                await store.outbox.bury(letter.id, "gave up")

    async def by_hand(self, action: str, number: int) -> None:
        letter = self.pick("dead", number) or self.pick("waiting", number)
        if letter is None:
            return
        outbox = self.bench.stores[number % 2].outbox
        if action == "retry":
            await outbox.retry(letter.id)
            letter.state, letter.retry_at = "waiting", 0
        else:
            await outbox.drop(letter.id)
            self.letters.remove(letter)

    async def end(self, which: int, *, mid_answer: bool) -> None:
        mine = [letter for letter in self.letters if letter.owner == which]
        for letter in mine:
            letter.state, letter.owner = "waiting", None
        if mine and mid_answer:
            await self.bench.stores[which].turns.reopen(mine[0].id, "again")
            await self.bench.stores[which].turns.journal(mine[0].id, text="some of it")
            self.letters.remove(mine[0])
        await self.bench.reopen(which)
        await self.bench.stores[which].turns.recover()

    def pick(self, state: str, number: int) -> Entry | None:
        fitting = [letter for letter in self.letters if letter.state == state]
        return fitting[number % len(fitting)] if fitting else None
