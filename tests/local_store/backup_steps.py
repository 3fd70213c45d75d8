"""Backups and restores, killed at every step: `backup_steps.py FOLDER BACKUP make|one|two` tells how each ended.

Every file operation of Python is a step: just before the n-th the process ends, as by `kill -9`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from local_store import Store, StorePaths, open_store, swap
from local_store.backup import BackupInfo, list_backups
from local_store.keys import Credentials
from local_store.restore import restore_backup, verify_backup
from local_store.types import KeyPolicy

FILE_OPERATIONS = ("os.", "shutil.", "open", "ctypes.call", "fcntl.")


def in_one_step(one: Path, other: Path) -> bool:
    return swap.exchange(one, other)


def in_two_steps(one: Path, other: Path) -> bool:
    return False


def die_at(number: int) -> None:
    """End this process just before its file operation of that number."""
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event.startswith(FILE_OPERATIONS):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; return 0 when it ended well, else the signal or 1."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print("error", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def restore(paths: StorePaths, file: Path, exchange: swap.Exchange, number: int) -> None:
    async def work() -> None:
        die_at(number)
        await restore_backup(file, paths, Credentials(None, None, False), KeyPolicy(), exchange=exchange)

    asyncio.run(work())


async def titles(store: Store) -> str:
    failed = [each.name for each in await store.check(full=True) if not each.ok]
    found = [session.title for session in await store.sessions.list()]
    return f"{'+'.join(found)} {'+'.join(name for name in failed if name not in ('recovery key', 'key slots'))}".strip()


def make(paths: StorePaths, folder: Path, number: int) -> None:
    async def work() -> None:
        async with await open_store(paths, allow_keyring=False) as store:
            die_at(number)
            await store.backups.make(folder)

    asyncio.run(work())


def look_at_backups(paths: StorePaths, folder: Path) -> None:
    async def work() -> None:
        found = list_backups(folder)
        for each in found:
            assert isinstance(each, BackupInfo), each
            await verify_backup(each.path, paths, Credentials(None, None, False), KeyPolicy())
        async with await open_store(paths, allow_keyring=False, create=False) as store:
            await store.backups.make(folder)
            names = [path.name for path in (*folder.iterdir(), *paths.root.iterdir()) if path.name.startswith(".")]
            print(await titles(store), len(found), *names, flush=True)

    asyncio.run(work())


def look(paths: StorePaths) -> None:
    async def work() -> None:
        async with await open_store(paths, allow_keyring=False, create=False) as store:
            print(await titles(store), *sorted(path.name for path in paths.root.parent.iterdir()), flush=True)

    asyncio.run(work())


def main(folder: Path, file: Path, how: str) -> None:
    exchange = in_one_step if how == "one" else in_two_steps
    number, ended = 0, signal.SIGKILL.value
    while ended == signal.SIGKILL:
        number += 1
        home = folder / f"{how}-{number}"
        shutil.copytree(folder / "home", home)
        paths = StorePaths(home / "store", home / "device")
        if how == "make":
            (home / "backups").mkdir()
            ended = forked(partial(make, paths, home / "backups", number))
            forked(partial(look_at_backups, paths, home / "backups"))
        else:
            ended = forked(partial(restore, paths, file, exchange, number))
            forked(partial(look, paths))
        shutil.rmtree(home)
    print("ended", ended, number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
