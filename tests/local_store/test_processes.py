"""Several processes, killed ones among them, on one store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from local_store import Store, StorePaths

from .conftest import OpenStore

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


async def start(task: str, paths: StorePaths, argument: str = "") -> Process:
    command = [sys.executable, str(HERE / "child.py"), task, str(paths.root), str(paths.device_dir), argument]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)


async def line(child: Process) -> str:
    assert child.stdout is not None
    return (await asyncio.wait_for(child.stdout.readline(), 30)).decode().strip()


async def assert_sound(store: Store) -> None:
    results = await store.check(full=True)
    assert [result for result in results if not result.ok and result.name not in ("recovery key", "key slots")] == []


@pytest.mark.parametrize("acknowledged", [0, 7, 60])
async def test_what_was_acknowledged_before_a_kill_is_there_afterwards(
    opening: OpenStore, paths: StorePaths, acknowledged: int
) -> None:
    child = await start("journal", paths)
    answer_id = await line(child)
    last = -1
    while last < acknowledged:
        last = int(await line(child))
    child.send_signal(signal.SIGKILL)
    assert child.stdout is not None
    rest = (await child.stdout.read()).decode().split()
    await child.wait()
    last = max([last, *map(int, rest)])

    store = await opening()
    assert (await store.messages.get(answer_id)).status == "streaming"
    assert await store.turns.recover() == 1
    answer = await store.messages.get(answer_id)
    numbers = answer.text.split()
    assert numbers[: last + 1] == [str(number) for number in range(last + 1)]
    assert len(numbers) <= last + 2
    assert answer.status == "interrupted" and answer.finished_at is not None
    assert await store.turns.recover() == 0
    await assert_sound(store)
    locks = sorted(path.name for path in paths.run.iterdir() if len(path.stem) != len(answer_id))
    assert locks == ["head.lock", "keys.lock", "open.lock"] and len(list(paths.run.iterdir())) == len(locks) + 1


async def test_kills_at_any_moment_leave_a_sound_store(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    for answered in (0, 1, 5, 20):
        children = [await start("write", paths, "100000") for _ in range(2)]
        for _ in range(answered + 1):
            await asyncio.gather(*(line(child) for child in children))
        for child in children:
            child.kill()
            await child.wait()
    store = await opening()
    await store.turns.recover()
    await assert_sound(store)
    for session in await store.sessions.list():
        messages = await store.messages.all(session.id)
        assert session.message_count == len(messages)
        assert {message.text for message in messages if message.status == "complete" and message.role != "user"} <= {
            "whole"
        }
        assert {message.text for message in messages if message.status == "interrupted"} <= {"", "part"}


@pytest.mark.parametrize("sign", ["device/device.key", "store/keys.json", "store/sophia.db", "store/sophia.db-wal"])
async def test_a_first_start_that_was_killed_can_be_repeated(opening: OpenStore, paths: StorePaths, sign: str) -> None:
    child = await start("write", paths, "1")
    while child.returncode is None and not (paths.root.parent / sign).exists():  # noqa: ASYNC110 - a file tells
        await asyncio.sleep(0)
    if child.returncode is None:
        child.kill()
    await child.wait()
    store = await opening()
    await store.turns.recover()
    await assert_sound(store)
    await store.keys.add_passphrase("p")
    assert sorted(path.name for path in paths.root.iterdir() if path.name.startswith(".")) == []


async def test_the_stream_of_a_living_process_is_left_alone(opening: OpenStore, paths: StorePaths) -> None:
    child = await start("hold", paths)
    answer_id = await line(child)
    store = await opening()
    session = await store.sessions.create()
    own = await store.turns.begin(session.id, None, "mine", request_id="r")
    assert await store.turns.recover() == 0
    assert (await store.messages.get(answer_id)).status == "streaming"
    assert all(result.ok for result in await store.check() if result.name == "answers")
    await child.communicate(b"go on\n")
    assert (await store.messages.get(answer_id)).text == "so far and the rest"
    assert (await store.messages.get(own.answer.id)).status == "streaming"


async def test_first_starts_at_the_same_time_make_one_store(opening: OpenStore, paths: StorePaths) -> None:
    children = [await start("write", paths, "3") for _ in range(4)]
    said = [(await child.communicate())[0].decode().split() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert [words[1] for words in said] == ["device"] * 4
    assert [words[2] for words in said].count("True") == 1
    store = await opening()
    assert not store.created
    assert {session.id for session in await store.sessions.list()} == {words[0] for words in said}
    assert [path.name for path in paths.device_dir.glob("device*")] == ["device.key"]


async def test_two_processes_write_at_once(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    children = [await start("write", paths, "60") for _ in range(2)]
    mine = await store.sessions.create()
    for number in range(60):
        await store.turns.begin(mine.id, None, str(number), request_id="r")
    said = [(await child.communicate())[0].decode().split() for child in children]
    for session_id in [mine.id, *(words[0] for words in said)]:
        questions = [message.text for message in await store.messages.all(session_id) if message.role == "user"]
        assert questions == [str(number) for number in range(60)]


async def test_no_file_holds_what_was_written(opening: OpenStore, paths: StorePaths) -> None:
    needle = "the-quick-brown-needle"
    store = await opening()
    session = await store.sessions.create(needle)
    turn = await store.turns.begin(session.id, None, needle * 50, request_id=needle)
    await store.turns.journal(turn.answer.id, text=needle, reasoning=needle)
    await store.drafts.save(needle, needle)
    for _ in range(2):
        contents = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
        assert paths.database in contents
        for path, content in contents.items():
            assert needle.encode() not in content and needle[::-1].encode() not in content, path
            assert b"SQLite format" not in content and b"CREATE TABLE" not in content, path
        await store.close()


async def test_an_abandoned_opening_leaves_nothing_open(opening: OpenStore, paths: StorePaths) -> None:
    attempt = asyncio.ensure_future(opening())
    await asyncio.sleep(0)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    store = await opening()
    assert store.unlocked_by == "device"
    await assert_sound(store)
