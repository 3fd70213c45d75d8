"""The servers that run: begun when they are first needed, begun again after they died, ended when nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sophia_core.events import Notice
from sophia_core.mcp.link import Gone, Link, McpError, Told
from sophia_core.mcp.names import full_name, sound
from sophia_core.mcp.tool import McpTool
from sophia_core.mcp.words import MOST_TOOLS, description_of, digest_of, parameters_of
from sophia_core.swarm.ports import ToolSpec

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.mcp.asked import Asked
    from sophia_core.mcp.known import Known
    from sophia_core.mcp.server_file import Server

IDLE_S: Final = 600.0
LOOK_S: Final = 30.0
LIST_S: Final = 30.0
VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Offered:
    """The tools of a server: those that may be used, and those that are withheld with why."""

    tools: tuple[McpTool, ...] = ()
    withheld: Mapping[str, str] | None = None


class Running:
    """One line a server."""

    def __init__(self, known: Known, asked: Asked, bus: Bus, env: Mapping[str, str]) -> None:
        self._known, self._asked, self._bus, self._env = known, asked, bus, env
        self._links: dict[str, Link] = {}
        self._used: dict[str, float] = {}
        self._busy: dict[str, int] = {}
        self._beginning: dict[str, asyncio.Lock] = {}
        self._watching: asyncio.Task[None] | None = None

    def state(self, server: Server) -> str:
        """`running`, or nothing."""
        link = self._links.get(server.name)
        return "running" if link is not None and not link.dead else ""

    def at_work(self, name: str) -> bool:
        """Whether something is asked of a server now."""
        return bool(self._busy.get(name))

    async def link(self, server: Server, *, redirect: str = "") -> Link:
        """The line to a server, begun now where it is not there, or where its file has changed. Raises McpError."""
        async with self._beginning.setdefault(server.name, asyncio.Lock()):
            link = self._links.get(server.name)
            if link is not None and not link.dead and link.server.digest == server.digest and not redirect:
                self._used[server.name] = time.monotonic()
                return link
            if link is not None:
                await link.close()
            wanted = self._wanted(server, redirect)
            if server.entry.oauth:
                kept = {each: await self._known.kept(server, each) for each in ("tokens", "scopes")}
                if not redirect and not server.entry.alone and kept["tokens"] is None:
                    raise McpError(f"{server.name} wants a sign-in.", f"Sign in: /mcp.login {server.name}")
                wanted["oauth"]["scopes"] += (kept["scopes"] or "").split()
            made = await Link.begun(server, wanted, self._asked.of(server))
            self._links[server.name], self._used[server.name] = made, time.monotonic()
            if self._watching is None or self._watching.done():
                self._watching = asyncio.create_task(self._watch(), name="mcp-idle")
            return made

    async def do(
        self, server: Server, what: str, given: Mapping[str, Any], seconds: float, told: Told | None = None
    ) -> Any:
        """What the server answers. Raises McpError. What only looks is asked once more of one that had died before."""
        link = await self.link(server)
        self._busy[server.name] = self._busy.get(server.name, 0) + 1
        try:
            return await link.do(what, given, seconds, told)
        except Gone:
            if what == "call":
                raise  # nobody knows whether it was done
            return await (await self.link(server)).do(what, given, seconds, told)
        finally:
            self._busy[server.name] -= 1
            self._used[server.name] = time.monotonic()

    async def call(self, server: Server, tool: str, given: Mapping[str, Any], told: Told | None = None) -> Any:
        """What a call of a tool gave. Raises McpError."""
        seconds = server.entry.call_s
        # The SDK gives up by itself a little later: it is this end that tells the server.
        wanted = {"tool": tool, "arguments": dict(given), "seconds": seconds + 5}
        return await self.do(server, "call", wanted, seconds, told)

    async def offered(self, server: Server, *, agree: bool = False) -> Offered:
        """Its tools, as it says them now. `agree` takes its words as they are from now on. Raises McpError."""
        said = await self.do(server, "tools", {}, LIST_S)
        listed = {each["name"]: each for each in said[:MOST_TOOLS] if isinstance(each.get("name"), str)}
        digests = {name: digest_of(each) for name, each in listed.items()}
        before = await self._known.tools(server)
        if before is None or agree:
            await self._known.agree(server, digests)
            before = digests
        tools, withheld = [], {}
        for name, each in listed.items():
            if why := self._why_not(server, each, digests[name], before):
                withheld[name] = why
            else:
                tools.append(self._tool(server, each))
        changed = [name for name, why in withheld.items() if "look" in why]
        if changed:
            hint = f"Look at them: /mcp.tools {server.name} – then /mcp.accept {server.name}"
            text = f"{server.name} says something else of {len(changed)} of its tools than before; they are withheld."
            self._bus.publish(Notice("warning", text, hint))
        return Offered(tuple(tools), withheld)

    def _why_not(self, server: Server, tool: Mapping[str, Any], digest: str, before: Mapping[str, str]) -> str:
        name = tool["name"]
        if not sound(name):
            return "its name cannot be used"
        if not server.allows(name):
            return "its file does not allow it"
        if before.get(name) != digest:
            return "changed: look at it first" if name in before else "new: look at it first"
        return "" if parameters_of(tool) is not None else "what it takes is too large"

    def _tool(self, server: Server, said: Mapping[str, Any]) -> McpTool:
        name = said["name"]
        danger = "read" if server.only_reads(name) else "net"
        spec = ToolSpec(
            full_name(server.name, name),
            description_of(said),
            parameters_of(said) or {},
            danger,  # type: ignore[arg-type]
            f"mcp:{server.name}",
        )

        async def do(theirs: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
            result: Mapping[str, Any] = await self.call(server, theirs, given)
            return result

        return McpTool(spec, server.name, name, do)

    def _wanted(self, server: Server, redirect: str) -> dict[str, Any]:
        entry = server.entry
        ours = [each for each in (entry.client_secret, entry.client_key) if each]
        missing = [each for each in (*entry.env, *entry.headers.values(), *ours) if each not in self._env]
        if missing:
            raise McpError(
                f"{server.name} needs {missing[0]}, which is not set.", f"export {missing[0]}=… and restart."
            )
        oauth = {
            "client_id": entry.client_id,
            "scopes": list(entry.scopes),
            "secret": self._env.get(entry.client_secret, ""),
            "key": self._env.get(entry.client_key, ""),
            "alone": entry.alone,
            "redirect": redirect,
        }
        return {
            "command": entry.command,
            "args": list(entry.args),
            "env": {each: self._env[each] for each in entry.env},
            "folder": entry.folder,
            "url": entry.url,
            "headers": {name: self._env[each] for name, each in entry.headers.items()},
            "oauth": oauth if entry.oauth else None,
            "start_s": entry.start_s if not redirect else 330.0,
            "mode": "legacy" if entry.handshake else "auto",
            "version": VERSION,
        }

    async def stop(self, name: str) -> bool:
        """Ends a server; False where it does not run."""
        link = self._links.pop(name, None)
        if link is None:
            return False
        await link.close()
        return True

    async def _watch(self) -> None:
        while self._links:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for name, link in list(self._links.items()):
                if link.dead or (not self._busy.get(name) and now - self._used[name] > IDLE_S):
                    await self.stop(name)

    async def close(self) -> None:
        """Ends all of them."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.gather(*(self.stop(name) for name in list(self._links)))
