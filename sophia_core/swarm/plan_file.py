"""Where plans lie: those that came with the app, the person's own, and those of the folder they work in.

One of a folder counts only after a person has looked at its text, as macros do; `digest` is what they trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sophia_core.config_file import Problem
from sophia_core.shelves import Shelves, content_of, source_of
from sophia_core.swarm.checking import problems_of
from sophia_core.swarm.plan import Plan
from sophia_core.swarm.plan_data import NAME, read_tables

SHIPPED: Final = Path(__file__).parent / "plans"
PROJECT: Final = Path(".sophia") / "plans"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan, and the file that it was read from."""

    plan: Plan
    path: Path | None = None
    digest: str = ""
    """SHA-256 of the file: what a person trusted was this text and no other."""
    source: str = field(default="", repr=False)
    """The text of the file that was read: what is shown is what runs, whatever stands in the file by then."""
    project: bool = False
    """True for one that came with a folder rather than from the person."""

    @property
    def name(self) -> str:
        """What it is called: the name of its file."""
        return self.plan.name


class Library(Shelves[PlanFile]):
    """Reads plans, keeps what was trusted, and writes the person's own. All of it blocks, shortly."""

    def __init__(self, own: Path, work: Path) -> None:
        super().__init__(SHIPPED, work / PROJECT, own, own.with_name("trusted-plans"), read_plan, "plan")

    def keep(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Write a plan of the person's own. Raises ValueError for a bad name or text, FileExistsError, OSError."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} cannot be a plan's name: use small letters, digits, - and _.")
        _, problems = parse_plan(name, text.encode())
        if problems:
            raise ValueError(str(problems[0]))
        return self.put(name, text, replace=replace)


def read_plan(path: Path, project: bool = False) -> tuple[PlanFile | None, list[Problem]]:
    """Return the plan of a file, named after it, and what is wrong with it; with a problem there is no plan."""
    content = content_of(path, "plan")
    return (None, [content]) if isinstance(content, Problem) else parse_plan(path.stem, content, path, project=project)


def parse_plan(
    name: str, content: bytes, path: Path | None = None, *, project: bool = False
) -> tuple[PlanFile | None, list[Problem]]:
    """Return the plan in the content of a file, and what is wrong with it. Who and what it names is not looked up."""
    where = str(path or name)
    source = source_of(content, where, foreign=project)
    if isinstance(source, Problem):
        return None, [source]
    if isinstance(source.tables.get("name", name), str) and source.tables.get("name", name) != name:
        return None, [
            Problem(f"{where}: name", "is not the name of the file.", "Take it out: the file names the plan.")
        ]
    plan, problems = read_tables(name, source.tables, where)
    if plan is None:
        return None, problems
    if problems := problems_of(plan, where=where):
        return None, problems
    return PlanFile(plan, path, source.digest, source.text, project), []
