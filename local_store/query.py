"""What a person typed into a search, taken apart. Whatever it is, it is a valid query.

Words and "phrases" must be there, `-word` must not. `name:value` is a filter where the name is one of ours and the
value makes sense; anything else is words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_store.text import storable

MOST_TERMS = 24
LONGEST_TERM = 128
MOST_CHARACTERS = 4_000
ROLES = {
    "user": "user",
    "me": "user",
    "assistant": "assistant",
    "answer": "assistant",
    "system": "system",
    "tool": "tool",
}
HAS = frozenset({"image", "file", "code", "tool"})
IS = frozenset({"pinned", "archived"})
NAMED = frozenset({"persona", "model", "provider", "tag", "folder", "in"})
FILTERS = (*sorted(NAMED), "role", "has", "is", "before", "after")
THIS_SESSION = frozenset({"session", "this"})
DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
# Scripts that write no spaces between words: the index has no words of theirs to look up.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_PIECE = re.compile(r'(?P<minus>-(?=[^\W\d_]|"))?(?:(?P<name>[a-z]+):)?(?:"(?P<quoted>[^"]*)"?|(?P<bare>\S+))')
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_AGO = re.compile(r"(\d{1,5})([dwmy])")


@dataclass(frozen=True, slots=True)
class Term:
    """Text that a message must hold, or must not."""

    text: str
    excluded: bool = False
    unfinished: bool = False
    """True for the last word while it may still grow."""

    @property
    def in_index(self) -> bool:
        """Whether the index has words for it; else the texts themselves are looked through."""
        return any(map(str.isalnum, self.text)) and not UNSPACED.search(self.text)


@dataclass(frozen=True, slots=True)
class Filter:
    """A property that a message or its session must have, or must not."""

    name: str
    value: str
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood."""

    terms: tuple[Term, ...] = ()
    filters: tuple[Filter, ...] = ()
    since: int | None = None
    """Milliseconds since the epoch; what was said before is left out."""
    until: int | None = None
    """What was said then or later is left out."""

    @property
    def empty(self) -> bool:
        """Whether it asks for nothing."""
        return not self.terms and not self.filters and self.since is None and self.until is None

    @property
    def words(self) -> tuple[str, ...]:
        """What a title has to hold."""
        return tuple(word for term in self.terms if not term.excluded for word in term.text.split())


def parse(typed: str, now: datetime | None = None) -> Query:
    """Return what `typed` asks for. `now` is what `yesterday` and `7d` count from."""
    text = _printable(storable(typed[:MOST_CHARACTERS]))
    at = now or datetime.now()
    terms: list[Term] = []
    filters: list[Filter] = []
    since = until = None
    for piece in _PIECE.finditer(text):
        name, minus = piece["name"], piece["minus"] is not None
        value = (piece["quoted"] if piece["quoted"] is not None else piece["bare"]).strip()
        moment = _moment(value, at) if name in ("before", "after") and not minus else None
        if moment is not None and name == "after":
            since = moment if since is None else max(since, moment)
        elif moment is not None:
            until = moment if until is None else min(until, moment)
        elif (found := _filter(name, value, minus)) is not None:
            filters.append(found)
        else:
            terms.extend(_terms(piece, minus, last=piece.end() == len(text)))
    return Query(tuple(_kept(terms)), tuple(filters[:MOST_TERMS]), since, until)


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(character)[0] == "C" else character for character in text)


def _terms(piece: re.Match[str], minus: bool, *, last: bool) -> Iterator[Term]:
    if piece["name"] is None and piece["quoted"] is not None:
        if phrase := " ".join(piece["quoted"].split()):
            yield Term(phrase[:LONGEST_TERM], minus)
        return
    for word in piece[0].removeprefix("-" if minus else "").replace('"', " ").split():
        # A word that ends in a sign is finished: what grows there is the next one.
        yield Term(word[:LONGEST_TERM], minus, unfinished=last and not minus and word[-1].isalnum())


def _kept(terms: list[Term]) -> list[Term]:
    """At most so many; signs between words (`a - b`) say nothing as long as there is a word."""
    some = any(map(str.isalnum, "".join(each.text for each in terms)))
    kept = [each for each in terms if not some or any(map(str.isalnum, each.text))]
    return kept[:MOST_TERMS]


def _filter(name: str | None, value: str, minus: bool) -> Filter | None:
    """A filter of ours; None for anything that is words."""
    lowered = value.casefold()
    if not value or name is None:
        return None
    if name in NAMED:
        return Filter(name, value[:LONGEST_TERM], minus)
    if name == "role" and lowered in ROLES:
        return Filter(name, ROLES[lowered], minus)
    if (name == "has" and lowered.removesuffix("s") in HAS) or (name == "is" and lowered in IS):
        return Filter(name, lowered.removesuffix("s") if name == "has" else lowered, minus)
    return None


def _moment(value: str, now: datetime) -> int | None:
    """When a day, month, year or stretch of time begins; None when it is no time."""
    try:
        start = _start(value.casefold(), now)
        return None if start is None else int(start.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _start(value: str, now: datetime) -> datetime | None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if value in ("today", "yesterday"):
        return today - timedelta(days=value == "yesterday")
    if ago := _AGO.fullmatch(value):
        return now - timedelta(days=int(ago[1]) * DAYS[ago[2]])
    if date := _DATE.fullmatch(value):
        year, month, day = (int(part or 1) for part in date.groups())
        return datetime(year, month, day, tzinfo=now.tzinfo)
    return None
