"""A process that has opened a store leaves no core file, and cannot be looked into."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHILD = """
import asyncio, ctypes, resource, sys
from pathlib import Path
from local_store import StorePaths, no_dumps, open_store

async def main():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    async with await open_store(StorePaths(Path(sys.argv[1]), Path(sys.argv[2])), allow_keyring=False):
        soft, still = resource.getrlimit(resource.RLIMIT_CORE)
        assert (soft, still) == (0, hard), (soft, still, hard)
        assert not no_dumps.is_traced()
        if sys.platform == "linux":
            assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0


asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="needs limits on core files")
def test_opening_a_store_ends_dumps(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "store"), str(tmp_path / "device")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
