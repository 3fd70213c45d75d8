"""How fast sessions are removed for good, and what is left of them in the file: nothing.

    python -m benchmarks.purging [--sessions 1500] [--messages 10] [--kept 1500]

The time counts from the call until the database was written anew. Processor time is that of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.store_work import CHEAP, PASSPHRASE, Base, opened
from local_store import Store
from local_store.imports import Conversation, ImportMessage
from local_store.keys import Credentials, open_keys
from local_store.pages import Pages

GONE, KEPT = "zebrafish", "aardvark"
WORDS = 120


def conversations(marker: str, count: int, messages: int) -> Iterator[Conversation]:
    """Sessions whose every message says the marker among ordinary words."""
    chance = random.Random(marker)
    vocabulary = [f"word{int(chance.paretovariate(0.5)) % 40_000}" for _ in range(60_000)]
    for number in range(count):
        told = [
            ImportMessage(
                key=str(key),
                role="user" if key % 2 == 0 else "assistant",
                text=f"{marker} {number} {' '.join(chance.choices(vocabulary, k=WORDS))}",
                parent=str(key - 1) if key else None,
                created_at=1_700_000_000_000 + number * 1000 + key,
            )
            for key in range(messages)
        ]
        yield Conversation("purging", f"{marker}-{number}", f"{marker} {number}", told, created_at=1_700_000_000_000)


async def measure(base: Base, sessions: int, messages: int, kept: int) -> None:
    """Fill a store, purge some of it, and look into every page of what is left."""
    async with await opened(base, create=True) as store:
        await store.bulk.add(conversations(KEPT, kept, messages))
        await store.bulk.add(conversations(GONE, sessions, messages))
        ids = await _ids(store)
        size = base.paths.database.stat().st_size
        began, cpu_began = time.perf_counter(), time.process_time()
        done = await store.purge.sessions(ids)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    print(f"{done.messages:,} messages of {done.sessions:,} sessions in a store of {size / 1e6:.0f} MB")
    print(f"  {took:.1f} s, {cpu:.1f} s of processor time: {done.messages / cpu:,.0f} messages/s of processor time")
    print(f"  freed {done.freed / 1e6:.0f} MB; left to do: {done.left or 'nothing'}")
    print(f"  pages that still say {GONE!r}: {_pages(base, GONE)}; {KEPT!r}: {_pages(base, KEPT)}")


async def _ids(store: Store) -> list[str]:
    listed = await store.sessions.list(limit=1_000_000)
    return [each.id for each in listed if each.title.startswith(GONE)]


def _pages(base: Base, marker: str) -> int:
    keys = open_keys(base.paths, Credentials(PASSPHRASE, None, False), CHEAP, create=False)
    with Pages(base.paths.database, keys.database_keys()) as pages:
        said = (pages.page(number) or b"" for number in range(1, pages.count + 1))
        return sum(marker.encode() in content or marker[2:].encode() in content for content in said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1500)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--kept", type=int, default=1500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Base(Path(folder))
        asyncio.run(measure(base, args.sessions, args.messages, args.kept))


if __name__ == "__main__":
    main()
