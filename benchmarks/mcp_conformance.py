"""What the official conformance suite of MCP says of us as a client, gone through as a person would.

python -m benchmarks.mcp_conformance [scenario …]     runs the suite (needs Node 22 or newer and `conformance` on PATH)
python -m benchmarks.mcp_conformance newest           our own: the SDK's server asks a person over the newest revision
python -m benchmarks.mcp_conformance http://…         is what the suite itself runs: one scenario against that server

`npm install @modelcontextprotocol/conformance` brings the suite.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, cast

from local_store import StorePaths
from sophia_core.commands import CommandError
from sophia_core.events import Bus, Event, Notice
from sophia_core.mcp.asked import Answer, Question
from sophia_core.mcp.mcp import Mcp, McpLogin
from sophia_core.vault import Vault

PLAIN = ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry")
AUTH = (
    *("metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd"),
    *("scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined"),
    *("scope-step-up", "scope-retry-limit"),
    *("token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none", "pre-registration"),
    *("2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"),
    *("resource-mismatch", "offline-access-scope", "offline-access-not-supported"),
    *("client-credentials-jwt", "client-credentials-basic", "cross-app-access-complete-flow"),
)
MINE = "https://conformance-test.local/client-metadata.json"
"""Who the suite expects us to be where a server takes an address for that."""
PATIENCE_S = 60.0
MOST_SIGN_INS = 2
"""So often a person signs in who is told to."""


class Person:
    """Whoever sits there: opens the page of a sign-in, says yes, and answers with what a server proposes."""

    def __init__(self) -> None:
        self.guide = self
        self._visits: list[asyncio.Task[None]] = []

    async def open_page(self, provider: str, address: str) -> None:
        self._visits.append(asyncio.create_task(asyncio.to_thread(_visit, address)))

    async def __call__(self, question: Question) -> Answer:
        return {each.name: "Ada" for each in question.fields if each.needed and each.default is None}


def _visit(address: str) -> None:
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as page:  # noqa: S310 - the suite's own server
        page.read()


def server_file(address: str, scenario: str, context: dict[str, Any]) -> str:
    """The file that a person writes for the server of a scenario."""
    lines = [f"url = {json.dumps(address)}"]
    if scenario.startswith("auth/"):
        lines.append("oauth = true")
    if client_id := context.get("client_id") or (MINE if scenario == "auth/basic-cimd" else ""):
        lines.append(f"client_id = {json.dumps(client_id)}")
    if "client_secret" in context:
        lines.append('client_secret = "THE_SECRET"')
    if "private_key_pem" in context:
        lines.append('client_key = "THE_KEY"')
    if scenario.startswith("auth/client-credentials"):
        lines.append("alone = true")
    return "\n".join(lines) + "\n"


async def go_through(file: str, scenario: str, context: dict[str, Any]) -> None:
    """One scenario with the server of this file. Raises CommandError where something is refused."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "mcp").mkdir()
        (folder / "mcp" / "them.toml").write_text(file)
        bus, person = Bus(), Person()
        bus.subscribe(_say)
        vault = Vault(StorePaths(folder / "store", folder / "device"), bus, allow_keyring=False)
        await vault.open()
        env = {"THE_SECRET": context.get("client_secret", ""), "THE_KEY": context.get("private_key_pem", "")}
        mcp = Mcp(vault, bus, folder / "mcp", env, folder)
        mcp.asked.person = person
        try:
            await use(mcp, McpLogin(mcp, cast("Any", person)), scenario)
        finally:
            await mcp.close()
            await vault.close()


def newest() -> None:
    """The suite speaks none of the newest revision: the SDK's own server asks a person over it."""
    server = Path(__file__).parents[1] / "tests" / "mcp" / "sdk_server.py"
    file = f"command = {json.dumps(sys.executable)}\nargs = [{json.dumps(str(server))}]\ntools = ['add', 'greet']\n"
    asyncio.run(go_through(file, "newest", {}))


async def use(mcp: Mcp, login: McpLogin, scenario: str) -> None:
    """Tries the server and calls each of its tools once; signs in where that is asked for."""
    for left in reversed(range(MOST_SIGN_INS + 1)):
        try:
            print(await mcp.test("them"))
            for tool in [each for each in await mcp.listed_tools("them") if each.state in ("asks", "looks")]:
                given = '{"a": 5, "b": 3}' if tool.name.startswith("add") else "{}"
                print(tool.name, await mcp.call(f"them.{tool.name}", given))
            return
        except CommandError as error:
            print(error, error.hint)
            if "/mcp.login" not in error.hint or not left:
                raise
            print(await login.login("them"))


def _say(event: Event) -> None:
    if isinstance(event, Notice):
        print(event.text, event.hint)


def suite(wanted: list[str]) -> int:
    """Runs the scenarios and says how each ended."""
    program = shutil.which("conformance")
    if program is None:
        raise SystemExit("`conformance` is not on PATH: npm install @modelcontextprotocol/conformance")
    failed = 0
    for scenario in wanted or [*PLAIN, *(f"auth/{each}" for each in AUTH)]:
        with tempfile.TemporaryDirectory() as kept:
            me = f"{sys.executable} -m benchmarks.mcp_conformance"
            command = [program, "client", "--command", me, "--scenario", scenario, "-o", kept, "--timeout", "90000"]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            checks = [each for path in Path(kept).rglob("checks.json") for each in json.loads(path.read_text())]
        bad = [each for each in checks if each["status"] in ("FAILURE", "WARNING")]
        good = sum(each["status"] == "SUCCESS" for each in checks)
        failed += bool(ran.returncode)
        print(
            f"{'ok    ' if not ran.returncode else 'FAILED'} {scenario}: {good} of {good + len(bad)} checks", flush=True
        )
        for each in bad:
            print(f"         {each['id']}: {each.get('errorMessage') or each['description']}")
        if ran.returncode and (not bad or "-v" in os.environ.get("SUITE", "")):
            print(ran.stderr[-3000:])
    return 1 if failed else 0


def main() -> int:
    """One scenario for the suite, or the suite."""
    given = sys.argv[1:]
    if given == ["newest"]:
        newest()
        return 0
    if not given or not given[0].startswith("http"):
        return suite(given)
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    try:
        scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
        asyncio.run(go_through(server_file(given[0], scenario, context), scenario, context))
    except CommandError as error:
        print(error, error.hint, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
