"""Where personas lie: those that came with the app, the person's own, and those of the folder they work in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sophia_core.config_file import read_toml, write_atomically
from sophia_core.personas.persona import NAME, RESERVED, Persona, parse_persona, read_persona
from sophia_core.shelves import Shelves

SHIPPED: Final = Path(__file__).parent / "shipped"
PROJECT: Final = Path(".sophia") / "personas"
FOLDERS: Final = "# Who answers by default in which folder.\n"


class Library(Shelves[Persona]):
    """Reads personas, keeps what was trusted, and writes the person's own. All of it blocks, shortly."""

    def __init__(self, own: Path, work: Path) -> None:
        super().__init__(SHIPPED, work / PROJECT, own, own.with_name("trusted-personas"), read_persona, "persona")

    def elsewhere(self, work: Path) -> Library:
        """Those of another folder, trusted by the same texts."""
        return Library(self.own, work)

    def trusted_of(self, named: Mapping[str, Persona]) -> list[Persona]:
        """Those of them that may answer."""
        return [each for each in named.values() if self.is_trusted(each)]

    def keep(self, name: str, text: str, *, replace: bool = False, foreign: bool = False) -> Path:
        """Write a persona of the person's own. Raises ValueError for a bad name or text, FileExistsError, OSError."""
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"{name[:60]!r} cannot be a persona's name: use small letters, digits, _ and -.")
        _, problems = parse_persona(name, text.encode("utf-8", "replace"), foreign=foreign)
        if problems:
            raise ValueError(str(problems[0]))
        return self.put(name, text, replace=replace)


class Folders:
    """Which persona answers by default in which folder: the person's own choice, in one file beside the config."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def default(self, folder: Path) -> str | None:
        """The choice for this folder, or for the nearest one around it. Blocks, shortly."""
        known = self._all()
        chosen = (known.get(str(each)) for each in (folder, *folder.parents))
        return next((name for name in chosen if name), None)

    def choose(self, folder: Path, name: str | None) -> str | None:
        """Remember who answers in this folder (None: nobody in particular); return who did.

        Raises OSError, ValueError for a file that cannot be read as it stands.
        """
        import tomlkit

        place = str(folder).encode("utf-8", "replace").decode()
        known = tomlkit.parse(self._file.read_text("utf-8") if self._file.exists() else FOLDERS)
        before = known.pop(place, None)
        if name is not None:
            known[place] = name
        write_atomically(self._file, tomlkit.dumps(known))
        return str(before) if before else None

    def _all(self) -> dict[str, str]:
        tables, _, _ = read_toml(self._file)
        return {path: name for path, name in tables.items() if isinstance(name, str) and NAME.fullmatch(name)}
