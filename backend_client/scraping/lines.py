"""One line of Prometheus' text format, or of OpenMetrics: its name, its labels, its value. Pure; nothing here raises.

Lines are read by prometheus_client where it is installed. What it does not know (an exemplar behind the value), and
everything where it is missing, is read by an expression of our own that agrees with it on well-formed lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from prometheus_client import Metric

Sample: TypeAlias = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""

MAX_LINE: Final = 16 << 10
"""Bytes of a line; longer ones are left out."""
LONG_LINE: Final = 2 << 10
MAX_LABELS: Final = 64
"""Of one series; one with more is left out."""

_SAMPLE: Final = re.compile(
    r"""(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)[ \t]*+
        (?:\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\}[ \t]*+)?
        (?P<value>[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?|[+-]?[iI]nf|[nN]a[nN])
        (?:[ \t]++-?\d++(?:\.\d*+)?)?[ \t]*+(?:\#.*+)?\r?""",
    re.ASCII | re.VERBOSE | re.DOTALL,
)
"""A name, labels, a value; then perhaps a time, and the exemplar of OpenMetrics."""
_LABEL: Final = re.compile(
    r'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]|\\.)*+)"[ \t]*+(?:,|\Z)', re.ASCII | re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def sample_of(line: str) -> Sample | None:
    """Return what one line says, or None where it makes no sense."""
    read = _SAMPLE.fullmatch(line)
    if read is None:
        return None
    labels = _labels(read["labels"] or "")
    return None if labels is None else (read["name"], labels, float(read["value"]))


def samples_of(lines: Sequence[str]) -> list[Sample | None]:
    """Return what each of some lines says, None for those that make no sense."""
    parser = _parser()
    if parser is None:
        return [sample_of(line) for line in lines]
    read = iter(_by_library(parser, [line for line in lines if _plain(line)]))
    return [next(read) if _plain(line) else sample_of(line) for line in lines]


def warm() -> None:
    """Import the library, which takes longer than a loop may be held up: call it in a thread."""
    _parser()


def _plain(line: str) -> bool:
    # The library takes the exemplars of OpenMetrics for a time, and a long time for long lines.
    return "#" not in line and len(line) <= LONG_LINE and line.isascii()


def _by_library(parser: Callable[[str], Iterable[Metric]], lines: Sequence[str]) -> list[Sample | None]:
    """All lines in one go; where one of them is wrong, one by one."""
    try:
        found: list[Sample | None] = [
            (each.name, each.labels, float(each.value))
            for family in parser("".join(f"{line}\n" for line in lines))
            for each in family.samples
        ]
    except (ValueError, OverflowError, IndexError):
        found = []
    if len(found) == len(lines):
        return found
    return [_by_library(parser, [line])[0] for line in lines] if len(lines) > 1 else [None] * len(lines)


@cache
def _parser() -> Callable[[str], Iterable[Metric]] | None:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        return None
    return text_string_to_metric_families


def _labels(text: str) -> Mapping[str, str] | None:
    labels: dict[str, str] = {}
    text = text.rstrip(" \t")
    at = 0
    while at < len(text):
        read = _LABEL.match(text, at)
        if read is None:
            return None
        labels[read[1]] = _ESCAPE.sub(_unescaped, read[2])
        at = read.end()
    return labels


def _unescaped(escape: re.Match[str]) -> str:
    # What is no escape stands for itself, backslash and all.
    return {"n": "\n", "\\": "\\", '"': '"'}.get(escape[1], escape[0])
