"""A tool of an MCP server, as the swarm and the chat know tools."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sophia_core.commands import CommandError
from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.mcp.words import text_of
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.ports import ToolResult, ToolSpec

LONGEST_SHOWN: Final = 6_000
LARGEST: Final = 1 << 20
"""Characters of what a call is given."""
Call: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Calls the server's tool of this name. Raises McpError."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool; the server is begun when it is called and not there."""

    spec: ToolSpec
    server: str
    theirs: str
    """What the server calls it."""
    do: Call

    def ask(self, arguments: Mapping[str, Any]) -> ApprovalRequest | None:
        """What would have to be allowed. Raises ValueError."""
        text = _json(arguments)
        if self.spec.danger == "read":
            return None
        what = f"Calls {self.theirs} of the MCP server {self.server}."
        shown = sanitize(text)
        more = f"\n… and {len(shown) - LONGEST_SHOWN} characters more" if len(shown) > LONGEST_SHOWN else ""
        command = f"{self.spec.name} {shown[:LONGEST_SHOWN]}{more}"
        return request(self.spec.name, self.spec.danger, what, command=command, arguments=dict(arguments))

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Calls it; whatever goes wrong is a result."""
        try:
            _json(arguments)
            result = await self.do(self.theirs, arguments)
        except (CommandError, ValueError) as error:
            return ToolResult(False, one_line(str(error), 500))
        return ToolResult(not result.get("isError"), text_of(result) or "It said nothing.")


def _json(arguments: Mapping[str, Any]) -> str:
    """What is given, as JSON. Raises ValueError."""
    try:
        text = json.dumps(dict(arguments), ensure_ascii=False)
    except (TypeError, RecursionError):
        raise ValueError("the arguments are not JSON") from None
    if len(text) > LARGEST:
        raise ValueError("the arguments are too long")
    return text
