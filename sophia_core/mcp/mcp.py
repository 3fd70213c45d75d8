"""MCP: what people do with servers, and the tools of all of them as a source for the chat and the swarm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from sophia_core.commands import VERBATIM, BadArguments, CommandError, command
from sophia_core.events import Notice
from sophia_core.gate.acting import acting
from sophia_core.gate.asking import on_behalf
from sophia_core.gate.ports import Decision
from sophia_core.mcp.asked import Asked
from sophia_core.mcp.known import Known
from sophia_core.mcp.link import McpError
from sophia_core.mcp.names import chosen, servers_of
from sophia_core.mcp.running import LIST_S, Running
from sophia_core.mcp.servers import Servers
from sophia_core.mcp.words import prompt_of, text_of
from sophia_core.sanitize import one_line, sanitize

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.gate.ports import ApprovalRequest, Gate
    from sophia_core.login import Login
    from sophia_core.mcp.server_file import Library
    from sophia_core.mcp.tool import McpTool
    from sophia_core.swarm.ports import Tool
    from sophia_core.vault import Vault

OFFER_S = 45.0
"""How long a question waits for servers that have to be begun for it; what is not there by then is left out."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a server answered."""

    name: str
    says: str
    """What it calls itself."""
    protocol: str
    has: tuple[str, ...]
    tools: int
    withheld: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool of a server."""

    name: str
    about: str
    state: str
    """asks, looks, or why it is withheld."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A resource or a prompt of a server."""

    name: str
    about: str
    takes: str = ""


class Mcp:
    """A `ToolSource`. Nothing runs and nothing of the SDK is loaded before a server is needed."""

    def __init__(self, vault: Vault, bus: Bus, folder: Path, env: Mapping[str, str], work: Path | None = None) -> None:
        """`folder` holds the files of the person's servers; `work` is the folder they work in."""
        self._folder, self._work = folder, work or Path.cwd()
        self._bus, self._known = bus, Known(vault)
        self.asked = Asked(self._known, bus)
        self.running = Running(self._known, self.asked, bus, env)
        self.servers = Servers(self._library, self.running, bus)
        self.gate: Gate | None = None
        """Who is asked where a macro or another program calls a tool; what a person types is their own hand."""

    def _library(self) -> Library:
        from sophia_core.mcp.server_file import Library

        return Library(self._folder, self._work, self._folder.with_name("trusted-mcp"))

    @property
    def owners(self) -> tuple[object, ...]:
        """Who has commands: one of each of OWNERS."""
        return (self.servers, self)

    async def tools(self, names: Sequence[str]) -> Sequence[Tool]:
        """The tools that these names and prefixes mean, of every server that answers in time; never raises."""
        usable = {each.name: each for each in await self.servers.usable()}
        wanted = servers_of(names, usable)
        found = await asyncio.gather(*(self._tools_of(name) for name in wanted))
        return [each for tools in found for each in tools if chosen(each.spec.name, names)]

    async def _tools_of(self, name: str) -> Sequence[McpTool]:
        try:
            async with asyncio.timeout(OFFER_S):
                return (await self.running.offered(await self.servers.find(name))).tools
        except TimeoutError:
            self._bus.publish(Notice("warning", f"The MCP server {name} takes too long; its tools are left out."))
        except CommandError as error:
            self._bus.publish(Notice("warning", f"Its tools are left out: {error}", error.hint))
        return ()

    @command("mcp.test")
    async def test(self, name: str) -> Tried:
        """Begin an MCP server and ask it what it has."""
        server = await self.servers.find(name)
        loop = asyncio.get_running_loop()
        began = loop.time()
        link = await self.running.link(server)
        offered = await self.running.offered(server) if "tools" in link.about.has else None
        tools, withheld = (len(offered.tools), len(offered.withheld or {})) if offered else (0, 0)
        says = " ".join(filter(None, (link.about.name, link.about.version)))
        seconds = round(loop.time() - began, 3)
        return Tried(name, says, link.about.protocol, link.about.has, tools, withheld, seconds)

    @command("mcp.tools")
    async def listed_tools(self, name: str) -> list[ToolInfo]:
        """List the tools of an MCP server, with those that are withheld and why."""
        offered = await self.running.offered(await self.servers.find(name))
        states = {"read": "looks", "net": "asks"}
        found = [ToolInfo(t.theirs, one_line(t.spec.description, 300), states[t.spec.danger]) for t in offered.tools]
        return found + [ToolInfo(one_line(each, 80), "", why) for each, why in (offered.withheld or {}).items()]

    @command("mcp.accept", audited=True)
    async def accept(self, name: str) -> str:
        """Agree to what an MCP server says of its tools now, after you have looked at it."""
        offered = await self.running.offered(await self.servers.find(name), agree=True)
        return f"{len(offered.tools)} tools of {name} may be used as they are now."

    @command("mcp.call", audited=True)
    async def call(self, tool: str, arguments: Annotated[str, VERBATIM] = "{}") -> str:
        """Call a tool of an MCP server: `server.tool`, then its arguments as JSON."""
        name, _, theirs = tool.removeprefix("mcp.").partition(".")
        server = await self.servers.find(name)
        given = arguments_of(arguments)
        found = next((t for t in (await self.running.offered(server)).tools if t.theirs == theirs), None)
        if found is None:
            raise CommandError(f"{name} has no tool {one_line(theirs, 80)!r} that may be used.", f"/mcp.tools {name}")
        result = text_of(await self._run(server.name, found, given)) or "It said nothing."
        return result

    async def _run(self, server: str, tool: McpTool, given: Mapping[str, Any]) -> Mapping[str, Any]:
        request, whose = tool.ask(given), acting()
        if request is not None and whose is not None:
            await self._pass(on_behalf(request, *whose, call=uuid4().hex), tool.spec.name)
        found = await self.servers.find(server)
        result: Mapping[str, Any] = await self.running.call(found, tool.theirs, given, self._told(tool.spec.name))
        if result.get("isError"):
            raise McpError(f"{tool.spec.name} failed: {one_line(text_of(result), 300)}", "Look at its arguments.")
        return result

    async def _pass(self, request: ApprovalRequest, name: str) -> None:
        decision = await self.gate.pass_(request) if self.gate is not None else Decision(False)
        if not decision.allowed:
            hint = one_line(decision.note, 200) or "A person can call it: type it here, or use `sophia mcp call`."
            raise CommandError(f"{name} was not allowed.", hint)

    def _told(self, name: str) -> Any:
        def told(done: float, total: float | None, message: str) -> None:
            far = f"{done:g} of {total:g}" if total else f"{done:g}"
            self._bus.publish(Notice("info", f"{name}: {far}{f' – {message}' if message else ''}"))

        return told

    @command("mcp.resources")
    async def resources(self, name: str) -> list[Thing]:
        """List what an MCP server has to read."""
        said = await self.running.do(await self.servers.find(name), "resources", {}, LIST_S)
        return [Thing(one_line(str(each.get("uri", "")), 300), _about(each)) for each in said]

    @command("mcp.read")
    async def read(self, name: str, address: str) -> str:
        """Read a resource of an MCP server, by its address."""
        server = await self.servers.find(name)
        return text_of(await self.running.do(server, "read", {"uri": address}, server.entry.call_s))

    @command("mcp.prompts")
    async def prompts(self, name: str) -> list[Thing]:
        """List the prompts of an MCP server."""
        said = await self.running.do(await self.servers.find(name), "prompts", {}, LIST_S)
        return [Thing(one_line(str(each.get("name", "")), 80), _about(each), _takes(each)) for each in said]

    @command("mcp.prompt")
    async def prompt(self, name: str, prompt: str, values: Annotated[str, VERBATIM] = "") -> str:
        """Show a prompt of an MCP server, filled in with name=value."""
        from sophia_core.macros.macros import parse_values

        server = await self.servers.find(name)
        given = {"name": prompt, "arguments": parse_values(values)}
        return prompt_of(await self.running.do(server, "prompt", given, server.entry.call_s))

    @command("mcp.answer")
    async def answer(self, name: str, values: Annotated[str, VERBATIM] = "") -> str:
        """Answer what an MCP server asks, with name=value; without values: yes."""
        from sophia_core.macros.macros import parse_values

        self.asked.answer(name, {} if values.strip() in ("", "yes") else parse_values(values))
        return f"{name} has its answer."

    @command("mcp.decline")
    async def decline(self, name: str) -> str:
        """Do not answer what an MCP server asks."""
        self.asked.answer(name, None)
        return f"{name} is told that you will not say."

    @command("mcp.stop")
    async def stop(self, name: str) -> str:
        """End an MCP server; it is begun again when it is needed."""
        return f"{name} has ended." if await self.running.stop(name) else f"{name} did not run."

    async def close(self) -> None:
        """Ends every server."""
        await self.running.close()


class McpLogin:
    """Signing in to servers that want it, and out again."""

    def __init__(self, mcp: Mcp, login: Login) -> None:
        self._mcp, self._login = mcp, login

    @command("mcp.login", audited=True)
    async def login(self, name: str) -> str:
        """Sign in to an MCP server, with a browser of this machine."""
        from backend_client.loopback import Landing

        server, asked = await self._mcp.servers.find(name), self._mcp.asked
        if not server.entry.oauth:
            raise CommandError(f"{name} wants no sign-in.", "Set `oauth = true` in its file where it does.")
        if asked.landing is not None:
            raise CommandError("Somebody is signing in already.", "Finish that first.")
        if server.entry.alone:
            raise CommandError(f"{name} is signed in to without a person.", f"Try it: /mcp.test {name}")
        await self._mcp._known.drop(server, whole=False)
        async with Landing() as landing:
            asked.landing, asked.open = landing, self._login.guide.open_page
            try:
                await self._mcp.running.link(server, redirect=landing.redirect)
            finally:
                asked.landing = None
        return f"Signed in to {name}."

    @command("mcp.logout", audited=True)
    async def logout(self, name: str) -> str:
        """Forget the sign-in to an MCP server."""
        server = await self._mcp.servers.find(name)
        await self._mcp.running.stop(name)
        await self._mcp._known.drop(server)
        return f"The sign-in to {name} is forgotten."


OWNERS: tuple[type, ...] = (Servers, Mcp, McpLogin)
"""The classes that have commands."""


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call. Raises BadArguments."""
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"The arguments are not JSON: {error}.", 'Write them like {"path": "notes.md"}.') from None
    if not isinstance(given, dict):
        raise BadArguments("The arguments are no JSON object.", 'Write them like {"path": "notes.md"}.')
    return given


def _about(each: Mapping[str, Any]) -> str:
    return one_line(str(each.get("description") or each.get("title") or each.get("name") or ""), 300)


def _takes(each: Mapping[str, Any]) -> str:
    listed = each.get("arguments")
    taken = [str(one.get("name", "")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return one_line(sanitize(", ".join(taken)), 200)
