"""What the tests let other processes do with a store: `child.py TASK ROOT DEVICE_DIR [ARGUMENT]`."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from local_store import OutboxCount, Status, Store, StoreError, StoreFull, StorePaths, open_store

PIECE = "x" * 40_000


def say(*words: object) -> None:
    print(*words, flush=True)


async def journal(paths: StorePaths, argument: str) -> None:
    """Stream numbered pieces until killed; a number is said once the store has acknowledged it."""
    async with await open_store(paths, allow_keyring=False) as store:
        session = await store.sessions.create()
        turn = await store.turns.begin(session.id, None, "question", request_id="r")
        say(turn.answer.id)
        number = 0
        while True:
            await store.turns.journal(turn.answer.id, text=f"{number} ")
            say(number)
            number += 1


async def write(paths: StorePaths, argument: str) -> None:
    """Ask `argument` questions in a session of its own; say its id, then each number that is answered."""
    async with await open_store(paths, allow_keyring=False) as store:
        session = await store.sessions.create()
        say(session.id, store.unlocked_by, store.created)
        for number in range(int(argument)):
            turn = await store.turns.begin(session.id, None, str(number), request_id="r")
            await store.turns.journal(turn.answer.id, text="part")
            await store.turns.finish(turn.answer.id, text="whole", status="complete")
            say(number)


async def hold(paths: StorePaths, argument: str) -> None:
    """Stream one piece and stay until a line arrives on stdin."""
    async with await open_store(paths, allow_keyring=False) as store:
        session = await store.sessions.create()
        turn = await store.turns.begin(session.id, None, "question", request_id="r")
        await store.turns.journal(turn.answer.id, text="so far")
        say(turn.answer.id)
        await asyncio.to_thread(sys.stdin.readline)
        await store.turns.finish(turn.answer.id, text="so far and the rest", status="complete")


async def deliver(paths: StorePaths, argument: str) -> None:
    """Deliver letters until none is left; say the question of each once its answer is stored."""
    async with await open_store(paths, allow_keyring=False) as store:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        while await store.outbox.count() != OutboxCount():
            letter = await store.outbox.claim(1)
            if letter is not None:
                await store.turns.reopen(letter.id, "again")
                await store.turns.finish(letter.id, text=f"answer to {letter.question}", status="complete")
                say(letter.question)


async def claim(paths: StorePaths, argument: str) -> None:
    """Claim a letter and get as far with it as `argument` says, then wait to be killed."""
    async with await open_store(paths, allow_keyring=False) as store:
        letter = await store.outbox.claim(1)
        assert letter is not None
        if argument != "claimed":
            await store.turns.reopen(letter.id, "again")
        if argument == "journalled":
            await store.turns.journal(letter.id, text="some of it")
        if argument == "thinking":
            await store.turns.journal(letter.id, reasoning="hm")
        if argument in ("complete", "failed", "cancelled"):
            text = "all of it" if argument == "complete" else ""
            await store.turns.finish(letter.id, text=text, status=cast("Status", argument))
        say(letter.id)
        await asyncio.to_thread(sys.stdin.readline)


async def full_disk(paths: StorePaths, argument: str) -> None:
    """Write past a limit on file sizes, then go on with the limit lifted."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with await open_store(paths, allow_keyring=False) as store:
        session = await store.sessions.create()
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, unlimited[1]))
        outcomes = await asyncio.gather(
            *(store.turns.begin(session.id, None, f"{number} {PIECE}", request_id="r") for number in range(40)),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if refused and all(isinstance(error, StoreFull) for error in refused):
            say("full")
        kept = {turn.question.id for turn in outcomes if not isinstance(turn, BaseException)}
        stored = {message.id for message in await store.messages.all(session.id) if message.role == "user"}
        if kept == stored and kept:
            say("acknowledged-kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        await store.turns.begin(session.id, None, PIECE, request_id="r")
        if await sound(store):
            say("writing-again")


async def sound(store: Store) -> bool:
    results = await store.check(full=True)
    return all(result.ok for result in results if result.name not in ("recovery key", "key slots"))


async def open_damaged(paths: StorePaths, argument: str) -> None:
    try:
        await open_store(paths, allow_keyring=False)
    except StoreError as error:
        say(type(error).__name__)


async def with_keyring(paths: StorePaths, argument: str) -> None:
    """Make a store with the session's keyring, open it again, then lock the keyring and try once more."""
    for _ in range(2):
        async with await open_store(paths) as store:
            say(store.unlocked_by)
    import secretstorage

    with contextlib.closing(secretstorage.dbus_init()) as bus:
        secretstorage.get_default_collection(bus).lock()
    try:
        await open_store(paths)
    except StoreError as error:
        say(type(error).__name__)


TASKS = {task.__name__: task for task in (journal, write, hold, deliver, claim, full_disk, open_damaged, with_keyring)}


def main(arguments: Iterable[str]) -> None:
    task, root, device_dir, argument, *_ = [*arguments, ""]
    asyncio.run(TASKS[task](StorePaths(Path(root), Path(device_dir)), argument))


if __name__ == "__main__":
    main(sys.argv[1:])
