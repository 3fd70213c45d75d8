"""Reading `approvals.toml`: the mode and the rules a person wrote, and everything that is wrong, each with its fix.

A file that is wrong in any place allows nothing: its rules that refuse and ask still count, those that allow do not,
because a slip of the pen must not open what somebody meant to keep shut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from sophia_core.config_file import Problem
from sophia_core.gate.ports import Effect
from sophia_core.gate.rules import Mode, Rule
from sophia_core.sanitize import one_line
from sophia_core.shelves import content_of, source_of

NAME: Final = "approvals.toml"
MOST: Final = 500
LONGEST: Final = 1_000
FIELDS: Final = {"effect", "tool", "command", "path", "folder", "network", "why"}


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What stands in the file."""

    mode: Mode = "ask"
    rules: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()


def load(path: Path) -> RuleFile:
    """What stands in the file; nothing where there is none. Never raises. Blocks, shortly."""
    if not path.exists() and not path.is_symlink():
        return RuleFile()
    content = content_of(path, "list of rules")
    return RuleFile(problems=(content,)) if isinstance(content, Problem) else parse(content, str(path))


def parse(content: bytes, where: str) -> RuleFile:
    """What stands in the content of a file that is called `where`. Never raises."""
    source = source_of(content, where, foreign=True)
    if isinstance(source, Problem):
        return RuleFile(problems=(source,))
    problems: list[Problem] = []
    if unknown := sorted(source.tables.keys() - {"mode", "rule"}):
        problems.append(Problem(where, f"there is no {unknown[0][:60]!r}.", "There are mode = and [[rule]]."))
    mode = source.tables.get("mode", "ask")
    if mode not in get_args(Mode):
        problems.append(Problem(f"{where}: mode", "there is no such mode.", f"Known are: {', '.join(get_args(Mode))}."))
        mode = "ask"
    entries = source.tables.get("rule", [])
    if not isinstance(entries, list) or len(entries) > MOST:
        problems.append(Problem(f"{where}: rule", f"has to be at most {MOST} tables.", "Write [[rule]]."))
        entries = []
    found = [_rule(entry, f"{where}: rule {number}") for number, entry in enumerate(entries, 1)]
    problems += [each for each in found if isinstance(each, Problem)]
    rules = tuple(each for each in found if isinstance(each, Rule))
    if problems:
        return RuleFile("ask" if mode != "plan" else "plan", _strict(rules), tuple(problems))
    return RuleFile(mode, rules)


def _strict(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(each for each in rules if each.effect != "allow")


def _rule(entry: object, where: str) -> Rule | Problem:
    if not isinstance(entry, Mapping):
        return Problem(where, "has to be a table.", "Write [[rule]].")
    if unknown := sorted(entry.keys() - FIELDS):
        return Problem(where, f"there is no {unknown[0][:60]!r}.", f"Known are: {', '.join(sorted(FIELDS))}.")
    if entry.get("effect") not in get_args(Effect):
        return Problem(f"{where}.effect", "is missing or wrong.", f"Known are: {', '.join(get_args(Effect))}.")
    for name in FIELDS - {"network"}:
        if not isinstance(entry.get(name, ""), str) or len(entry.get(name, "")) > LONGEST:
            return Problem(f"{where}.{name}", "has to be a short text.", "Put it in quotation marks.")
    if not entry.get("tool"):
        return Problem(f"{where}.tool", "is missing.", 'Name a tool, as in tool = "run", or any with "*".')
    if not isinstance(entry.get("network", False), bool):
        return Problem(f"{where}.network", "has to be true or false.", "Leave it out for false.")
    if entry.get("command") and entry.get("path"):
        return Problem(where, "names a command and a path.", "Make two rules of it.")
    return _made(entry)


def _made(entry: Mapping[str, Any]) -> Rule:
    folder = str(Path(entry["folder"]).expanduser()) if entry.get("folder") else ""
    return Rule(
        entry["effect"],
        entry["tool"],
        entry.get("command", "").strip(),
        entry.get("path", ""),
        folder,
        entry.get("network", False),
        one_line(entry.get("why", ""), 200),
    )
