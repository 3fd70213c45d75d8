"""Programs that are measured against: those of this machine, or those that tools/system_packages.sh has unpacked."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest


def program(name: str) -> Path:
    """Where a program is; skips the test where it is not."""
    unpacked = Path(sys.prefix) / "programs" / "usr" / "bin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: tools/system_packages.sh fetches it")
    return Path(found)
