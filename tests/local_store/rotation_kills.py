"""Kills processes that rotate a store's keys, at every file they touch: `rotation_kills.py ROOT DEVICE_DIR ROUNDS`.

Each attempt is a fork. An audit hook of the interpreter counts what it opens, renames and removes in the store's
folder and kills it at the chosen one; what the engine does between is cut in the middle of the copy. After each kill
another fork opens the store and looks for everything that was ever acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, engine, open_store

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
WATCHED = ("open", "os.rename", "os.remove")
MOST_STEPS = 200


class Hook:
    """Kills the process at the `at`-th thing it does with the store's files, once it is armed."""

    def __init__(self, root: Path, at: int) -> None:
        self.root, self.at, self.seen, self.armed = str(root), at, 0, False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.armed and event in WATCHED and str(arguments[0]).startswith(self.root):
            self.step()

    def step(self, *_: object) -> None:
        if self.armed:
            self.seen += 1
            if self.seen == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], Awaitable[None]]) -> int:
    """Run `work` in a process of its own; returns how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(work())  # type: ignore[arg-type]
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def opened(paths: StorePaths) -> Store:
    return await open_store(paths, passphrase="p", allow_keyring=False, policy=CHEAP)


async def rotate(paths: StorePaths, title: str, at: int) -> None:
    hook = Hook(paths.root, at)
    sys.addaudithook(hook)
    async with await opened(paths) as store:
        await store.sessions.create(title)
        hook.armed = True
        await store.keys.rotate(hook.step)
        hook.armed = False


async def verify(paths: StorePaths, titles: list[str], *, full: bool) -> None:
    async with await opened(paths) as store:
        found = {session.title for session in await store.sessions.list(limit=100_000)}
        assert found == set(titles), found ^ set(titles)
        results = await store.check(full=full)
        assert all(each.ok for each in results if each.name not in ("recovery key", "key slots")), results
        report = await store.audit.verify()
        assert report.ok, report
    left = sorted(path.name for path in paths.root.iterdir() if "next" in path.name)
    assert left == [], left


def main(root: str, device_dir: str, rounds: str) -> None:
    paths = StorePaths(Path(root), Path(device_dir))
    engine.load()
    titles: list[str] = []
    kills = most = 0

    async def filled() -> None:
        async with await opened(paths) as store:
            await store.sessions.create("first")
            for number in range(40):
                await store.drafts.save(f"{number}", os.urandom(4000).hex())

    assert forked(filled) == 0
    titles.append("first")
    for _ in range(int(rounds)):
        for at in range(1, MOST_STEPS):
            title = f"{kills} before a kill"
            titles.append(title)
            ended = forked(lambda title=title, at=at: rotate(paths, title, at))  # type: ignore[misc]
            full = at % 7 == 0
            assert forked(lambda full=full: verify(paths, titles, full=full)) == 0, f"after step {at}"  # type: ignore[misc]
            if ended == 0:
                break
            assert ended == -signal.SIGKILL, f"step {at} ended with {ended}"
            kills, most = kills + 1, max(most, at)
    print("kills", kills, "steps", most, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
