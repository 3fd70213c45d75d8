"""An answer as it comes, told to the editor in its order: from the bus, where everything that happens is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final, Literal, Self

from acp import start_tool_call, update_agent_message_text, update_agent_thought_text, update_tool_call

from sophia_core.events import Bus, Event, ReasoningDelta, TextDelta, ToolCalled, TurnFinished, TurnStarted
from sophia_core.sanitize import one_line, sanitize

Status = Literal["pending", "in_progress", "completed", "failed"]
_STATUS: Final[dict[str, Status]] = {
    "waiting": "pending",
    "asking": "pending",
    "running": "in_progress",
    "complete": "completed",
    "failed": "failed",
    "refused": "failed",
}
Kind = Literal["read", "search", "edit", "execute", "other"]
_KINDS: Final[dict[str, Kind]] = {
    "read_file": "read",
    "list_files": "search",
    "search": "search",
    "edit_file": "edit",
    "write_file": "edit",
    "apply_patch": "edit",
    "run": "execute",
}


class Streaming:
    """Tells the answer that begins in a session while this lasts; at its end everything is told."""

    def __init__(self, bus: Bus, conn: Any, session_id: str) -> None:
        self._bus, self._conn, self._session_id = bus, conn, session_id
        self._answer_id = ""
        self._waiting: list[tuple[str, Any]] = []
        self._some, self._over = asyncio.Event(), False
        self._begun: set[int] = set()
        self._told: dict[int, str] = {}
        self._said = False

    async def __aenter__(self) -> Self:
        self._unsubscribe = self._bus.subscribe(self._heard)
        self._task = asyncio.create_task(self._tell(), name=f"acp-{self._session_id}")
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._unsubscribe()
        self._over = True
        self._some.set()
        await asyncio.wait({self._task})
        with suppress(Exception):
            # Whoever has gone is told nothing any more.
            self._task.result()

    def _heard(self, event: Event) -> None:
        match event:
            case TurnStarted(session_id=self._session_id):
                self._answer_id = event.answer_id
            case TextDelta(answer_id=self._answer_id):
                self._said = True
                self._add("text", event.text)
            case ReasoningDelta(answer_id=self._answer_id):
                self._add("thought", event.text)
            case ToolCalled(answer_id=self._answer_id):
                self._add("tool", event)
            case TurnFinished(answer_id=self._answer_id) if event.text and not self._said:
                self._add("text", event.text)
            case _:
                pass

    def _add(self, kind: str, what: Any) -> None:
        if self._waiting and self._waiting[-1][0] == kind and kind != "tool":
            # What is not told yet is told as one.
            what = self._waiting.pop()[1] + what
        self._waiting.append((kind, what))
        self._some.set()

    async def _tell(self) -> None:
        while self._waiting or not self._over:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                kind, what = self._waiting.pop(0)
                for update in self._updates(kind, what):
                    await self._conn.session_update(session_id=self._session_id, update=update)
            if self._over:
                self._some.set()

    def _updates(self, kind: str, what: Any) -> list[Any]:
        if kind == "tool":
            return self._tool(what)
        text = sanitize(what)
        if not text:
            return []
        return [update_agent_message_text(text) if kind == "text" else update_agent_thought_text(text)]

    def _tool(self, event: ToolCalled) -> list[Any]:
        """A call, once it begins and whenever it stands otherwise."""
        if not event.name or self._told.get(event.index) == event.status:
            return []
        self._told[event.index] = event.status
        id_, status = f"{self._answer_id}-{event.index}", _STATUS[event.status]
        given = _given(event.arguments)
        if event.index not in self._begun:
            self._begun.add(event.index)
            kind = _KINDS.get(event.name, "other")
            return [start_tool_call(id_, one_line(event.name, 80), kind=kind, status=status, raw_input=given)]
        return [update_tool_call(id_, status=status, raw_input=given)]


def _given(arguments: str) -> Any:
    """What a tool is given; None while it arrives."""
    try:
        return json.loads(sanitize(arguments)) if arguments else None
    except (ValueError, RecursionError):
        return None
