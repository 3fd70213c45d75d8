"""What models may have done in the chat: the tools that look at the folder, and those of other people's servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.chat.toolbox import Toolbox
from sophia_core.mcp import mcp
from sophia_core.mcp.mcp import Mcp, McpLogin

if TYPE_CHECKING:
    from backend_client.types import Provider
    from sophia_core.events import Bus
    from sophia_core.gate.gate import AppGate
    from sophia_core.login import Login
    from sophia_core.settings import Loaded
    from sophia_core.swarm.ports import Tool
    from sophia_core.vault import Vault

OWNERS: Final[tuple[type, ...]] = mcp.OWNERS
"""The classes of this side that have commands."""


class FolderTools:
    """The tools that look at the files of the folder a person works in; a `ToolSource`."""

    def __init__(self, hidden: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """`hidden` gives the files that rules keep from being read."""
        self._hidden = hidden

    async def tools(self, names: Sequence[str]) -> Sequence[Tool]:
        """Those that are wanted."""
        from sophia_core.swarm.tools.hands import Hands

        return await Hands(Path.cwd(), "read", hidden=await self._hidden()).tools(names)


class ToolSide:
    """Built without beginning a server. Whatever changes something or reaches out passes the gate."""

    def __init__(
        self,
        loaded: Loaded,
        vault: Vault,
        bus: Bus,
        login: Login,
        provider: Callable[[], Provider],
        gate: AppGate,
        env: Mapping[str, str],
    ) -> None:
        self.mcp = Mcp(vault, bus, loaded.paths.config_file.with_name("mcp"), env)
        self._login = McpLogin(self.mcp, login)
        self.toolbox = Toolbox([FolderTools(gate.hidden), self.mcp], lambda: "tools" in provider().capabilities)
        self.toolbox.gate = self.mcp.gate = gate

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (*self.mcp.owners, self._login)

    async def close(self) -> None:
        """Ends the servers."""
        await self.mcp.close()
