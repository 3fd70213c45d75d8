"""The house: sizes, doors and pages that must not drift."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.generate_docs import PAGES, ROOT

PACKAGES = ("sophia_cli", "sophia_tui", "sophia_core", "backend_client", "local_store")
MOST_LINES = 500
PRIVATE_TEXTUAL = {f"sophia_tui/{name}.py" for name in ("drawing", "driver", "letting_go", "terminal", "toasts")}
"""The imports of private Textual modules, whose version is pinned for them; see docs/adr/0009, 0028 and 0032."""


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_not_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


def test_private_modules_of_textual_are_left_alone() -> None:
    private = {
        str(path.relative_to(ROOT))
        for path in sources()
        for name in imports(path)
        if name.startswith("textual.") and any(part.startswith("_") for part in name.split("."))
    }
    assert private == PRIVATE_TEXTUAL


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("module", ["sophia_core.runtime", "sophia_tui.commands", "backend_client", "local_store"])
def test_what_a_shell_needs_imports_no_screen_and_no_network(module: str) -> None:
    heavy = {"textual", "rich", "openai", "httpx2", "sqlite_utils"}
    code = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_locks_hold_hashes_and_no_addresses() -> None:
    for name in ("run", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
        assert "://" not in text
        pins = [line for line in text.splitlines() if line[:1].isalnum()]
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)


def test_every_decision_is_short() -> None:
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert records
    assert all(len(path.read_text("utf-8").splitlines()) < 40 for path in records)
