"""Reading an event's details: they come from models, tools and other machines, so nothing about them is believed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from sophia_core.sanitize import one_line, sanitize

LONGEST: Final = 20_000
"""Characters of a text that are kept to be looked at; the log has all of it."""
LONGEST_LINE: Final = 300
LONGEST_ID: Final = 120
MOST_NAMES: Final = 200


def text(detail: Mapping[str, Any], key: str, most: int = LONGEST) -> str:
    """A text of several lines, safe to show; what is no text is shown as JSON."""
    value = detail.get(key)
    if not isinstance(value, str):
        value = "" if value is None else _json(value)
    return sanitize(value[:most])


def line(detail: Mapping[str, Any], key: str, most: int = LONGEST_LINE) -> str:
    """One line of it."""
    value = detail.get(key)
    if not isinstance(value, str):
        value = "" if value is None else _json(value)
    return one_line(value, most) if value else ""


def name(value: object) -> str:
    """Something that others are named by; what is no text names nothing."""
    return one_line(value, LONGEST_ID) if isinstance(value, str) and value else ""


def number(detail: Mapping[str, Any], key: str) -> float:
    """A number that is not negative; 0 for anything else."""
    value = detail.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        found = float(value)
    except OverflowError:
        return 0.0
    return found if math.isfinite(found) and found > 0 else 0.0


def whole(detail: Mapping[str, Any], key: str) -> int:
    """A count."""
    return int(min(number(detail, key), 1e15))


def flag(detail: Mapping[str, Any], key: str) -> bool:
    """Whether it is true, and nothing like it."""
    return detail.get(key) is True


def names(detail: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of names or lines."""
    value = detail.get(key)
    if not isinstance(value, list | tuple):
        return ()
    return tuple(one_line(each, LONGEST_LINE) for each in value[:MOST_NAMES] if isinstance(each, str))


def part(detail: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The details within a detail; none where there are none."""
    value = detail.get(key)
    return value if isinstance(value, Mapping) else {}


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str)
    except (ValueError, RecursionError):
        return "…"
