"""What each way of starting loads, proven in a fresh interpreter: a shell command must not pay for the terminal app."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPORT = """
import sys
from sophia_cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("\\n".join(sorted(sys.modules)), file=sys.stderr)
"""
SCREEN = {"textual", "openai"}
"""What no shell command may load."""
HEAVY = SCREEN | {"pydantic", "asyncio", "httpx2", "structlog", "sqlcipher3", "sqlite_utils", "cryptography", "keyring"}
"""What asking for help may not load either."""


def loaded_by(home: Path, *words: str) -> set[str]:
    """The names of all modules that the command line has loaded by its end."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "SOPHIA_HOME": str(home),
        "SOPHIA_NO_KEYRING": "1",
        "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1",
        "SOPHIA_MODEL": "none",
    }
    command = [sys.executable, "-c", REPORT, *words]
    ended = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert "sophia_cli.main" in ended.stderr
    return set(ended.stderr.splitlines())


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("ask", "--help"), ("run", "--help"), ("asq",)])
def test_help_loads_next_to_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert HEAVY & loaded_by(tmp_path, *words) == set()


@pytest.mark.parametrize("words", [("run", "session.list"), ("ask", "hi"), ("commands",)])
def test_commands_load_no_screen(tmp_path: Path, words: tuple[str, ...]) -> None:
    modules = loaded_by(tmp_path, *words)
    assert SCREEN & modules == set()
    assert "sophia_core.runtime" in modules
