"""The calls of tools in an answer that arrives: told as they grow, and parts of the answer in the store from the first.

Their results are parts behind them. Where no tools were offered no call is run; it is shown to the person, who sees
what was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from local_store.errors import StoreError
from local_store.types import Part, PartStatus
from sophia_core.chat.hands import AskedCall
from sophia_core.events import Bus, CallStatus, ToolCalled

if TYPE_CHECKING:
    from backend_client.types import ToolCallChunk
    from local_store import Store

TOLD_EVERY_S: Final = 0.15
"""How often a call that grows is told and stored again."""
LONG: Final = 50_000
"""Characters with which that becomes rarer: every telling and writing is of the whole call."""
MOST: Final = 64
"""Calls of one answer; whatever asks for more of them is not serious."""
LONGEST: Final = 1_000_000
"""Characters of the arguments of one call; what is beyond them is not kept."""


@dataclass(slots=True)
class _Call:
    """One call so far."""

    name: str = ""
    call_id: str | None = None
    pieces: list[str] = field(default_factory=list)
    size: int = 0
    status: CallStatus = "waiting"

    def part(self) -> Part:
        # Who asks is told, not kept: whatever waits for a person is in the store as what it asks for.
        status = "waiting" if self.status == "asking" else self.status
        return Part("tool_call", self.name, self.call_id, "".join(self.pieces), status)


class Calls:
    """Takes the pieces of calls as they come. What the store refuses is tried again with the next writing."""

    def __init__(
        self, store: Store, bus: Bus, answer_id: str, on_trouble: Callable[[StoreError], None] = lambda error: None
    ) -> None:
        self._store, self._bus, self._answer_id, self._on_trouble = store, bus, answer_id, on_trouble
        self._calls: dict[int, _Call] = {}
        self._parts: list[_Call | Part] = []
        """The calls and their results, in the order in which they came."""
        self._round = 0
        """The first call of this round: a model that goes on after its calls counts from 0 again."""
        self.named: Callable[[str], str] = str
        """What a tool is called with us."""
        self._stored: list[Part] = []
        """What the store has of them, in their order."""
        self._first = 0
        """The position of the first: an answer that was tried before may have parts of that."""
        self._told: dict[int, tuple[Part, CallStatus]] = {}
        self._writing = asyncio.Lock()
        self._some, self._over = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets what is being written be written: nobody could know whether a write that was cut short was done."""
        self._over.set()
        self._some.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def take(self, chunk: ToolCallChunk) -> None:
        """One more piece of a call; returns at once."""
        index = self._round + max(0, chunk.index)
        if index not in self._calls:
            if len(self._calls) >= MOST:
                return
            self._calls[index] = _Call()
            self._parts.append(self._calls[index])
        call = self._calls[index]
        call.name, call.call_id = self.named(chunk.name) if chunk.name else call.name, chunk.id or call.call_id
        piece = chunk.arguments[: LONGEST - call.size]
        call.pieces.append(piece)
        call.size += len(piece)
        self._wake()

    def _wake(self) -> None:
        self._some.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"calls-{self._answer_id}")

    def asked(self) -> list[AskedCall]:
        """The calls of this round, which is over."""
        calls = [(index, each) for index, each in sorted(self._calls.items()) if index >= self._round]
        for index, each in calls:
            each.call_id = each.call_id or f"call_{index}"
        return [AskedCall(index, each.name, each.call_id or "", "".join(each.pieces)) for index, each in calls]

    def next_round(self) -> None:
        """The model goes on: its calls are counted from 0 again."""
        self._round = max(self._calls, default=-1) + 1

    def stand(self, index: int, status: CallStatus, result: str | None) -> None:
        """A call stands so from now on, and is told so; its result is kept behind it."""
        call = self._calls[index]
        call.status = status
        if result is not None:
            self._parts.append(Part("tool_result", call.name, call.call_id, result, call.part().status))
        self._tell()
        self._wake()

    def end(self, status: PartStatus) -> None:
        """No more comes: those that wait or run stand so from now on, and are told so."""
        for call in self._calls.values():
            call.status = status if call.status in ("waiting", "asking", "running") else call.status
        self._tell()

    async def write(self) -> None:
        """Brings the store up to how the calls stand. Raises StoreError; what was written then is not written twice."""
        async with self._writing:
            wanted = [each if isinstance(each, Part) else each.part() for each in self._parts]
            for position, part in enumerate(wanted[: len(self._stored)]):
                await self._update(position, part)
            for part in wanted[len(self._stored) :]:
                all_parts = await self._store.parts.add(self._answer_id, [part])
                self._stored.append(part)
                self._first = len(all_parts) - len(self._stored)

    async def _update(self, position: int, part: Part) -> None:
        before = self._stored[position]
        # A name that comes after the first piece stays unknown to the store: servers send it first, by contract.
        if (before.text, before.status) != (part.text, part.status):
            await self._store.parts.update(self._answer_id, self._first + position, status=part.status, text=part.text)
            self._stored[position] = replace(before, text=part.text, status=part.status)

    async def _run(self) -> None:
        """Tells and writes what came, a few times a second."""
        while not self._over.is_set():
            await self._some.wait()
            self._some.clear()
            if self._over.is_set():
                return
            self._tell()
            try:
                await self.write()
            except StoreError as error:
                self._on_trouble(error)
            try:
                async with asyncio.timeout(TOLD_EVERY_S * (1 + self._size // LONG)):
                    await self._over.wait()
            except TimeoutError:
                continue

    @property
    def _size(self) -> int:
        return sum(call.size for call in self._calls.values())

    def _tell(self) -> None:
        for index, call in sorted(self._calls.items()):
            part = call.part()
            if self._told.get(index) != (part, call.status):
                self._told[index] = part, call.status
                self._bus.publish(ToolCalled(self._answer_id, index, part.name, part.text, call.status))
