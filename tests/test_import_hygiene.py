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
SCREEN = {"textual", "openai", "acp"}
"""What no shell command may load."""
HEAVY = SCREEN | {"pydantic", "asyncio", "httpx2", "structlog", "sqlcipher3", "sqlite_utils", "cryptography", "keyring"}
"""What asking for help may not load either."""
LATER = {"markdown_it", "pygments", "httpx2", "openai", "numpy", "PIL"}
"""What the app may not load before there is something to say: an app that stands there would hold it for nothing."""
STANDING = """
import asyncio, sys
from sophia_core.first_look import first_look
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.start import close

async def stand():
    app = SophiaApp(first_look(), load_settings)
    async with app.run_test() as pilot:
        await app.ready.wait()
        await app.workers.wait_for_complete([worker for worker in app.workers if worker.name == "begin"])
        print("\\n".join(sorted(sys.modules)), file=sys.stderr)
        await pilot.press("a")
        await app.workers.wait_for_complete([worker for worker in app.workers if worker.group == "lexers"])
        print("\\n".join(f"then {name}" for name in sorted(sys.modules)), file=sys.stderr)
        await close(app)

asyncio.run(stand())
"""


def loaded_by(home: Path, *words: str) -> set[str]:
    """The names of all modules that the command line has loaded by its end."""
    modules = said_by(home, REPORT, *words)
    assert "sophia_cli.main" in modules
    return modules


def said_by(home: Path, program: str, *words: str) -> set[str]:
    """The lines that a fresh interpreter writes on stderr."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "SOPHIA_HOME": str(home),
        "SOPHIA_NO_KEYRING": "1",
        "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1",
        "SOPHIA_MODEL": "none",
    }
    command = [sys.executable, "-c", program, *words]
    ended = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return set(ended.stderr.splitlines())


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("ask", "--help"), ("run", "--help"), ("asq",)])
def test_help_loads_next_to_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert HEAVY & loaded_by(tmp_path, *words) == set()


@pytest.mark.parametrize("words", [("run", "session.list"), ("ask", "hi"), ("commands",)])
def test_commands_load_no_screen(tmp_path: Path, words: tuple[str, ...]) -> None:
    modules = loaded_by(tmp_path, *words)
    assert SCREEN & modules == set()
    assert "sophia_core.runtime" in modules


def test_an_app_that_stands_there_holds_nothing_of_what_an_answer_needs(tmp_path: Path) -> None:
    said = said_by(tmp_path, STANDING)
    assert "sophia_core.runtime" in said
    assert LATER & said == set()
    assert {"then markdown_it", "then pygments"} <= said, "typing brings what the answer needs"
