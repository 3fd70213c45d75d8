"""What importing the package brings along, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = (
    "httpx2",
    "httpcore2",
    "pydantic",
    "textual",
    "rich",
    "openai",
    "tenacity",
    "sqlite3",
    "local_store",
    "sophia_core",
)


def imported(code: str) -> set[str]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_is_light() -> None:
    assert not imported("import backend_client").intersection(HEAVY)


def test_making_a_client_is_light() -> None:
    code = "import backend_client as b; b.BackendClient([]); b.HttpTransport()"
    assert not imported(code).intersection(HEAVY)


def test_one_file_knows_the_http_library() -> None:
    files = [path.name for path in (ROOT / "backend_client").glob("*.py") if "import httpx2" in path.read_text("utf-8")]
    assert files == ["transport.py"]
