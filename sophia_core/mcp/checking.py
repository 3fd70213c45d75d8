"""What is wrong with the MCP servers, for whoever looks after everything."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal, TypeAlias

from sophia_core.commands import CommandError
from sophia_core.mcp.link import INSTALL
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.mcp.mcp import Mcp

Finding: TypeAlias = tuple[str, Literal["ok", "warn", "fail"], str, str]
"""What was looked at, how it is, in words, and what to do."""


async def findings(mcp: Mcp, *, begin: bool) -> list[Finding]:
    """What is wrong with the files, and with `begin` how each server answers. Nothing where there are no servers."""
    usable = await mcp.servers.usable()
    found: list[Finding] = [
        ("mcp", "warn", each, "docs/mcp.md tells what such a file says.") for each in await mcp.servers.problems()
    ]
    if usable and importlib.util.find_spec("mcp") is None:
        return [*found, ("mcp", "fail", "the extra `mcp` is not installed", INSTALL)]
    for server in usable:
        found.append(await _answers(mcp, server.name) if begin else (f"mcp {server.name}", "ok", "is configured", ""))
    return found


async def _answers(mcp: Mcp, name: str) -> Finding:
    try:
        tried = await mcp.test(name)
    except CommandError as error:
        return (f"mcp {name}", "fail", one_line(str(error), 200), error.hint)
    if tried.withheld:
        return (f"mcp {name}", "warn", f"{tried.withheld} tools are withheld", f"sophia mcp tools {name}")
    return (f"mcp {name}", "ok", f"{tried.tools} tools, protocol {tried.protocol}", "")
