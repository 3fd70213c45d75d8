"""The list of prices: the shipped one, and the person's own before it. Read when first asked, again when changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from backend_client.types import Price
from sophia_core.config_file import Problem, line_of
from sophia_core.sanitize import one_line
from sophia_core.setting_kinds import Section
from sophia_core.shelves import content_of, source_of

SHIPPED: Final = Path(__file__).parent / "prices.toml"
MOST: Final = 2_000
_DATED: Final = re.compile(r"-20\d\d-\d\d-\d\d$")
"""The date of a snapshot of a model, which costs what the model costs."""
MOST_PROBLEMS: Final = 50


def _printable(text: str) -> str:
    if one_line(text, 10_000) != text:
        raise ValueError("it has to be one line of characters that show")
    return text


Words = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
Usd = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class PriceEntry(Section):
    """One `[[price]]`: what a model costs at a server, in USD per million tokens."""

    model: Annotated[Words, Field(min_length=1)] = Field(description="The model; `*` stands for anything.")
    host: Annotated[Words, Field(min_length=1)] = Field("*", description="The server; `*` stands for anything.")
    prompt: Usd = Field(description="Tokens read.")
    completion: Usd = Field(description="Tokens written.")
    cached: Usd | None = Field(None, description="Tokens read that the server had read before.")
    date: str = Field("", pattern=r"^(\d{4}-\d{2}(-\d{2})?)?$", description="When the price was read: 2026-11.")
    source: Words = Field("", description="Where it was read.")

    def fits(self, host: str, model: str) -> bool:
        """Whether it is about this model there."""
        return fnmatchcase(host.lower(), self.host.lower()) and fnmatchcase(model.lower(), self.model.lower())


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A price, as a line of a list."""

    model: str
    host: str
    prompt: float
    cached: float | None
    completion: float
    known: str
    source: str


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What counts of one file."""

    entries: tuple[PriceEntry, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse(content: bytes, where: str) -> PriceFile:
    """The sound prices of a file, and what is wrong with the others. Never raises."""
    source = source_of(content, where, foreign=True)
    if isinstance(source, Problem):
        return PriceFile(problems=(source,))
    found, problems = source.tables.get("price", []), []
    for name in sorted(source.tables.keys() - {"price"}):
        problems.append(Problem(where, f"there is no {name[:60]!r}.", "Write [[price]]."))
    if not isinstance(found, list):
        return PriceFile(problems=(Problem(where, "'price' has to be a list of tables.", "Write [[price]]."),))
    entries = []
    for number, each in enumerate(found[:MOST]):
        try:
            entries.append(PriceEntry.model_validate(each))
        except ValidationError as error:
            problems += _problems(error, where, source.text, number)
    return PriceFile(tuple(entries), tuple(problems[:MOST_PROBLEMS]))


def _problems(error: ValidationError, where: str, text: str, number: int) -> list[Problem]:
    found = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        key = str(each["loc"][0])[:60] if each["loc"] else "price"
        line = line_of(text, ("price", number, key)) or line_of(text, ("price", number, "model"))
        said = one_line(each["msg"].removeprefix("Value error, "), 200)
        message = f"{key!r} is no part of a price." if each["type"] == "extra_forbidden" else f"{key!r}: {said}."
        found.append(Problem(f"{where}:{line}" if line else where, message, "This price is left out until then."))
    return found


class Prices:
    """All prices there are: a person's own file comes before the shipped one, and the first that fits counts."""

    def __init__(self, path: Path, *, shipped: bool = True) -> None:
        self.path, self._shipped = path, shipped
        self._signature: tuple[int, int] | None = None
        self._own: PriceFile | None = None
        self._list: PriceFile | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the person's own file."""
        return self._read_own().problems

    def rows(self) -> list[PriceRow]:
        """All of them, in the order in which they are tried."""
        return [_row(each, own=own) for own, each in self._all()]

    def find(self, host: str, model: str) -> Price | None:
        """What a model costs at a server; None where no entry is about it."""
        plain = _DATED.sub("", model)
        for own, each in self._all():
            if each.fits(host, model) or each.fits(host, plain):
                return Price(each.prompt, each.completion, each.cached, _known(each, own=own))
        return None

    def at(self, base_url: str) -> Callable[[str], Price | None]:
        """What a model costs at the server of this address."""
        host = urlsplit(base_url).hostname or ""
        return lambda model: self.find(host, model)

    def _all(self) -> list[tuple[bool, PriceEntry]]:
        own = [(True, each) for each in self._read_own().entries]
        return own + [(False, each) for each in self._read_list().entries]

    def _read_list(self) -> PriceFile:
        if self._list is None:
            self._list = parse(SHIPPED.read_bytes(), SHIPPED.name) if self._shipped else PriceFile()
        return self._list

    def _read_own(self) -> PriceFile:
        """The person's file, read again where it changed."""
        try:
            stat = self.path.stat()
        except OSError:
            return PriceFile()
        signature = (stat.st_mtime_ns, stat.st_size)
        if self._own is None or signature != self._signature:
            content = content_of(self.path, "list of prices")
            self._signature = signature
            problems = (content,) if isinstance(content, Problem) else ()
            self._own = PriceFile(problems=problems) if isinstance(content, Problem) else parse(content, str(self.path))
        return self._own


def _known(entry: PriceEntry, *, own: bool) -> str:
    return " ".join(each for each in ("own table" if own else "table", entry.date) if each)


def _row(entry: PriceEntry, *, own: bool) -> PriceRow:
    return PriceRow(
        entry.model, entry.host, entry.prompt, entry.cached, entry.completion, _known(entry, own=own), entry.source
    )
