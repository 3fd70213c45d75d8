"""Reading `alerts.toml`: the rules and receivers in it, and everything that is wrong, by file and line.

A wrong entry is left out and told; the others count. A file that is no TOML at all changes nothing until it is mended.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from sophia_core.alerts.rule import RuleFile
from sophia_core.alerts.tables import ReceiverTable, RuleTable
from sophia_core.config_file import Problem, line_of
from sophia_core.sanitize import one_line
from sophia_core.shelves import content_of, source_of

SHIPPED: Final = Path(__file__).parent / "shipped.toml"
MOST: Final = 500
MOST_PROBLEMS: Final = 50
TABLES: Final = ("rule", "receiver")
Table = TypeVar("Table", bound=BaseModel)


def load(path: Path, *, shipped: bool = True) -> RuleFile:
    """The rules and receivers there are: the person's own, and shipped ones where no own one has their name."""
    own = read(path) if path.exists() else RuleFile()
    known = {each.name for each in own.rules} | own.off
    more = tuple(each for each in read(SHIPPED).rules if each.name not in known) if shipped else ()
    return RuleFile((*own.rules, *more), own.receivers, own.off, own.problems, own.readable)


def read(path: Path) -> RuleFile:
    """What stands in one file."""
    content = content_of(path, "list of alert rules")
    return RuleFile(problems=(content,), readable=False) if isinstance(content, Problem) else parse(content, str(path))


def parse(content: bytes, where: str) -> RuleFile:
    """What stands in the content of a file that is called `where`. Never raises."""
    source = source_of(content, where, foreign=True)
    if isinstance(source, Problem):
        return RuleFile(problems=(source,), readable=False)
    reader = _Reader(where, source.text)
    for name in sorted(source.tables.keys() - set(TABLES)):
        near = difflib.get_close_matches(name, TABLES, n=1)
        fix = f"Did you mean [[{near[0]}]]?" if near else "There are [[rule]] and [[receiver]]."
        reader.wrong((name,), f"there is no {name[:60]!r}.", fix)
    rules = reader.entries("rule", RuleTable, source.tables.get("rule", []))
    receivers = reader.entries("receiver", ReceiverTable, source.tables.get("receiver", []))
    kept = {each.name: each for _, each in receivers}
    for number, each in rules:
        if unknown := [name for name in each.receivers if name not in kept]:
            known = f"There is: {', '.join(kept)}." if kept else "Add it as [[receiver]]."
            reader.wrong(("rule", number, "receivers"), f"there is no receiver {unknown[0]!r}.", known)
    return RuleFile(
        tuple(each.rule(reader.place(("rule", number, "name"))) for number, each in rules if not each.off),
        tuple(kept.values()),
        frozenset(each.name for _, each in rules if each.off),
        tuple(reader.problems[:MOST_PROBLEMS]),
    )


class _Reader:
    """Reads the entries of one file, and goes on after a mistake, so that all of them are told."""

    def __init__(self, where: str, text: str) -> None:
        self._where, self._text = where, text
        self.problems: list[Problem] = []

    def entries(self, name: str, table: type[Table], found: object) -> list[tuple[int, Table]]:
        """The sound entries of `[[name]]`, with their numbers."""
        if not isinstance(found, list):
            self.wrong((name,), f"{name!r} has to be a list of tables.", f"Write [[{name}]].")
            return []
        if len(found) > MOST:
            self.wrong((name, MOST, "name"), f"there are more than {MOST} of {name!r}.", "The others are left out.")
        taken: dict[str, tuple[int, Table]] = {}
        for number, each in enumerate(found[:MOST]):
            try:
                entry = table.model_validate(each)
            except ValidationError as error:
                self._explain(name, number, table, error)
                continue
            called = str(entry.__dict__["name"])
            if called in taken:
                self.wrong((name, number, "name"), f"{called!r} is there twice.", "This one is left out.")
            else:
                taken[called] = (number, entry)
        return list(taken.values())

    def _explain(self, name: str, number: int, table: type[BaseModel], error: ValidationError) -> None:
        known = [field.alias or key for key, field in table.model_fields.items()]
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            key = str(each["loc"][0]) if each["loc"] else "name"
            if each["type"] == "extra_forbidden":
                near = difflib.get_close_matches(key, known, n=1)
                fix = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
                self.wrong((name, number, key), f"there is no {key[:60]!r}.", fix)
                continue
            said = one_line(each["msg"].removeprefix("Value error, "), 300)
            message = f"{key!r} is needed." if each["type"] == "missing" else f"{said[:1].lower()}{said[1:]}."
            self.wrong((name, number, key), message, "This entry is left out until then.")

    def wrong(self, location: tuple[str | int, ...], message: str, fix: str) -> None:
        """Tell of a mistake."""
        named = str(location[-1])[:60] if len(location) > 1 else ""
        place = self.place(location)
        self.problems.append(Problem(place, f"{named!r}: {message}" if named else message, fix))

    def place(self, location: tuple[str | int, ...]) -> str:
        """File and line of a key, or of the entry that it should be in."""
        line = line_of(self._text, location) or line_of(self._text, (*location[:-1], "name"))
        return f"{self._where}:{line}" if line else self._where
