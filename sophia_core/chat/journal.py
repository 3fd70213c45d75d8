"""The journal of an answer being streamed: what was said is on disk a quarter of a second later."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from local_store.errors import StoreError

if TYPE_CHECKING:
    from local_store import Store

FLUSH_SECONDS = 0.15
"""With a commit of a few milliseconds this keeps text shown 300 ms ago safe from `kill -9`."""
FLUSH_CHARS = 2048


class Journal:
    """Appends to one answer's journal in the background, so that reading a stream never waits for the disk.

    When the store cannot take it (a full disk, say), the text stays here and is tried again with the next flush;
    `on_trouble` is called once, with the error.
    """

    def __init__(self, store: Store, answer_id: str, on_trouble: Callable[[StoreError], None]) -> None:
        self._store, self._answer_id, self._on_trouble = store, answer_id, on_trouble
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._chars = 0
        self._some, self._much = asyncio.Event(), asyncio.Event()
        self._troubled = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"journal-{self._answer_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def add(self, text: str = "", reasoning: str = "") -> None:
        """Takes what was just said; returns at once."""
        if text:
            self._text.append(text)
        if reasoning:
            self._reasoning.append(reasoning)
        self._chars += len(text) + len(reasoning)
        self._some.set()
        if self._chars >= FLUSH_CHARS:
            self._much.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._much.wait()
            await self._flush()

    async def _flush(self) -> None:
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        self._text, self._reasoning, self._chars = [], [], 0
        self._some.clear()
        self._much.clear()
        try:
            await self._store.turns.journal(self._answer_id, text=text, reasoning=reasoning)
        except StoreError as error:
            self._text.insert(0, text)
            self._reasoning.insert(0, reasoning)
            self._chars += len(text) + len(reasoning)
            self._some.set()
            if not self._troubled:
                self._troubled = True
                self._on_trouble(error)
