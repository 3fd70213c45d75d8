"""Reading a large store, filling it and how large it gets; measured by `benchmarks.store`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

from benchmarks import rank
from benchmarks.store_work import Base, opened
from local_store import Store
from local_store.imports import Conversation, ImportMessage

ANSWER = "The tide comes in twice a day because the earth turns under two bulges of water, one below the moon. " * 4
REPEATS = 50
OPENINGS = 8
YEAR_MS = 1_700_000_000_000


async def reading(base: Base, lengths: dict[str, str]) -> list[dict[str, object]]:
    """CPU of all threads; cold is the first of its kind after the store was opened."""
    cold: dict[str, list[float]] = {}
    warm: dict[str, float] = {}
    for opening in range(OPENINGS):
        async with await opened(base) as store:
            works: dict[str, Callable[[], Awaitable[object]]] = {"list the 50 newest": lambda: store.sessions.list(50)}
            for name, session_id in lengths.items():
                works[f"window of {name}"] = lambda each=session_id: store.messages.window(each)  # type: ignore[misc]
            names = list(works)
            # Each goes first in its turn: what one read warms up is of use to the next.
            for name in names[opening % len(names) :] + names[: opening % len(names)]:
                cold.setdefault(name, []).append(await _cpu_ms(works[name], 1))
            if opening == OPENINGS - 1:
                warm = {name: await _cpu_ms(work, REPEATS) for name, work in works.items()}
    return [{"read": name, "cold CPU ms": rank(cold[name], 0.5), "warm CPU ms": warm[name]} for name in warm]


async def _cpu_ms(work: Callable[[], Awaitable[object]], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - began) * 1000 / times


def conversations(source: str, lengths: Iterable[int]) -> Iterator[Conversation]:
    """Conversations so long."""
    for number, length in enumerate(lengths):
        told = [
            ImportMessage(
                key=str(key),
                role="assistant" if key % 2 else "user",
                text=f"{number} {key} {ANSWER[key % 90 :]}",
                parent=str(key - 1) if key else None,
                created_at=YEAR_MS + number * 1000 + key,
            )
            for key in range(length)
        ]
        yield Conversation(source, str(number), f"Conversation {number}", told, created_at=YEAR_MS + number)


async def importing(store: Store, count: int) -> dict[str, object]:
    """Messages a second, in conversations of forty."""
    wall, cpu = time.perf_counter(), time.process_time()
    report = await store.bulk.add(conversations("bench", [40] * (count // 40)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert report.messages == count // 40 * 40
    return {
        "import": f"{report.messages} messages",
        "a second": round(report.messages / wall),
        "a second of CPU": round(report.messages / cpu),
    }


async def sizes(store: Store, base: Base) -> list[dict[str, object]]:
    """Bytes on the disk, and for one character of what was said."""
    ids = await store.bulk.session_ids()
    characters = sum([sum(len(each.text) for each in await store.messages.all(one)) for one in ids])
    made = await store.backups.make(base.backups)
    found = {"what was said": characters, "database": base.paths.database.stat().st_size, "a backup": made.bytes}
    return [{"size": name, "MB": size / 1e6, "a character": size / characters} for name, size in found.items()]
