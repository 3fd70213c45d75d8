"""What has to be allowed, asked for in the editor. It waits in the store meanwhile, and whoever is first decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from acp.schema import (
    AllowedOutcome,
    ContentToolCallContent,
    PermissionOption,
    TextContentBlock,
    ToolCallUpdate,
)

from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.events import Event
from sophia_core.gate.happenings import ApprovalAsked, ApprovalDecided
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.gate.rules import rule_of

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime

ONCE: Final = PermissionOption(option_id="once", name="Allow once", kind="allow_once")
SESSION: Final = PermissionOption(option_id="run", name="Allow for this session", kind="allow_always")
RULE: Final = PermissionOption(option_id="rule", name="Always allow, by a rule", kind="allow_always")
DENY: Final = PermissionOption(option_id="deny", name="Refuse", kind="reject_once")
_KINDS: Final = {"read": "read", "write": "edit", "run": "execute", "net": "fetch"}


class Permitting:
    """Asks the editor for what the chats of its sessions want."""

    def __init__(self, runtime: Runtime, conn: Any, sessions: Mapping[str, object]) -> None:
        self._runtime, self._conn, self._sessions = runtime, conn, sessions
        self._asking: dict[str, tuple[str, asyncio.Task[None]]] = {}
        runtime.swarm_side.gate.attended = True
        self._unsubscribe = runtime.bus.subscribe(self._heard)

    def _heard(self, event: Event) -> None:
        match event:
            case ApprovalAsked(origin="chat") if event.origin_id in self._sessions:
                task = asyncio.create_task(self._ask(event.id, event.origin_id), name=f"permit-{event.id}")
                self._asking[event.id] = (event.origin_id, task)
                task.add_done_callback(lambda _: self._asking.pop(event.id, None))
            case ApprovalDecided() if event.id in self._asking:
                # Somebody else was first; the editor may still show its question, and is not listened to.
                _, task = self._asking.pop(event.id)
                if task is not asyncio.current_task():
                    task.cancel()
            case _:
                pass

    async def _ask(self, id_: str, session_id: str) -> None:
        with suppress(StoreError, CommandError):
            asked = await (await self._runtime.swarm_side.approvals.log()).asked(id_)
            if asked is None or asked.decision is not None:
                return
            chosen = await self._chosen(asked.request, session_id)
            if chosen in {each.option_id for each in _options(asked.request)} - {DENY.option_id}:
                await self._runtime.run("approval.allow", id_, chosen, confirmed=True)
            else:
                await self._runtime.run("approval.deny", id_, "It was refused in the editor.")

    async def _chosen(self, request: ApprovalRequest, session_id: str) -> str:
        call, options = _call(request), _options(request)
        try:
            found = await self._conn.request_permission(session_id=session_id, tool_call=call, options=options)
        except Exception:  # the editor is somebody else's: whatever it says instead of an answer is no permission
            return ""
        return found.outcome.option_id if isinstance(found.outcome, AllowedOutcome) else ""

    def stop(self, session_id: str) -> None:
        """Nothing is asked for any more in this session: who asked for it ends."""
        for session, task in list(self._asking.values()):
            if session == session_id:
                task.cancel()

    async def close(self) -> None:
        """Nothing is asked for any more."""
        self._unsubscribe()
        tasks = [task for _, task in self._asking.values()]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _options(request: ApprovalRequest) -> list[PermissionOption]:
    """What can be answered: what no rule can stand for is allowed once."""
    wide = [SESSION, RULE] if rule_of(request) is not None else []
    return [ONCE, *wide, DENY]


def _call(request: ApprovalRequest) -> ToolCallUpdate:
    shown = [each for each in (request.why, request.command and f"$ {request.command}", request.diff) if each]
    content = [
        ContentToolCallContent(type="content", content=TextContentBlock(type="text", text=each)) for each in shown
    ]
    kind: Any = _KINDS[request.danger]
    given = dict(request.arguments)
    return ToolCallUpdate(tool_call_id=request.id, title=request.what, kind=kind, content=content, raw_input=given)
