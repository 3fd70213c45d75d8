"""Signing in to a server over HTTP: only when a person wants to, kept encrypted, and for that address alone."""

from __future__ import annotations

import asyncio
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sophia_core.commands import CommandError
from sophia_core.events import Bus
from sophia_core.mcp.link import McpError
from sophia_core.mcp.mcp import Mcp, McpLogin
from tests.mcp.web_server import WebServer
from tests.sophia_core.desk import Desk


class Browser:
    """Whoever opens the page, and says yes there. A stand-in for the guide of a sign-in."""

    def __init__(self) -> None:
        self.guide = self
        self.opened: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def open_page(self, provider: str, address: str) -> None:
        self.opened.append(address)
        self._tasks.append(asyncio.create_task(asyncio.to_thread(self._visit, address)))

    def _visit(self, address: str) -> None:
        with urllib.request.urlopen(address, timeout=30) as page:  # noqa: S310 - our own server
            page.read()


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def desk_(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = await Desk(tmp_path / "store").open()
    yield desk
    await desk.close()


async def test_a_person_signs_in_and_it_is_kept(desk_: Desk, web: WebServer, tmp_path: Path) -> None:
    mcp = Mcp(desk_.vault, Bus(), tmp_path / "mcp", {"TEAM": "blue"}, tmp_path)
    browser = Browser()
    login = McpLogin(mcp, cast("Any", browser))
    (tmp_path / "mcp").mkdir()
    text = f'url = "{web.base}/mcp"\noauth = true\nhandshake = true\nheaders = {{X-Team = "TEAM"}}\n'
    (tmp_path / "mcp" / "web.toml").write_text(text)
    try:
        with pytest.raises(McpError, match="wants a sign-in"):
            await mcp.test("web")
        assert browser.opened == [], "a page is opened only when a person wants to sign in"
        assert await login.login("web") == "Signed in to web."
        assert len(browser.opened) == 1 and set(web.headers_seen) == {"blue"}
        assert await mcp.call("web.add") == "3"
        await mcp.stop("web")
        assert await mcp.call("web.add") == "3", "begun again, it is still signed in"
        assert len(web.tokens) == 1
        await login.logout("web")
        with pytest.raises(McpError, match="wants a sign-in"):
            await mcp.test("web")
    finally:
        await mcp.close()
    with pytest.raises(CommandError, match="no MCP server"):
        await login.login("other")
