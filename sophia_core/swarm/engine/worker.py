"""A worker of this machine: one a slot, found by its socket, built from a runtime whose store is open."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store.box import Box
from local_store.errors import StoreError
from sophia_core.gate.judging import Judging
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.gate.rule_file import NAME as RULES
from sophia_core.swarm.engine.attempt import Bench
from sophia_core.swarm.engine.engine import Capacity, Engine
from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.engine.places import Places
from sophia_core.swarm.engine.runners import Means, Runners
from sophia_core.swarm.log import StoreApprovals, StoreRuns, swarm_key
from sophia_core.swarm.place import database_file, lock_file, private_folder, socket_file, worktrees_dir
from sophia_core.swarm.tools.sweeping import sweep

if TYPE_CHECKING:
    from local_store import Store
    from sophia_core.runtime import Runtime

LONGEST_WORD: Final = 64
LOOK_S: Final = 1.0


class AlreadyThere(Exception):
    """Another worker has this slot."""


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the slot for as long as this lasts; it is free again however the process ends. Raises AlreadyThere."""
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyThere from None
        yield
    finally:
        os.close(file)


@asynccontextmanager
async def doorbell(path: Path, engine: Engine) -> AsyncIterator[None]:
    """Take words from processes of the same person: `poke`, `drain`."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(5):
                match (await reader.readline())[:LONGEST_WORD].strip():
                    case b"poke":
                        engine.poke()
                    case b"drain":
                        engine.drain()
        writer.close()

    await asyncio.to_thread(private_folder, path.parent)
    await asyncio.to_thread(path.unlink, missing_ok=True)
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(hear, path, limit=LONGEST_WORD)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        await asyncio.to_thread(path.unlink, missing_ok=True)


@asynccontextmanager
async def opened_engine(
    runtime: Runtime, slot: int, labels: Sequence[str], trouble: Callable[[str], None], version: str = ""
) -> AsyncIterator[Engine]:
    """The engine of a runtime whose store is open. Raises StoreError when the shared database cannot be reached."""
    settings, paths = runtime.settings.swarm, runtime.paths
    store = await runtime.vault.get()
    key = await swarm_key(store)
    async with _records(settings.database, store, key) as (runs, approvals):
        judging = Judging(paths.config_file.with_name(RULES), lambda: runtime.vault.store)
        if settings.database:
            judging.shared = approvals.rules

        async def judge(asked: ApprovalRequest) -> Decision | None:
            return await judging.decided(asked, approvals)

        def bench(limits: Limits) -> Bench:
            places = Places(judging.hidden)
            return Bench(Runners(Means(runtime, runs, limits, places)), places)

        engine = Engine(
            worker_name(slot),
            settings.database or database_file(paths),
            Box(key),
            runs,
            approvals,
            judge,
            bench,
            Capacity(settings.slots, settings.parallel, frozenset((*settings.labels, *labels)), settings.per_provider),
            heard=database_file(paths).with_name(f"heard-{slot}"),
            version=version,
            trouble=trouble,
        )
        await engine.open()
        with contextlib.suppress(StoreError):
            await sweep(runs.run, place=worktrees_dir(paths))
        try:
            yield engine
        finally:
            await engine.close()


@asynccontextmanager
async def _records(url: str, store: Store, key: bytes) -> AsyncIterator[tuple[StoreRuns, StoreApprovals]]:
    if not url:
        yield StoreRuns(store), StoreApprovals(store)
        return
    from local_store.shared_runs import open_shared

    shared = await open_shared(url, key)
    try:
        yield StoreRuns(shared), StoreApprovals(shared)
    finally:
        await shared.close()


async def work(
    runtime: Runtime,
    stop: asyncio.Event,
    *,
    slot: int,
    labels: Sequence[str],
    idle_s: float | None,
    trouble: Callable[[str], None],
    version: str = "",
) -> None:
    """Carry out runs until it is told to stop, or has been idle for so long. Raises AlreadyThere, StoreError."""
    paths = runtime.paths
    with only_one(lock_file(paths, slot)):
        async with (
            opened_engine(runtime, slot, labels, trouble, version) as engine,
            doorbell(socket_file(paths, slot), engine),
        ):
            ending = asyncio.create_task(_end(engine, stop, idle_s))
            try:
                await engine.run()
            finally:
                ending.cancel()


async def _end(engine: Engine, stop: asyncio.Event, idle_s: float | None) -> None:
    while not stop.is_set() and (idle_s is None or engine.idle_s < idle_s):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if idle_s is None else min(LOOK_S, idle_s)):
                await stop.wait()
    engine.drain()


def worker_name(slot: int) -> str:
    """Return the name of the worker of this slot, the same whenever it is begun."""
    host = re.sub(r"[^a-z0-9-]", "-", socket.gethostname().lower())[:40] or "here"
    return f"{host}-{slot}"
