"""Finds what was said by its words and by what it means, and makes one list of both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sophia_core.memory.embedder import MODEL, Embedder, Gone
from sophia_core.memory.hybrid import fused

if TYPE_CHECKING:
    from local_store import Hit, Store
    from local_store.query import Query
    from local_store.types import Role
    from local_store.vector_search import Near

CANDIDATES = 400
"""How many of the nearest codes are ranked by their vectors."""
WIDER = (CANDIDATES, 4_000, 16_000)
"""How many to look at where a filter lets only some of them through."""
MOST_OF_A_SESSION = 10_000
LEAST = 0.25
"""What is less near than this to a question has nothing to do with it."""
SNIPPET = 160
By = Literal["words", "meaning", "both"]


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message that was found."""

    message_id: str
    session_id: str
    session_title: str
    role: Role
    snippet: str
    created_at: int
    found_by: By
    matches: tuple[tuple[int, int], ...] = ()
    """Where words of the question stand: (start, end) offsets into `snippet`."""


@dataclass(frozen=True, slots=True)
class _Asked:
    store: Store
    query: Query
    question: str
    limit: int
    current: str | None
    inside: str | None


class Recall:
    """Searches; `embedder` is told what the store holds as far as it does not know it yet."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._filling = asyncio.Lock()
        self._known: tuple[Store | None, int, int] = (None, 0, 0)
        """Whose codes are in memory, since which start of the process, and up to which number."""

    async def by_meaning(
        self, store: Store, query: Query, limit: int, *, current: str | None = None, inside: str | None = None
    ) -> list[tuple[Near, float]]:
        """Return the messages nearest in meaning, each by its nearest stretch. Raises NoMeaning, StoreError.

        `current` is the session that `in:session` means; with `inside` only that session is looked through.
        """
        asked = _Asked(store, query, " ".join(query.words), limit, current, inside)
        if not any(map(str.isalnum, asked.question)):
            return []
        try:
            scores = await self._scores(asked)
        except Gone:
            scores = await self._scores(asked)
        best = sorted((seq for seq in scores if scores[seq] >= LEAST), key=lambda seq: -scores[seq])
        # A message may be there with several stretches.
        near = await store.vectors.near(MODEL, best[: limit * 4])
        messages: dict[str, tuple[Near, float]] = {}
        for seq in best:
            if seq in near:
                messages.setdefault(near[seq].message_id, (near[seq], scores[seq]))
        return list(messages.values())[:limit]

    async def _scores(self, asked: _Asked) -> dict[int, float]:
        vectors = await self._candidates(asked)
        return dict(zip(vectors, await self._embedder.score(asked.question, list(vectors.values())), strict=True))

    async def _candidates(self, asked: _Asked) -> dict[int, bytes]:
        vectors = asked.store.vectors
        if asked.inside is not None:
            seqs = await vectors.in_session(MODEL, asked.inside, MOST_OF_A_SESSION)
            return await vectors.vectors(MODEL, seqs, asked.query, asked.current)
        await self.fill(asked.store)
        found: dict[int, bytes] = {}
        for most in WIDER:
            seqs = await self._embedder.near(asked.question, most)
            found = await vectors.vectors(MODEL, seqs, asked.query, asked.current)
            if len(found) >= min(asked.limit, len(seqs)) or len(seqs) < most:
                break
        return found

    async def fill(self, store: Store) -> None:
        """Have the codes of everything in the store in memory."""
        from local_store.vector_search import Place

        async with self._filling:
            await self._embedder.ready()
            known, starts, newest = self._known
            if known is not store or starts != self._embedder.starts:
                if known is not None and starts == self._embedder.starts:
                    await self._embedder.stop()
                    await self._embedder.ready()
                starts = self._embedder.starts
                newest = await store.vectors.newest(MODEL)
                place = Place()
                while (page := await store.vectors.codes(MODEL, place)).seqs:
                    await self._embedder.add(page.seqs, page.codes)
                    place = page.last
            while (page := await store.vectors.newer_codes(MODEL, newest)).seqs:
                await self._embedder.add(page.seqs, page.codes)
                newest = page.last.seq
            self._known = (store, starts, newest)


def together(words: list[Hit], meaning: list[tuple[Near, float]], limit: int) -> list[Recalled]:
    """Return what either found, as one ranking."""
    by_words = {hit.message_id: hit for hit in words}
    by_meaning = {near.message_id: near for near, _ in meaning}
    order = fused([list(by_meaning), list(by_words)])[:limit]
    return [_recalled(by_words.get(each), by_meaning.get(each)) for each in order]


def _recalled(hit: Hit | None, near: Near | None) -> Recalled:
    if hit is not None:
        by: By = "both" if near is not None else "words"
        return Recalled(
            hit.message_id,
            hit.session_id,
            hit.session_title,
            hit.role,
            hit.snippet,
            hit.created_at,
            by,
            hit.matches,
        )
    assert near is not None  # noqa: S101 - it came from one of the two
    return Recalled(
        near.message_id,
        near.session_id,
        near.session_title,
        near.role,
        _snippet(near.text),
        near.created_at,
        "meaning",
    )


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else line[:SNIPPET].rsplit(" ", 1)[0] + "…"
