"""Memory as the app has it: works in the background, gives way to conversations, and holds the commands."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from local_store.errors import NotFound, StoreError
from sophia_core.commands import VERBATIM, CommandError, command
from sophia_core.events import Bus, Event, Notice, SessionsChanged, StoreStateChanged, TurnFinished, TurnStarted
from sophia_core.memory.embedder import INSTALL_HINT, MODEL, Embedder, NoMeaning, is_installed
from sophia_core.memory.indexing import Progress, alone, index_all, index_some

if TYPE_CHECKING:
    from local_store import Hit, Store
    from local_store.vector_search import Near
    from sophia_core.memory.recall import Recall, Recalled
    from sophia_core.settings import MemorySettings
    from sophia_core.state import Current
    from sophia_core.vault import Vault

OFF = "Finding by meaning is switched off; words are still found."
OFF_HINT = "Switch it on in the configuration file: memory.semantic = true"
IDLE_S = 600.0
"""After so long without a question the process that computes vectors ends; it takes a quarter of a gigabyte."""
UNUSED_S = 30.0
"""After so long without any work it ends where nobody asked anything lately."""
CALM_S = 180.0
"""How long nobody must have asked anything before messages are read: whoever is at work owns the processor."""
RETRY_S = 60.0
PATIENCE_S = 0.03
"""How long to look for the best fitting words; after that the newest ones must do."""
FULL_PACE = 100


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """Whether messages are found by meaning, and how many of them."""

    state: str
    """off, not installed, not open, reading, paused, ready or failed."""
    done: int = 0
    total: int = 0
    detail: str = ""
    """What to do about it, or why it is so."""


class Memory:
    """Finds what was said by what it means. Without the extra, or when it is switched off, by its words alone.

    `start` looks at messages in the background until `close`; without it the commands work all the same.
    """

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        current: Current,
        settings: MemorySettings,
        *,
        embedder: Embedder | None = None,
        installed: Callable[[], bool] = is_installed,
        calm_s: float = CALM_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault, self._bus, self._current, self._settings = vault, bus, current, settings
        self._installed = installed
        self._embedder = embedder or Embedder(installed=installed)
        self._woken = asyncio.Event()
        self._turns: set[str] = set()
        self._paces: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._calm_s, self._clock = calm_s, clock
        self._calm_from = clock() + calm_s
        self._asked_at = -IDLE_S
        self._working = False
        self._trouble: NoMeaning | None = None
        self._told = False
        self.on_progress: Progress | None = None
        """Hears how far `memory.index` is: messages looked at, messages there are."""

    @cached_property
    def _recall(self) -> Recall:
        """Loaded with the first question."""
        from sophia_core.memory.recall import Recall

        return Recall(self._embedder)

    def _off(self) -> NoMeaning | None:
        """Why nothing is found by meaning; None when it is."""
        if not self._settings.semantic:
            return NoMeaning(OFF, OFF_HINT)
        if not self._installed():
            return NoMeaning("Finding by meaning needs the extra `memory`, which is not installed.", INSTALL_HINT)
        return None

    def start(self) -> None:
        """Works in the background from now on, where that is possible at all."""
        if self._off() is None:
            self._unsubscribe = self._bus.subscribe(self._heard)
            self._task = asyncio.create_task(self._run(), name="memory")

    async def close(self) -> None:
        """Stops working, and ends the process that computes vectors."""
        if self._unsubscribe:
            self._unsubscribe()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self.forget()

    async def forget(self) -> None:
        """Ends the process that holds codes and texts in memory; for the moment before the store is locked."""
        await self._embedder.stop()

    def _heard(self, event: Event) -> None:
        match event:
            case TurnStarted(answer_id=answer):
                self._turns.add(answer)
                self._set_pace()
            case TurnFinished(answer_id=answer):
                self._turns.discard(answer)
                self._calm_from = self._clock() + self._calm_s
                self._set_pace()
                self._woken.set()
            case SessionsChanged() | StoreStateChanged():
                self._woken.set()

    def _set_pace(self) -> None:
        percent = 0 if self._turns else self._settings.index_cpu_percent
        pace = asyncio.create_task(self._embedder.pace(percent), name="memory-pace")
        self._paces.add(pace)
        pace.add_done_callback(self._paces.discard)

    async def _run(self) -> None:
        await self._embedder.pace(self._settings.index_cpu_percent)
        while True:
            self._woken.clear()
            try:
                worked = await self._work()
                self._trouble = None
            except NoMeaning as error:
                self._trouble, worked = error, False
            except StoreError:  # the store says what is wrong with it by itself
                worked = False
            if not worked:
                await self._rest()

    async def _work(self) -> bool:
        """Looks at everything there is; False when nothing can be done now."""
        store = self._vault.store
        if store is None or self._turns or self._vault.state == "locked" or self._clock() < self._calm_from:
            return False
        with alone(store.paths.run) as ours:
            if not ours:
                return False
            self._working = True
            try:
                while self._vault.store is store and await index_some(store, self._embedder):
                    if self._turns:
                        return False
            finally:
                self._working = False
        return False

    async def _rest(self) -> None:
        if self._clock() - self._asked_at >= IDLE_S and self._embedder.idle_s >= UNUSED_S:
            await self._embedder.stop()
        calm_in = self._calm_from - self._clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(RETRY_S, calm_in) if calm_in > 0 else RETRY_S):
                await self._woken.wait()

    @command("memory.search", slash="recall")
    async def search(
        self, question: Annotated[str, VERBATIM], *, limit: int = 20, session: str | None = None
    ) -> builtins.list[Recalled]:
        """Find what was said by what it means and by its words; `session=` looks in one session only."""
        self._asked_at = self._calm_from = self._clock()  # who looks for something wants the rest to be found, too
        self._woken.set()
        from sophia_core.memory.recall import together

        store = await self._vault.get()
        inside = None if session is None else await _session_id(store, session)
        words, meaning = await asyncio.gather(
            self._by_words(store, question, limit * 2), self._by_meaning(store, question, limit * 2, inside)
        )
        return together([hit for hit in words if inside in (None, hit.session_id)], meaning, limit)

    async def _by_words(self, store: Store, question: str, limit: int) -> tuple[Hit, ...]:
        found = await store.search.find(
            question, session=self._current.session_id, limit=limit, rank=True, patience=PATIENCE_S
        )
        return found.hits

    async def _by_meaning(
        self, store: Store, question: str, limit: int, inside: str | None
    ) -> builtins.list[tuple[Near, float]]:
        from local_store.query import parse

        try:
            if off := self._off():
                raise off
            return await self._recall.by_meaning(
                store, parse(question), limit, current=self._current.session_id, inside=inside
            )
        except NoMeaning as error:
            if not self._told:
                self._told = True
                self._bus.publish(Notice("info", f"Found by words only: {error}", error.hint))
            return []

    @command("memory.status")
    async def status(self) -> MemoryStatus:
        """Say whether messages are found by what they mean, and how many were looked at."""
        if off := self._off():
            return MemoryStatus("off" if not self._settings.semantic else "not installed", detail=off.hint)
        if self._vault.store is None:
            return MemoryStatus("not open", detail="The store is not open.")
        coverage = await self._vault.store.vectors.coverage(MODEL)
        done, total = coverage.done, coverage.total
        if self._trouble is not None:
            return MemoryStatus("failed", done, total, f"{self._trouble} {self._trouble.hint}".strip())
        if done >= total:
            return MemoryStatus("ready", done, total)
        if self._turns:
            return MemoryStatus("paused", done, total, "It goes on when the answer is there.")
        if self._working:
            return MemoryStatus("reading", done, total, f"It takes {self._settings.index_cpu_percent} % of a core.")
        return MemoryStatus("waiting", done, total, "/memory.index looks at the rest now.")

    @command("memory.index")
    async def index(self, again: bool = False) -> str:
        """Look at every message that cannot be found by meaning yet; `again=yes` makes sure that none is missed."""
        store = await self._vault.get()
        if off := self._off():
            raise CommandError(str(off), off.hint)
        try:
            with alone(store.paths.run) as ours:
                if not ours:
                    coverage = await store.vectors.coverage(MODEL)
                    return f"It is being done already: {coverage.done:,} of {coverage.total:,} messages."
                if again:
                    await store.vectors.look_again(MODEL)
                if self._task is None:
                    await self._embedder.pace(FULL_PACE)
                coverage = await self._vault.work.run(
                    "Reading the messages",
                    lambda tell: index_all(store, self._embedder, self.on_progress or tell),
                    stopped="What was read stays; the rest is read in the background.",
                )
        except NoMeaning as error:
            raise CommandError(str(error), error.hint) from None
        return f"All {coverage.total:,} messages can be found by what they mean."


async def _session_id(store: Store, session: str) -> str:
    try:
        return (await store.sessions.get(session)).id
    except NotFound as error:
        raise CommandError(f"There is no session {session!r}.", error.hint or "`sophia sessions` lists them.") from None
