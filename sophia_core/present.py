"""What a command returned, as lines for a person."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from local_store.types import Message
from sophia_core.sanitize import one_line

REPEATED = frozenset({"tier", "score", "calls", "failures", "slow", "retry_in_s"})
"""Figures for programs; another field says them in words."""
MOMENTS = ("_at", "until")
"""How the names of fields end that are times."""
LONGEST_TEXT = 200
"""Characters of a message that are shown in its line."""
LEFT_OUT = REPEATED | {"letter", "session", "matches", "active_leaf", "text", "reasoning", "pinned", "archived"}


class Verbatim(str):
    """A result that is a text by itself, to be read and copied letter for letter; any other is a word about one."""

    __slots__ = ()


@runtime_checkable
class Spoken(Protocol):
    """A result that is a drawing, and can be told to who does not see one."""

    def in_words(self) -> str:
        """What it shows, in lines to be read aloud."""
        ...


def has_words(record: object) -> bool:
    """Whether a record is a text rather than fields: it says itself what it is to read as."""
    return type(record).__str__ is not object.__str__


def row_of(record: object) -> list[str]:
    """A record's fields as words; what a person cannot use is left out."""
    if not dataclasses.is_dataclass(record):
        return [str(record)]
    if isinstance(record, Message):
        status = "" if record.status == "complete" else record.status
        text = one_line(record.text, LONGEST_TEXT)
        return [record.id, record.role, text, status, record.model or "", when(record.created_at)]
    names = [field.name for field in dataclasses.fields(record) if field.name not in LEFT_OUT]
    return [word(name, getattr(record, name)) for name in names]


def pairs_of(record: object) -> list[str]:
    """One record as lines: the name of each field that says something, and what it says."""
    fields = [(field.name, getattr(record, field.name)) for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    said = [(name.replace("_", " "), word(name, value)) for name, value in fields]
    return aligned([each for each in said if each[1]])


def word(name: str, value: object) -> str:
    """One field as a person reads it; times are milliseconds since the epoch in the store."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if name.endswith(MOMENTS) and isinstance(value, int):
        return when(value)
    if isinstance(value, float):
        return decimal(value)
    return " ".join(str(value).split())


def decimal(value: float) -> str:
    """A number in as many digits as anybody reads; programs are given all of them."""
    if not math.isfinite(value):
        return str(value)
    text = f"{value:.4g}" if 0.001 <= abs(value) < 1000 else f"{value:.6f}" if abs(value) < 1 else f"{value:.1f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row, the columns aligned by the cells they take on a screen; the last is left as long as it is."""
    if not rows:
        return []
    widths = [max(cells(row[n]) for row in rows if n < len(row)) for n in range(max(map(len, rows)))]
    return ["  ".join(map(_pad, row, widths)).rstrip() for row in rows]


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def when(milliseconds: int) -> str:
    """A time of the store as local time, to the minute."""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


def ago(then_ms: int, now_ms: int) -> str:
    """How long ago, in the shortest words: `now`, `5m`, `3h`, `2d`, or the date."""
    minutes = max(0, now_ms - then_ms) // 60_000
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return f"{minutes // 60}h"
    if minutes < 7 * 24 * 60:
        return f"{minutes // (24 * 60)}d"
    return datetime.fromtimestamp(then_ms / 1000).strftime("%Y-%m-%d")


def dollars(amount: float) -> str:
    """An amount of money, small ones to a hundredth of a cent."""
    return f"${amount:.4f}" if 0 < amount < 0.1 else f"${amount:.2f}"


def sentence(words: str) -> str:
    """What an error says, as a sentence of its own."""
    said = words.strip()
    first = said.partition(" ")[0].rstrip(".,:;")
    named = "." in first or "_" in first  # a command, a file or a setting, which is written as it is
    return (said[:1] if named else said[:1].upper()) + said[1:] + ("" if not said or said[-1] in ".!?:…" else ".")
