"""Where macros lie: those that came with the app, the person's own, and those of the folder they work in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sophia_core.macros.language import NAME, VERBS, Macro, parse_macro, read_macro
from sophia_core.shelves import Shelves

SHIPPED: Final = Path(__file__).parent / "shipped"
PROJECT: Final = Path(".sophia") / "macros"


class Library(Shelves[Macro]):
    """Reads macros, keeps what was trusted, and writes the person's own. All of it blocks, shortly."""

    def __init__(self, own: Path, work: Path, trusted: Path) -> None:
        super().__init__(SHIPPED, work / PROJECT, own, trusted, read_macro, "macro")

    def keep(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Write a macro of the person's own. Raises ValueError for a bad name or text, FileExistsError, OSError."""
        if not NAME.fullmatch(name) or name in VERBS:
            raise ValueError(f"{name!r} cannot be a macro's name: use small letters, digits and _.")
        _, problems = parse_macro(name, text.encode())
        if problems:
            raise ValueError(str(problems[0]))
        return self.put(name, text, replace=replace)
