"""A server that floods and never begins is ended with all it began."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sophia_core.events import Bus
from sophia_core.mcp.link import McpError
from sophia_core.mcp.mcp import Mcp
from tests.sophia_core.desk import Desk

FLOOD = Path(__file__).with_name("flood_server.py")


def runs(pid: int) -> bool:
    """Whether it runs; one that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
async def test_who_floods_and_never_begins_is_ended_with_all_it_began(tmp_path: Path) -> None:
    desk = await Desk(tmp_path / "store").open()
    mcp, noted = Mcp(desk.vault, Bus(), tmp_path / "mcp", {}, tmp_path / "work"), tmp_path / "pid"
    (tmp_path / "mcp").mkdir()
    args = json.dumps([str(FLOOD), str(noted)])
    text = f"command = {json.dumps(sys.executable)}\nargs = {args}\nstart_s = 1.5\n"
    (tmp_path / "mcp" / "flood.toml").write_text(text)
    try:
        with pytest.raises(McpError, match=r"within 1.5 s"):
            await mcp.test("flood")
        assert not noted.exists() or not runs(int(noted.read_text() or 0)), "what it began goes with it"
    finally:
        await mcp.close()
        await desk.close()
