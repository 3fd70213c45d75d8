"""How long each kind of key slot takes to open a store; measured by `benchmarks.store`.

python -m benchmarks.store_unlock FOLDER        by the keyring of this session: the child of such a measurement
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import ROOT, rank
from local_store import KeyPolicy, StorePaths, open_store

TIMES = 7
PASSPHRASE = "correct horse"  # noqa: S105
IN_A_SESSION = 'printf x | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 && exec "$@"'
Row = dict[str, object]


def unlocking(folder: Path) -> list[Row]:
    """One row for each kind of slot this machine can have; a passphrase costs what it costs by default."""
    folder.mkdir()
    rows = [asyncio.run(_passphrase(folder / "passphrase")), asyncio.run(_recovery_key(folder / "recovery"))]
    if all(map(shutil.which, ("ssh-agent", "ssh-add", "ssh-keygen"))):
        rows.append(_agent(folder / "agent"))
    if all(map(shutil.which, ("gnome-keyring-daemon", "dbus-run-session"))):
        rows.append(_in_session_with_keyring(folder / "keyring"))
    return rows


def _paths(folder: Path) -> StorePaths:
    return StorePaths(folder / "store", folder / "device")


async def _passphrase(folder: Path) -> Row:
    await (await open_store(_paths(folder), passphrase=PASSPHRASE, allow_keyring=False)).close()
    return await _openings("passphrase", folder, passphrase=PASSPHRASE, allow_keyring=False)


async def _recovery_key(folder: Path) -> Row:
    async with await open_store(_paths(folder), passphrase=PASSPHRASE, allow_keyring=False) as store:
        recovery_key = store.keys.new_recovery_key()
        await store.keys.confirm_recovery_key(recovery_key)
    return await _openings("recovery", folder, recovery_key=recovery_key, allow_keyring=False)


def _agent(folder: Path) -> Row:
    from tests.local_store.agents import real_agent

    async def measured(policy: KeyPolicy) -> Row:
        async with await open_store(_paths(folder), passphrase=PASSPHRASE, allow_keyring=False, policy=policy) as store:
            await store.keys.add_ssh_agent()
        return await _openings("ssh-agent", folder, allow_keyring=False, policy=policy)

    with real_agent() as agent:
        agent.new_key("bench")
        return asyncio.run(measured(KeyPolicy(agent_socket=agent.socket)))


def _in_session_with_keyring(folder: Path) -> Row:
    home = folder / "home"
    home.mkdir(mode=0o700, parents=True)
    environment = os.environ | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    task = [sys.executable, "-m", "benchmarks.store_unlock", str(folder)]
    command = ["dbus-run-session", "--", "sh", "-c", IN_A_SESSION, "sh", *task]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    row: Row = json.loads(ended.stdout)
    return row


async def _keyring(folder: Path) -> Row:
    await (await open_store(_paths(folder))).close()
    return await _openings("keyring", folder)


async def _openings(kind: str, folder: Path, **given: Any) -> Row:
    walls, cpus = [], []
    for _ in range(TIMES):
        wall, cpu = time.perf_counter(), time.process_time()
        store = await open_store(_paths(folder), create=False, **given)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
        assert store.unlocked_by == kind, store.unlocked_by
        await store.close()
    return {"unlock with": kind, "p50 ms": rank(walls, 0.5), "most ms": max(walls), "CPU ms": rank(cpus, 0.5)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_keyring(Path(sys.argv[1])))))
