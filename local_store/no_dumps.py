"""A process that holds a store's key leaves no copy of its memory: no core file, and no other process looks into it."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

PR_SET_DUMPABLE = 4


def refuse_dumps() -> None:
    """Let this process be dumped and looked into no more. A debugger that is attached already goes on."""
    with contextlib.suppress(OSError, ValueError):
        # Programs we start may have cores of their own: the hard limit stays.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux" and not is_traced():
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_traced() -> bool:
    """Say whether a debugger is attached to this process."""
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return False
    return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in status.splitlines())
