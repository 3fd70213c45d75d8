"""Finding by meaning, with the real model in its own process and a real store."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import Store, StorePaths
from sophia_core.commands import CommandError
from sophia_core.events import Bus, Event, Notice, SessionsChanged, TurnFinished, TurnStarted
from sophia_core.memory.embedder import Embedder, NoMeaning, is_installed
from sophia_core.memory.indexing import alone
from sophia_core.memory.memory import CALM_S, Memory
from sophia_core.memory.stretches import stretches
from sophia_core.settings import MemorySettings
from sophia_core.state import Current
from sophia_core.vault import Vault

needs_model = pytest.mark.skipif(not is_installed(), reason="the extra `memory` is not installed")
SAID = {
    "The containers cannot resolve host names": "Set a DNS server for the docker bridge network.",
    "How do I bake bread with a sourdough starter?": "Feed it the evening before; bake at 230 degrees.",
    "Where should we go on holiday in spring?": "Lisbon is mild in April and the trams are fun.",
    "The process eats more and more RAM": "The cache is never evicted; that is a leak.",
}


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    made = Vault(StorePaths(tmp_path / "store", tmp_path / "device"), Bus(), allow_keyring=False)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def memory(vault: Vault) -> AsyncIterator[Memory]:
    made = Memory(vault, vault._bus, Current(), MemorySettings())
    yield made
    await made.close()


async def say(store: Store, question: str, answer: str) -> str:
    session = await store.sessions.create(question[:12])
    turn = await store.turns.begin(session.id, None, question, request_id="r")
    await store.turns.finish(turn.answer.id, text=answer, status="complete")
    return session.id


async def until_ready(memory: Memory) -> None:
    """Let the work in the background go on until there is none."""
    async with asyncio.timeout(30):
        while (await memory.status()).state != "ready":  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@needs_model
async def test_what_was_said_is_found_by_what_it_means(vault: Vault, memory: Memory) -> None:
    store = await vault.get()
    sessions = [await say(store, question, answer) for question, answer in SAID.items()]
    heard: list[tuple[int, int]] = []
    memory.on_progress = lambda done, total: heard.append((done, total))
    assert await memory.index() == "All 8 messages can be found by what they mean."
    assert heard[-1] == (8, 8)
    questions = ("network trouble: lookups of machines fail", "making a loaf", "a trip to Portugal", "memory grows")
    for question, session in zip(questions, sessions, strict=True):
        found = await memory.search(question)
        assert found[0].session_id == session, question
        assert found[0].found_by == "meaning" and found[0].snippet
    both = (await memory.search("sourdough starter"))[0]
    assert (both.found_by, both.snippet[slice(*both.matches[0])]) == ("both", "sourdough")
    inside = await memory.search("a trip to Portugal", session=sessions[0][:26])
    assert {each.session_id for each in inside} <= {sessions[0]}
    assert (await memory.search("a trip to Portugal role:user"))[0].snippet.startswith("Where should we")
    assert (await memory.search("a trip to Portugal role:assistant"))[0].snippet.startswith("Lisbon")
    assert all("tram" not in each.snippet for each in await memory.search("a trip to Portugal -trams"))
    assert await memory.search("a trip to Portugal after:2999") == []
    with pytest.raises(CommandError, match="no session 'nope'"):
        await memory.search("x", session="nope")
    assert await memory.search("?!") == await memory.search("") == []
    # What is said after the first question is found by the next one.
    later = await say(store, "Which telescope shows the rings of Saturn?", "Any with 60 mm.")
    await memory.index()
    assert (await memory.search("astronomy gear"))[0].session_id == later
    await store.sessions.delete(later)
    assert later not in {each.session_id for each in await memory.search("astronomy gear")}


@needs_model
async def test_the_background_works_gives_way_to_a_turn_and_outlives_its_process(vault: Vault) -> None:
    store, bus = await vault.get(), vault._bus
    embedder = Embedder()
    memory = Memory(vault, bus, Current(), MemorySettings(index_cpu_percent=100), embedder=embedder, calm_s=0)
    try:
        memory.start()
        session = await say(store, *next(iter(SAID.items())))
        bus.publish(TurnFinished(session, "a", "r", "", "complete"))
        await until_ready(memory)
        assert (await memory.search("cannot find machines by name"))[0].session_id == session
        first = embedder.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        bus.publish(TurnStarted(session, "q", "b", "r", "?"))
        other = await say(store, "Feeding the cat", "Twice a day.")
        assert (await memory.status()).state == "paused"
        bus.publish(TurnFinished(session, "b", "r", "", "complete"))
        await until_ready(memory)
        assert (await memory.search("pet food"))[0].session_id == other
        assert (await memory.search("cannot find machines by name"))[0].session_id == session
        assert embedder.pid not in (None, first)
    finally:
        await memory.close()
    assert embedder.pid is None


@needs_model
async def test_nothing_is_read_before_nobody_asked_anything_for_a_while(vault: Vault) -> None:
    store, bus, now = await vault.get(), vault._bus, [1000.0]
    embedder = Embedder()
    memory = Memory(vault, bus, Current(), MemorySettings(), embedder=embedder, clock=lambda: now[0])
    try:
        memory.start()
        session = await say(store, *next(iter(SAID.items())))
        now[0] += CALM_S - 1
        bus.publish(TurnFinished(session, "a", "r", "", "complete"))
        now[0] += CALM_S - 1
        assert not await memory._work() and embedder.pid is None
        assert (await memory.status()).state == "waiting"
        now[0] += 2
        bus.publish(SessionsChanged())
        await until_ready(memory)
    finally:
        await memory.close()


@needs_model
async def test_a_question_does_not_wait_for_a_long_text() -> None:
    embedder = Embedder()
    try:
        text = "\n\n".join(f"Paragraph {number} says something. " + "word " * 150 for number in range(60))
        await embedder.pace(5)
        looking = asyncio.create_task(embedder.look(text, stretches(text)))
        await embedder.add("00000001", bytes(48))
        async with asyncio.timeout(5):
            assert await embedder.near("anything", 3) == [1]
        assert not looking.done()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        await embedder.pace(100)
        (short,) = await embedder.look("hi there", [(0, 8)])
        assert (short.begins, short.ends, len(short.code), len(short.vector)) == (0, 8, 48, 384)
    finally:
        await embedder.stop()


@needs_model
async def test_reading_that_was_broken_off_goes_on_there(vault: Vault, memory: Memory) -> None:
    store = await vault.get()
    for number in range(10):
        await say(store, f"Question {number} about gardens", f"Answer {number} about flowers")
    first = asyncio.Event()
    memory.on_progress = lambda done, total: first.set()
    reading = asyncio.create_task(memory.index())
    await first.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    status = await memory.status()
    assert status.state == "waiting" and 0 < status.done < status.total == 20
    done: list[int] = []
    memory.on_progress = lambda so_far, total: done.append(so_far)
    await memory.index()
    assert done[0] > status.done and done[-1] == 20
    assert (await memory.status()).state == "ready"


@needs_model
async def test_forgetting_ends_the_process_and_the_next_question_starts_another(vault: Vault) -> None:
    embedder = Embedder()
    memory = Memory(vault, vault._bus, Current(), MemorySettings(), embedder=embedder)
    await say(await vault.get(), *next(iter(SAID.items())))
    await memory.index()
    first = embedder.pid
    assert first is not None
    await memory.forget()
    assert embedder.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert (await memory.search("machines cannot be found by name"))[0].found_by == "meaning"
    await memory.close()


async def test_without_the_extra_words_are_found_and_it_is_said_once_what_to_install(vault: Vault) -> None:
    store, heard = await vault.get(), list[Event]()
    vault._bus.subscribe(heard.append)
    await say(store, "sourdough", "bread")
    memory = Memory(vault, vault._bus, Current(), MemorySettings(), installed=lambda: False)
    memory.start()
    for _ in range(2):
        (found,) = await memory.search("sourdough")
        assert found.found_by == "words"
    (notice,) = [each for each in heard if isinstance(each, Notice)]
    assert "pip install 'sophia-workstation[memory]'" in notice.hint
    status = await memory.status()
    assert status.state == "not installed" and "sophia-workstation[memory]" in status.detail
    with pytest.raises(CommandError, match="needs the extra `memory`"):
        await memory.index()
    await memory.close()


async def test_switched_off_it_says_how_to_switch_it_on(vault: Vault) -> None:
    memory = Memory(vault, vault._bus, Current(), MemorySettings(semantic=False), installed=lambda: True)
    assert "memory.semantic = true" in (await memory.status()).detail
    with pytest.raises(CommandError, match="switched off"):
        await memory.index()


async def test_one_process_at_a_time_looks_at_messages(vault: Vault, memory: Memory) -> None:
    store = await vault.get()
    with alone(store.paths.run / "nowhere") as possible:
        assert not possible
    with alone(store.paths.run) as ours, alone(store.paths.run) as others:
        assert (ours, others) == (True, False)
        if is_installed():
            assert await memory.index() == "It is being done already: 0 of 0 messages."


async def test_a_process_that_does_not_start_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sophia_core.memory.embedder.CHILD", Path(os.devnull))
    embedder = Embedder(installed=lambda: True)
    for _ in range(3):
        with pytest.raises(NoMeaning, match="did not start"):
            await embedder.ready()
    with pytest.raises(NoMeaning, match="3 times within a minute"):
        await embedder.ready()
