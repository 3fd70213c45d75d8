"""A command's answer as lines that fit the conversation."""

from __future__ import annotations

import dataclasses
import re
import textwrap

from local_store.types import Message
from sophia_core.present import LEFT_OUT, MOMENTS, aligned, cells, row_of

INDENT = "     "
DATE = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d)")


def listing(records: list[object], width: int) -> list[str]:
    """One line a record, its columns aligned; where one of them is too long for that, what does not fit stands
    below the first words of its record."""
    rows = [row_of(each) for each in records]
    titled = aligned([titles, *rows]) if (titles := _titles(records)) else []
    if titled and all(cells(line) <= width for line in titled):
        return titled
    lines = aligned(rows)
    if all(cells(line) <= width for line in lines) or max(map(len, rows)) == 1:
        return lines
    return [line for row in rows for line in _stacked([word for word in row if word], max(20, width))]


def _titles(records: list[object]) -> list[str]:
    """What the columns are, where some are bare numbers, which say nothing by themselves."""
    kinds = {type(each) for each in records}
    if len(kinds) != 1 or Message in kinds or not dataclasses.is_dataclass(first := records[0]):
        return []
    shown = [field.name for field in dataclasses.fields(first) if field.name not in LEFT_OUT]
    bare = [name for name in shown[1:] if _is_bare(name, getattr(first, name))]
    return [name.removesuffix("_at").replace("_", " ") for name in shown] if bare else []


def _is_bare(name: str, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not name.endswith(MOMENTS)


def _stacked(row: list[str], width: int) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in row:
        longer = f"{line}  {word}" if line.strip() else line + word
        if line.strip() and cells(longer) > width:
            lines.append(line)
            line = INDENT + word
        else:
            line = longer
    return [part for each in [*lines, line] for part in _wrapped(each, width)]


def _wrapped(line: str, width: int) -> list[str]:
    if cells(line) <= width:
        return [line]
    held = DATE.sub("\\1\0\\2", line)  # a date and its time stay together
    lines = textwrap.wrap(held, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)
    return [each.replace("\0", " ") for each in lines]
