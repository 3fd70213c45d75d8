"""Shows what a command returned: a plain table or text for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sophia_cli.console import Console
from sophia_core.present import MOMENTS, REPEATED, aligned, decimal, has_words, when
from sophia_core.sanitize import one_line

CELL_CHARS, LAST_CELL_CHARS = 60, 200
NOTHING = "-"


def as_json(value: object) -> str:
    """The value as one line of ASCII JSON; what JSON does not know becomes its text."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return dict(value) if isinstance(value, Mapping) else str(value)


def show(value: object, console: Console) -> None:
    """Prints a result for a person; None and an empty list print nothing on stdout."""
    rows = _rows(value)
    if rows:
        console.out(table(list(rows[0]), [list(row.values()) for row in rows], console))
    elif rows is not None:
        if console.err_stream.terminal:
            console.err("(none)\n")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type) and not has_words(value):
        pairs = _fields(value)
        width = max(map(len, pairs))
        console.out("".join(f"{name:<{width}}  {cell(name, each)}\n" for name, each in pairs.items()))
    elif value is not None:
        console.out(f"{value}\n")


def _rows(value: object) -> list[dict[str, object]] | None:
    """The fields of each dataclass in a list; None for anything else."""
    if not isinstance(value, list | tuple):
        return None
    if all(dataclasses.is_dataclass(each) and not isinstance(each, type) for each in value):
        return [_fields(each) for each in value]
    return [{"value": each} for each in value]


def _fields(value: Any) -> dict[str, object]:
    names = [field.name for field in dataclasses.fields(value) if field.name not in REPEATED]
    return {name: getattr(value, name) for name in names}


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], console: Console) -> str:
    """Aligned columns, one row a line. Long cells are cut on a terminal only; a pipe gets all of them."""
    limits = [CELL_CHARS] * (len(headings) - 1) + [LAST_CELL_CHARS]
    if not console.out_stream.terminal:
        limits = [100_000] * len(headings)
    cells = [[cell(*each) for each in zip(headings, row, limits, strict=True)] for row in rows]
    lines = [[name.upper().replace("_", " ") for name in headings], *cells]
    return "".join(f"{line}\n" for line in aligned(lines))


def cell(name: str, value: object, limit: int = 100_000) -> str:
    """One value as one safe line. Fields that end in `_at` or `until` are times, in milliseconds since the epoch."""
    match value:
        case None | "" | ():
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith(MOMENTS):
            return when(value)
        case list() | tuple():
            return one_line(", ".join(map(str, value)), limit)
        case float():
            return decimal(value)
        case str() | int() | Path():
            return one_line(str(value), limit)
        case _:
            return one_line(as_json(value), limit)
