"""What the pages say: commands, files and words in them exist, and what they tell of faults is so."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sophia_cli.parser import SUBCOMMANDS, parse
from sophia_core.commands import declarations
from sophia_core.runtime import COMMAND_OWNERS
from sophia_core.settings import ProviderSettings, Settings
from sophia_tui.commands import SCREEN_OWNERS
from tools import fault_matrix

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "template.md"),
]
SPECS = [spec for owner in (*COMMAND_OWNERS, *SCREEN_OWNERS) for _, spec in declarations(owner)]
MACROS = {path.stem for path in (ROOT / "sophia_core/macros/shipped").glob("*.toml")}
COMMANDS = {spec.name for spec in SPECS} | {spec.slash for spec in SPECS if spec.slash}
COMMANDS |= MACROS | {f"macro.{name}" for name in MACROS}
GROUPS = {spec.name.split(".")[0] for spec in SPECS}
PATHS_OF_SERVERS = {"v1", "health", "metrics", "models", "tokenize", "invocations", "callback", "audio"}
"""What else begins with a slash in a page."""
ACTIONS = {
    "sessions": ("list", "show", "search", "rm", "purge"),
    "metrics": ("serve", "business"),
    "macro": ("list", "show", "run", "check", "trust"),
    "swarm": ("run", "retry", "replay", "cancel", "kill", "undo", "delete", "worker"),
    "board": ("list", "add", "move", "show", "run", "import", "export"),
    "store": ("check", "repair", "salvage", "accept"),
    "voice": ("devices", "test", "say", "listen", "transcribe", "ssh", "bridge", "join"),
}
"""Subcommands whose options are those of an action."""
FILES = re.compile(r"`((?:docs|tests|tools|benchmarks|backend_client|local_store|sophia_\w+)/[\w./-]+)`")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(page: str) -> Iterator[str]:
    """The lines of code blocks, and what stands in backticks."""
    fenced = False
    for line in page.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


every_page = pytest.mark.parametrize("path", PAGES, ids=named)


@every_page
def test_links_and_files_exist(path: Path) -> None:
    page = path.read_text("utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []
    assert [file for file in FILES.findall(page) if not (ROOT / file).exists()] == []


@every_page
def test_slash_commands_exist(path: Path) -> None:
    found = {
        word
        for code in code_of(path.read_text("utf-8"))
        for word in re.findall(r"(?:^|(?<=\s))/([a-z_]+(?:\.[a-z_]+)?)(?![\w/])", code)
    }
    assert found - COMMANDS - PATHS_OF_SERVERS == set()


@every_page
def test_dotted_commands_exist(path: Path) -> None:
    settings = {f"{name}.{field}" for name, table in tables().items() for field in table}
    found = {
        word
        for code in code_of(path.read_text("utf-8"))
        for word in re.findall(r"(?<![\w/.$-])([a-z]+\.[a-z_]+)(?![\w/.:(]|\s*=\s*\[)", code)
        if word.split(".")[0] in GROUPS and not word.endswith((".py", ".md", ".toml", ".json", ".head", ".db"))
    }
    assert found - COMMANDS - settings == set()


def tables() -> dict[str, set[str]]:
    nested = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: set(getattr(kind, "model_fields", {})) for name, kind in nested.items()}


@every_page
def test_command_lines_of_the_shell_can_be_parsed(path: Path) -> None:
    for code in code_of(path.read_text("utf-8")):
        for line in re.findall(r"(?:^|[|$]|(?<=\s))\s*sophia ([a-z][^|>#`]*)", code):
            assert_parses(line)


def assert_parses(line: str) -> None:
    name, *rest = line.replace("[", "").replace("]", "").split()
    assert name in SUBCOMMANDS, line
    known = help_of(name) + (help_of(name, rest[0]) if rest and rest[0] in ACTIONS.get(name, ()) else "")
    options = re.findall(r"(?<=\s)--[a-z-]+", f" {' '.join(rest)}")
    assert [option for option in options if option not in known] == [], line


def help_of(*words: str) -> str:
    """What `--help` of a subcommand says."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        parse(words[0], [*words[1:], "--help"])
    return said.getvalue()


def test_every_subcommand_is_on_the_page_of_the_command_line() -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    assert [name for name in SUBCOMMANDS if f"`sophia {name}" not in page] == []


def test_every_option_of_ask_is_on_the_page_of_the_command_line() -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    options = set(re.findall(r"--[a-z-]+", help_of("ask"))) - {"--help"}
    assert {option for option in options if option not in page} == set()


def test_examples_of_providers_are_settings() -> None:
    page = (ROOT / "docs/providers.md").read_text("utf-8") + (ROOT / "README.md").read_text("utf-8")
    keys = set(re.findall(r"^ *([a-z_]+) = .*$", page, re.MULTILINE))
    assert keys - set(ProviderSettings.model_fields) - tables()["routing"] - {"provider"} == set()


async def test_what_the_page_tells_of_faults_is_so() -> None:
    page = fault_matrix.PAGE.read_text("utf-8").splitlines()
    quick = [fault for faults, _ in fault_matrix.TABLES.values() for fault in faults if not fault.slow]
    with fault_matrix.plain_environment():
        made = await fault_matrix.rows(quick)
    assert [row for row in made if row not in page] == [], "run `make faults`"


def test_every_fault_is_on_the_page() -> None:
    page = fault_matrix.PAGE.read_text("utf-8")
    for name, (faults, head) in fault_matrix.TABLES.items():
        body = page.partition(f"<!-- {name}: made")[2].partition(f"<!-- end of {name}")[0].splitlines()[1:]
        assert body[: len(head)] == list(head)
        titles = [row.split(" | ")[0].removeprefix("| ") for row in body[len(head) :]]
        assert titles == [fault.title for fault in faults], "run `make faults`"
