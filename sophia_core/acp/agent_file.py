"""Reading `agents.toml`: the outside agents a person has, how each is started, and what of the machine it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sophia_core.config_file import Problem
from sophia_core.shelves import content_of, source_of

NAME: Final = "agents.toml"
MOST: Final = 50
LONGEST: Final = 1_000
LISTS: Final = {"program", "variables", "folders"}
KEYS: Final = LISTS | {"mode", "network"}


@dataclass(frozen=True, slots=True)
class OutsideAgent:
    """How an agent is started."""

    name: str
    program: tuple[str, ...]
    variables: tuple[str, ...] = ()
    """Names of environment variables it is given, such as the one with its key; it gets no others of the person's."""
    folders: tuple[str, ...] = ()
    """Folders it may read besides its own: where its program lies, if not where the system's programs do."""
    mode: str = ""
    """The id of the mode it is put into; empty: one that asks, where it has one."""
    network: bool = True
    """Whether it reaches out; most ask a model somewhere."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    """What stands in the file."""

    agents: tuple[OutsideAgent, ...] = ()
    problems: tuple[Problem, ...] = ()

    def of(self, program: tuple[str, ...]) -> OutsideAgent:
        """The agent that a step names by one word, or else just the program it says."""
        named = next((each for each in self.agents if program == (each.name,)), None)
        return named or OutsideAgent(Path(program[0]).name, program)


def load(path: Path) -> AgentFile:
    """What stands in the file; nothing where there is none. Never raises. Blocks, shortly."""
    if not path.exists() and not path.is_symlink():
        return AgentFile()
    content = content_of(path, "list of agents")
    if isinstance(content, Problem):
        return AgentFile(problems=(content,))
    return parse(content, str(path))


def parse(content: bytes, where: str) -> AgentFile:
    """What stands in the content of a file that is called `where`. Never raises."""
    source = source_of(content, where, foreign=True)
    if isinstance(source, Problem):
        return AgentFile(problems=(source,))
    found = [_agent(name, entry, f"{where}: {name[:60]}") for name, entry in list(source.tables.items())[:MOST]]
    return AgentFile(
        tuple(each for each in found if isinstance(each, OutsideAgent)),
        tuple(each for each in found if isinstance(each, Problem)),
    )


def _agent(name: str, entry: object, where: str) -> OutsideAgent | Problem:
    if not isinstance(entry, Mapping):
        return Problem(where, "has to be a table.", f"Write [{name[:60]}] and below it program = […].")
    if unknown := sorted(entry.keys() - KEYS):
        return Problem(where, f"there is no {unknown[0][:60]!r}.", f"Known are: {', '.join(sorted(KEYS))}.")
    for key in sorted(LISTS & entry.keys()):
        if not _words(entry[key]):
            return Problem(f"{where}.{key}", "has to be a list of texts.", f'Like {key} = ["one", "two"].')
    if not isinstance(entry.get("mode", ""), str) or len(entry.get("mode", "")) > LONGEST:
        return Problem(f"{where}.mode", "has to be a short text.", "Put it in quotation marks.")
    if not isinstance(entry.get("network", True), bool):
        return Problem(f"{where}.network", "has to be true or false.", "Leave it out for true.")
    if not entry.get("program"):
        return Problem(f"{where}.program", "is missing.", 'Say how it is started: program = ["opencode", "acp"].')
    return _made(name, entry)


def _made(name: str, entry: Mapping[str, Any]) -> OutsideAgent:
    lists = {key: tuple(entry.get(key, ())) for key in LISTS}
    folders = tuple(str(Path(each).expanduser()) for each in lists["folders"])
    mode, network = entry.get("mode", ""), entry.get("network", True)
    return OutsideAgent(name, lists["program"], lists["variables"], folders, mode, network)


def _words(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MOST
        and all(isinstance(each, str) and each and len(each) <= LONGEST and "\0" not in each for each in value)
    )
