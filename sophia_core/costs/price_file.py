"""A file of prices: what stands in it, and what is wrong with it. Imported when a price is first looked for."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError

from sophia_core.config_file import Problem, line_of
from sophia_core.sanitize import one_line
from sophia_core.setting_kinds import Section
from sophia_core.shelves import source_of

MOST: Final = 2_000
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
