"""Looks at messages in the background, the newest first, until everything in the store can be found by meaning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from local_store import files
from local_store.errors import StoreError
from sophia_core.memory.embedder import MODEL, Embedder
from sophia_core.memory.stretches import stretches

if TYPE_CHECKING:
    from local_store import Store
    from local_store.vectors import Coverage

Progress = Callable[[int, int], object]
BATCH = 8
"""How many messages are written at once: what a crash makes us do again."""


async def index_some(store: Store, embedder: Embedder) -> bool:
    """Look at a few messages that nobody looked at yet; False when there are none. Raises NoMeaning, StoreError."""
    batch = await store.vectors.missing(MODEL, BATCH)
    if batch is None:
        return await store.vectors.forget_others(MODEL) > 0
    made = {}
    for message in batch.messages:
        if parts := stretches(message.text):
            made[message.seq] = await embedder.look(message.text, parts)
    await store.vectors.add(MODEL, batch, made)
    return True


async def index_all(store: Store, embedder: Embedder, progress: Progress | None = None) -> Coverage:
    """Look at everything; may be cancelled at any time and goes on there the next time."""
    while await index_some(store, embedder):
        if progress is not None:
            coverage = await store.vectors.coverage(MODEL)
            progress(coverage.done, coverage.total)
    return await store.vectors.coverage(MODEL)


@contextlib.contextmanager
def alone(run: Path) -> Iterator[bool]:
    """Say whether no other process looks at messages now, and keep others from it as long as that lasts."""
    with contextlib.ExitStack() as held:
        try:
            free = held.enter_context(files.if_alone(run / "memory.lock"))
        except (StoreError, OSError):  # where not even this can be written, no vectors can
            free = False
        yield free
