"""Renewing a sign-in is for one process at a time, and one that is killed over it stands in nobody's way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from backend_client.errors import TimedOut
from sophia_core import sign_ins
from sophia_core.sign_ins import _lock_file, _locked

ROOT = Path(__file__).parents[2]
HOLD = """
import asyncio, sys
from pathlib import Path
from sophia_core.sign_ins import _lock_file, _locked

async def hold():
    await _locked(_lock_file(Path(sys.argv[1])))
    print("held", flush=True)
    await asyncio.sleep(600)

asyncio.run(hold())
"""


async def test_a_process_killed_while_it_renews_frees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "box.sign-in"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(path), cwd=ROOT, stdout=pipe)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    descriptor = _lock_file(path)
    with monkeypatch.context() as patch:
        patch.setattr(sign_ins, "LOCK_S", 0.1)
        with pytest.raises(TimedOut):
            await _locked(descriptor)
    holder.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    await _locked(descriptor)
    assert time.monotonic() - killed_at < 2
    os.close(descriptor)
    await holder.wait()


def test_a_lock_is_no_way_to_somewhere_else(tmp_path: Path) -> None:
    (tmp_path / "link.sign-in").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        _lock_file(tmp_path / "link.sign-in")
    assert not (tmp_path / "elsewhere").exists()
    os.close(_lock_file(tmp_path / "box.sign-in"))
    assert (tmp_path / "box.sign-in").stat().st_mode & 0o777 == 0o600
