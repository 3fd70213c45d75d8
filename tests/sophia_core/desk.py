"""A chat with its outbox on a real store; the one fake is the backend that plays a script."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from backend_client import BackendError
from backend_client.types import ChatRequest, Chunk, FinishChunk, Routed, TextChunk, UsageChunk
from local_store import Letter, Message, Store, StorePaths
from sophia_core.chat.branches import Branches
from sophia_core.chat.chat import Chat
from sophia_core.commands import Registry
from sophia_core.events import Bus, Event, TurnFinished
from sophia_core.outbox import Outbox
from sophia_core.settings import load_settings
from sophia_core.state import Current
from sophia_core.vault import Vault

Piece: TypeAlias = Chunk | asyncio.Event | BaseException
Script: TypeAlias = BackendError | Sequence[Piece]
E = TypeVar("E", bound=Event)

ROUTED = Routed("here", "m", "r", 1)


def said(text: str, *, finish: str = "stop") -> list[Piece]:
    """A whole answer that used 7 and 3 tokens."""
    return [ROUTED, TextChunk(text), FinishChunk(finish), UsageChunk(7, 3)]


class ScriptedBackend:
    """Plays one entry of the script for each request, and keeps the requests."""

    def __init__(self, *script: Script, window: int | None = None) -> None:
        self.window = window
        self.script: list[Script] = list(script)
        self.requests: list[ChatRequest] = []
        self.asked: list[str | None] = []
        self.heard = asyncio.Event()
        """Set by every request."""

    async def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]:
        fitted = request.messages if request.fitted is None else request.fitted(self.window)
        self.requests.append(replace(request, messages=fitted))
        self.asked.append(provider)
        self.heard.set()
        entry = self.script.pop(0)
        for piece in [entry] if isinstance(entry, BackendError) else entry:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, BaseException):
                raise piece
            else:
                yield piece


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Everything one instance of the app needs to ask, queue and deliver."""

    def __init__(self, home: Path, *script: Script, queue: bool = True, cache: bool = False, window: int = 0) -> None:
        settings = load_settings({"SOPHIA_HOME": str(home)}).settings.chat.model_copy(update={"system_prompt": ""})
        self.backend, self.bus, self.current = ScriptedBackend(*script, window=window or None), Bus(), Current()
        self.events: list[Event] = []
        self.bus.subscribe(self.events.append)
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.chat = Chat(
            self.vault,
            self.backend,
            self.bus,
            self.current,
            settings,
            queue_when_offline=queue,
            offer_continue=True,
            cache=cache,
        )
        self.clock, self.slept = Clock(), cast("list[float]", [])
        self.outbox = Outbox(
            self.vault,
            self.chat,
            self.bus,
            clock=self.clock,
            sleep=self._sleep,
            rng=random.Random(1),  # noqa: S311
        )
        self.registry = Registry()
        branches = Branches(self.vault, self.bus, self.current, lambda: self.chat.busy)
        for owner in (self.chat, branches, self.chat.cache, self.outbox):
            self.registry.collect(owner)

    async def _sleep(self, seconds: float) -> None:
        """Time that never passes by itself: tests wake the outbox."""
        self.slept.append(seconds)
        await asyncio.Event().wait()

    async def open(self) -> Desk:
        await self.vault.open()
        return self

    async def close(self) -> None:
        await self.outbox.close()
        await self.chat.close()
        await self.vault.close()

    @property
    def store(self) -> Store:
        assert self.vault.store is not None
        return self.vault.store

    async def run(self, line: str, *, confirmed: bool = False) -> object:
        return await self.registry.run_line(line, confirmed=confirmed)

    async def turn(self, line: str) -> TurnFinished:
        finished = await self.run(line)
        assert isinstance(finished, TurnFinished)
        return finished

    async def letters(self) -> list[Letter]:
        return await self.store.outbox.list()

    async def path(self) -> list[Message]:
        assert self.current.session_id is not None
        return await self.store.messages.path(self.current.session_id)

    def heard(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[E], count: int = 1) -> E:
        """Waits until so many events of a kind were heard; returns the last."""
        arrived = asyncio.Event()
        unsubscribe = self.bus.subscribe(lambda _: arrived.set())
        async with asyncio.timeout(10):
            while len(self.heard(kind)) < count:
                arrived.clear()
                await arrived.wait()
        unsubscribe()
        return self.heard(kind)[-1]

    async def asked_for(self, count: int) -> None:
        """Waits until so many requests reached the backend."""
        async with asyncio.timeout(10):
            while len(self.backend.requests) < count:
                self.backend.heard.clear()
                await self.backend.heard.wait()
