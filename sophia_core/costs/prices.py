"""The list of prices: the shipped one, and the person's own before it. Read when first asked, again when changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from backend_client.types import Price
from sophia_core.config_file import Problem
from sophia_core.shelves import content_of

if TYPE_CHECKING:
    from sophia_core.costs.price_file import PriceEntry, PriceFile

SHIPPED: Final = Path(__file__).parent / "prices.toml"
_DATED: Final = re.compile(r"-20\d\d-\d\d-\d\d$")
"""The date of a snapshot of a model, which costs what the model costs."""


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
            from sophia_core.costs.price_file import PriceFile, parse

            self._list = parse(SHIPPED.read_bytes(), SHIPPED.name) if self._shipped else PriceFile()
        return self._list

    def _read_own(self) -> PriceFile:
        """The person's file, read again where it changed."""
        from sophia_core.costs.price_file import PriceFile, parse

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
