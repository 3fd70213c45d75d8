"""Where macros lie: those that came with the app, the person's own, and those of the folder they work in.

A folder's macros come from whoever wrote the folder, so a person looks at one before it first runs. What was trusted is
its text: change a letter, and it asks again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sophia_core.config_file import Problem
from sophia_core.macros.language import NAME, VERBS, Macro, parse_macro, read_macro

SHIPPED: Final = Path(__file__).parent / "shipped"
PROJECT: Final = Path(".sophia") / "macros"
MOST_FILES: Final = 500


@dataclass(slots=True)
class Shelf:
    """The macros there are now, by name, and what is wrong with the others."""

    macros: dict[str, Macro] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seen: tuple[tuple[str, int, int], ...] = ()
    """Path, time and size of every file that was read."""


class Library:
    """Reads macros, and keeps what was trusted. All of it blocks, shortly."""

    def __init__(self, own: Path, work: Path, trusted: Path) -> None:
        self.own = own
        self.project = work / PROJECT
        self._trusted = trusted
        self._shelf = Shelf()

    def look(self) -> Shelf:
        """Return the macros; files that did not change are not read again. A person's own win over shipped ones."""
        files = list(self._files())
        seen = tuple(_signature(path) for path, _ in files)
        if seen != self._shelf.seen or not seen:
            shelf = Shelf(seen=seen)
            for path, project in files:
                macro, problems = read_macro(path, project=project)
                shelf.problems += problems
                if macro is not None:
                    _place(macro, shelf)
            self._shelf = shelf  # whole: another thread may be looking
        return self._shelf

    def _files(self) -> Iterator[tuple[Path, bool]]:
        for folder, project in ((SHIPPED, False), (self.project, True), (self.own, False)):
            try:
                found = sorted(path for path in folder.glob("*.toml") if path.is_file())
            except OSError:
                continue
            yield from ((path, project) for path in found[:MOST_FILES])

    def is_trusted(self, macro: Macro) -> bool:
        """Say whether a macro may run: those of a folder only after somebody has looked at them."""
        return not macro.project or macro.digest in self._digests()

    def knows(self, digest: str) -> bool:
        """Say whether `trust` was called with this before."""
        return digest in self._digests()

    def trust(self, digest: str) -> None:
        """Remember that a person has looked at this text. Raises OSError."""
        digests = self._digests()
        if digest not in digests:
            _write(self._trusted, "".join(f"{each}\n" for each in [*digests, digest]))

    def _digests(self) -> list[str]:
        try:
            return self._trusted.read_text("ascii").split()
        except (OSError, UnicodeDecodeError):
            return []

    def keep(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Write a macro of the person's own. Raises ValueError for a bad name or text, FileExistsError, OSError."""
        if not NAME.fullmatch(name) or name in VERBS:
            raise ValueError(f"{name!r} cannot be a macro's name: use small letters, digits and _.")
        _, problems = parse_macro(name, text.encode())
        if problems:
            raise ValueError(str(problems[0]))
        path = self.own / f"{name}.toml"
        if path.exists() and not replace:
            raise FileExistsError(f"there is a macro {name!r} already")
        _write(path, text)
        return path


def _place(macro: Macro, shelf: Shelf) -> None:
    before = shelf.macros.get(macro.name)
    if before is not None and macro.project and not before.project:
        # A folder must not put something else under a name that the person knows.
        fix = "Give it another name."
        shelf.problems.append(Problem(str(macro.path), f"{macro.name!r} is a macro of yours.", fix))
    else:
        shelf.macros[macro.name] = macro


def _signature(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), state.st_mtime_ns, state.st_size


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
