"""Writes to a side file and gives it a new key, over and over, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, StorePaths, open_store

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
TABLE = ("CREATE TABLE thing (seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",)


async def write_and_rotate(home: Path) -> None:
    """Say how many rows there are, then after every ten more."""
    async with await open_store(
        StorePaths(home / "store", home / "device"), allow_keyring=False, policy=CHEAP
    ) as store:
        side = store.sides.add("things", [TABLE])
        count = await side.read(lambda connection: connection.execute("SELECT count(*) FROM thing").fetchone()[0])
        print(count, *store.sides.renewed, flush=True)
        while True:
            for _ in range(10):
                await side.write(lambda connection: connection.execute("INSERT INTO thing (text) VALUES ('kept')"))
            count += 10
            print(count, flush=True)
            await side.rotate()


if __name__ == "__main__":
    asyncio.run(write_and_rotate(Path(sys.argv[1])))
