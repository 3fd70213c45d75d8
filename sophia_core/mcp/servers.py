"""The servers that are configured: listed, shown, written down, taken out, and trusted where a folder brings them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from sophia_core.commands import VERBATIM, CommandError, command
from sophia_core.events import Notice
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.mcp.running import Running
    from sophia_core.mcp.server_file import Library, Server

NO_SERVER: str = "Add one: /mcp.add NAME npx -y some-server – or an address."


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A configured server."""

    name: str
    about: str
    where: str
    """The command or the address."""
    from_: str
    """`yours` or `folder`."""
    state: str
    """running, ready, not trusted, off."""


class Servers:
    """The files of the servers."""

    def __init__(self, library: Callable[[], Library], running: Running, bus: Bus) -> None:
        """`library` is asked for when a server is first looked for: what reads their files takes a while to load."""
        self._open, self._running, self._bus = library, running, bus
        self._looked_at: dict[str, str] = {}
        """The text of a server as it was shown: what is trusted is what was looked at."""

    @cached_property
    def _library(self) -> Library:
        return self._open()

    async def find(self, name: str) -> Server:
        """The server of this name, where it may be used. Raises CommandError."""
        server = await self._named(name)
        if not self._library.is_trusted(server):
            raise CommandError(f"{name!r} comes with this folder and is not trusted.", f"Read it: /mcp.show {name}")
        if not server.entry.enabled:
            raise CommandError(f"{name!r} is switched off.", "Set `enabled = true` in its file.")
        return server

    async def usable(self) -> list[Server]:
        """Every server that may be used."""
        shelf = await asyncio.to_thread(self._library.look)
        return [each for each in shelf.named.values() if each.entry.enabled and self._library.is_trusted(each)]

    async def problems(self) -> list[str]:
        """What is wrong with the files, with the place and what to do."""
        return [str(each) for each in (await asyncio.to_thread(self._library.look)).problems]

    @command("mcp.list", slash="mcp")
    async def listed(self) -> list[ServerInfo]:
        """List the MCP servers: where they are reached, who they come from, and whether they run."""
        shelf = await asyncio.to_thread(self._library.look)
        for each in shelf.problems:
            self._bus.publish(Notice("warning", f"{each.where}: {each.message}", each.fix))
        return [self._info(shelf.named[name]) for name in sorted(shelf.named)]

    @command("mcp.show")
    async def show(self, name: str) -> str:
        """Show the file of an MCP server."""
        server = await self._named(name)
        self._looked_at[name] = server.digest
        return server.source

    @command("mcp.trust", audited=True)
    async def trust(self, name: str) -> str:
        """Let an MCP server that comes with this folder be used, as long as its file stays the same."""
        server = await self._named(name)
        if self._looked_at.get(name, server.digest) != server.digest:
            raise CommandError(f"{name!r} was changed after you looked at it.", f"Read it again: /mcp.show {name}")
        await asyncio.to_thread(self._library.trust, server.digest)
        return f"{name} may be used, as long as its file is not changed."

    @command("mcp.add", audited=True)
    async def add(self, name: str, what: Annotated[str, VERBATIM]) -> str:
        """Add an MCP server: a name, then its command or its address."""
        try:
            path = await asyncio.to_thread(self._library.keep, name, file_text(what))
        except FileExistsError as error:
            raise CommandError(f"{error}.", f"Take it out first: /mcp.remove {name}") from None
        except (ValueError, OSError) as error:
            raise CommandError(f"It cannot be added: {error}") from None
        return f"{name} is added ({path}). Try it: /mcp.test {name}"

    async def _removable(self, name: str) -> str:
        """Say which server would be taken out."""
        server = await self._named(name)
        if server.project:
            raise CommandError(f"{name!r} comes with this folder.", "Take its file away there.")
        return server.where

    @command("mcp.remove", dangerous=True, check=_removable)
    async def remove(self, name: str) -> str:
        """Take an MCP server of yours out; its file stays beside, as .bak."""
        await self._removable(name)
        await self._running.stop(name)
        try:
            kept = await asyncio.to_thread(self._library.take, name)
        except OSError as error:
            raise CommandError(f"It cannot be taken out: {error.strerror}.") from None
        return f"{name} is taken out; its file is {kept}."

    async def _named(self, name: str) -> Server:
        shelf = await asyncio.to_thread(self._library.look)
        if name not in shelf.named:
            known = ", ".join(sorted(shelf.named))
            raise CommandError(
                f"There is no MCP server {one_line(name, 60)!r}.", f"There is: {known}." if known else NO_SERVER
            )
        return shelf.named[name]

    def _info(self, server: Server) -> ServerInfo:
        trusted = self._library.is_trusted(server)
        usual = self._running.state(server) or "ready"
        state = "not trusted" if not trusted else usual if server.entry.enabled else "off"
        about = one_line(server.entry.about, 200)
        return ServerInfo(server.name, about, server.where, self._library.where(server), state)


def file_text(what: str) -> str:
    """The file of a server that is this command or address. Raises ValueError."""
    if what.strip().startswith(("http://", "https://")):
        return f"url = {_quoted(what.strip())}\n"
    try:
        words = shlex.split(what)
    except ValueError as error:
        raise ValueError(f"the command cannot be read: {error}.") from None
    if not words:
        raise ValueError("there is neither a command nor an address.")
    args = ", ".join(_quoted(each) for each in words[1:])
    return f"command = {_quoted(words[0])}\n" + (f"args = [{args}]\n" if args else "")


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
