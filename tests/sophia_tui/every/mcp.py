"""Other people's servers: added, tried, used, and taken out."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.sophia_tui.every.walk import Walk, scene

PLAIN = Path(__file__).parents[2] / "mcp" / "plain_server.py"


@scene(
    *("mcp.list", "mcp.show", "mcp.add", "mcp.remove", "mcp.trust", "mcp.test", "mcp.tools", "mcp.accept", "mcp.call"),
    *("mcp.resources", "mcp.read", "mcp.prompts", "mcp.prompt", "mcp.stop", "mcp.logout"),
)
async def others_servers(walk: Walk) -> None:
    assert "is added" in await walk.do(f"/mcp.add plain {sys.executable} {PLAIN}")
    assert "ready" in await walk.do("/mcp")
    assert "plain_server" in await walk.do("/mcp.show plain")
    await walk.do("/mcp.trust plain")
    assert "2025-06-18" in await walk.do("/mcp.test plain")
    assert "asks" in await walk.do("/mcp.tools plain")
    await walk.do("/mcp.accept plain")
    assert "3" in await walk.do('/mcp.call plain.add {"a": 1, "b": 2}')
    assert "notes://today" in await walk.do("/mcp.resources plain")
    assert "Write tests" in await walk.do("/mcp.read plain notes://today")
    assert "review" in await walk.do("/mcp.prompts plain")
    assert "Please review x.py" in await walk.do("/mcp.prompt plain review file=x.py")
    assert "has ended" in await walk.do("/mcp.stop plain")
    await walk.do("/mcp.logout plain")
    await walk.dare("/mcp.remove plain")
    assert not (walk.home / "mcp" / "plain.toml").exists()
