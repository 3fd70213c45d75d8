"""Our side of an outside agent: what it asks of us, each thing judged, confined and told.

Files go through our own tools, which never leave the folder; commands through the sandbox; permissions through the one
gate. One thing after another: the gate of a step knows requests by their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from acp import RequestError
from acp.schema import (
    AllowedOutcome,
    CreateTerminalResponse,
    DeniedOutcome,
    EnvVariable,
    PermissionOption,
    ReadTextFileResponse,
    ReleaseTerminalResponse,
    RequestPermissionResponse,
    TerminalExitStatus,
    TerminalOutputResponse,
    ToolCallUpdate,
    WaitForTerminalExitResponse,
    WriteTextFileResponse,
)

from sophia_core.acp.permission import Standing, mark, option, wanted
from sophia_core.acp.telling import Telling
from sophia_core.acp.terminals import Terminals
from sophia_core.gate.asking import request
from sophia_core.gate.judging import BY_RULE
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.swarm.ports import StepHost
from sophia_core.swarm.tools.changing import Changing
from sophia_core.swarm.tools.confined import Confined, is_secret
from sophia_core.swarm.tools.hand import text_of

T = TypeVar("T")
MOST_ASKED: Final = 2_000
"""Requests of one agent; whoever asks for more is in a circle."""


class Hands:
    """A client of the protocol for one step."""

    def __init__(
        self, host: StepHost, files: Confined, standing: Standing, terminals: Terminals, telling: Telling
    ) -> None:
        self._host, self._files, self._standing = host, files, standing
        self._terminals, self._telling = terminals, telling
        self._write = next(each for each in Changing(files, isolated=standing.isolated).tools() if _writes(each))
        self.writable = True
        self.always = False
        """Whether a person is asked for each change, whatever the rules allow."""
        self.session_id = ""
        self._allowed: set[str] = set()
        """Marks of contents that somebody allowed already."""
        self._one, self._asked = asyncio.Lock(), 0
        self.waiting = 0
        """How much of what it asked for is not answered yet."""
        self.put_down = asyncio.Event()
        """The step is to be put down where it is."""

    def on_connect(self, conn: Any) -> None:
        """Called by the SDK."""

    # Permissions

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **kwargs: Any
    ) -> RequestPermissionResponse:
        """What the gate says to it."""
        return await self._do(session_id, lambda: self._permitted(tool_call, options))

    async def _permitted(self, call: ToolCallUpdate, options: list[PermissionOption]) -> RequestPermissionResponse:
        self._telling.call(call.tool_call_id, call.title, call.kind, call.raw_input)
        found = wanted(call, self._standing)
        decision = Decision(not found.never)
        if found.request is not None:
            decision = await self._host.pass_(self._each_time(found.request))
        chosen = option(options, allowed=decision.allowed)
        if decision.allowed and chosen is not None and decision.by != BY_RULE:
            # A person saw just this content; what rules allowed they are asked again, as writing is another tool.
            self._allowed.update(found.writes)
        if chosen is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=chosen))

    def _each_time(self, asked: ApprovalRequest) -> ApprovalRequest:
        return replace(asked, isolated=False) if self.always else asked

    async def _pass(self, asked: ApprovalRequest | None) -> None:
        """Raises RequestError where it is not allowed."""
        if asked is None:
            return
        decision = await self._host.pass_(self._each_time(asked))
        if not decision.allowed:
            raise _no(f"It was not allowed. {decision.note}".strip())

    # Files

    async def write_text_file(self, session_id: str, path: str, content: str, **kwargs: Any) -> WriteTextFileResponse:
        """Writes a file of the folder, where that is allowed."""
        return await self._do(session_id, lambda: self._written(path, content))

    async def _written(self, path: str, content: str) -> WriteTextFileResponse:
        if not self.writable:
            raise _no("Nothing can be written in this step.")
        name = self._files.name(path)
        arguments = {"path": name, "content": content}
        asked = await asyncio.to_thread(self._write.ask, arguments)
        if mark(name, content) in self._allowed:
            self._allowed.discard(mark(name, content))
        else:
            await self._pass(asked)
        result = await self._write.call(arguments)
        if not result.ok:
            raise _no(result.text)
        return WriteTextFileResponse()

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **kwargs: Any
    ) -> ReadTextFileResponse:
        """A file of the folder, or some lines of it."""
        return await self._do(session_id, lambda: self._read(path, line, limit))

    async def _read(self, path: str, line: int | None, limit: int | None) -> ReadTextFileResponse:
        name = self._files.name(path)
        if is_secret(name):
            what = f"Read {name}, which may hold secrets, and show it to the outside agent."
            folder = self._standing.shown_folder
            await self._pass(request("read_file", "read", what, arguments={"path": name}, folder=folder, paths=(name,)))
        text = text_of(await asyncio.to_thread(self._files.read, name), name)
        if line is not None or limit is not None:
            first = max(1, line or 1) - 1
            lines = text.splitlines(keepends=True)
            text = "".join(lines[first:] if limit is None else lines[first : first + max(0, limit)])
        return ReadTextFileResponse(content=text)

    # Terminals

    async def create_terminal(
        self,
        session_id: str,
        command: str,
        args: list[str] | None = None,
        env: list[EnvVariable] | None = None,
        cwd: str | None = None,
        output_byte_limit: int | None = None,
        **kwargs: Any,
    ) -> CreateTerminalResponse:
        """Starts a command in the sandbox, where that is allowed."""
        given = {each.name: each.value for each in env or ()}
        return await self._do(session_id, lambda: self._begun(command, args or (), given, cwd, output_byte_limit))

    async def _begun(
        self, command: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None, most: int | None
    ) -> CreateTerminalResponse:
        found = self._terminals.command(command, args, env, cwd)
        asked = await asyncio.to_thread(self._terminals.asks, found)
        await self._pass(asked)
        return CreateTerminalResponse(terminal_id=self._terminals.begin(found, most, unboxed=not asked.boxed))

    async def terminal_output(self, session_id: str, terminal_id: str, **kwargs: Any) -> TerminalOutputResponse:
        """What it has said."""
        text, cut, code = _known(lambda: self._terminals.output(terminal_id))
        status = None if code is None else TerminalExitStatus(exit_code=max(0, code))
        return TerminalOutputResponse(output=text, truncated=cut, exit_status=status)

    async def wait_for_terminal_exit(
        self, session_id: str, terminal_id: str, **kwargs: Any
    ) -> WaitForTerminalExitResponse:
        """How it ended."""
        self.waiting += 1
        try:
            return WaitForTerminalExitResponse(exit_code=max(0, await self._terminals.end(terminal_id)))
        except KeyError:
            raise _no("There is no such terminal.") from None
        finally:
            self.waiting -= 1

    async def kill_terminal(self, session_id: str, terminal_id: str, **kwargs: Any) -> None:
        """Ends it; what it said is kept."""
        _known(lambda: self._terminals.kill(terminal_id))

    async def release_terminal(self, session_id: str, terminal_id: str, **kwargs: Any) -> ReleaseTerminalResponse:
        """Ends and forgets it."""
        _known(lambda: self._terminals.release(terminal_id))
        return ReleaseTerminalResponse()

    # What it tells

    async def session_update(self, session_id: str, update: Any, **kwargs: Any) -> None:
        """What it does and says."""
        if session_id == self.session_id:
            self._telling.take(update)

    async def create_elicitation(self, message: str, mode: Any, **kwargs: Any) -> Any:
        """Nobody is asked in words: the protocol does not let us say who asks."""
        raise RequestError.method_not_found("elicitation/create")

    async def complete_elicitation(self, elicitation_id: str, **kwargs: Any) -> None:
        """Nothing was begun."""

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """There are none."""
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """There are none."""

    async def _do(self, session_id: str, do: Callable[[], Awaitable[T]]) -> T:
        """One thing after another, and each for the session there is; what was wrong is told to the agent."""
        self._asked += 1
        if session_id != self.session_id or self._asked > MOST_ASKED:
            raise _no("There is no such session." if session_id != self.session_id else "Enough was asked for.")
        self.waiting += 1
        try:
            async with self._one:
                return await do()
        except asyncio.CancelledError:
            self.put_down.set()
            raise
        except (ValueError, OSError) as error:
            raise _no(str(error)) from None
        finally:
            self.waiting -= 1


def _no(why: str) -> RequestError:
    return RequestError(-32602, why[:500])


def _known(do: Callable[[], T]) -> T:
    try:
        return do()
    except KeyError:
        raise _no("There is no such terminal.") from None


def _writes(hand: Any) -> bool:
    return bool(hand.spec.name == "write_file")
