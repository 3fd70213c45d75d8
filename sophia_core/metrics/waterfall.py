"""Spans as rows of text: who waited for whom, from when to when. Pure; for a screen of any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sophia_core.metrics.ports import Span
from sophia_core.present import cells
from sophia_core.sanitize import one_line

LEAST_BAR: Final = 8
"""Cells; where there is no room for so many there is no bar."""
LABEL_SHARE: Final = 0.42
MOST_LABEL: Final = 44
MOST_DEPTH: Final = 12
TOOK: Final = 8
"""Cells of a duration, its blank included."""


@dataclass(frozen=True, slots=True)
class Row:
    """One span on its line."""

    depth: int
    label: str
    """Indented, and cut to the room there is."""
    before: int
    """Cells of the bar's room that lie before it."""
    length: int
    """Cells of the bar, at least one; 0 where there is no room for bars."""
    took: str
    span: Span


def rows(spans: Sequence[Span], width: int, *, ascii_only: bool = False) -> list[Row]:
    """The spans of one trace, each below the one it belongs to and in the order they began."""
    ordered = tree(spans)
    if not ordered:
        return []
    begin = min(span.start for span in spans)
    whole = max(span.end for span in spans) - begin
    label, bar = columns(ordered, width)
    found = []
    for depth, span in ordered:
        before, length = _place(span, begin, whole, bar)
        text = _cut("  " * depth + one_line(span.name, 200), label, "..." if ascii_only else "…")
        found.append(Row(depth, text, before, length, duration(span.end - span.start, ascii_only=ascii_only), span))
    return found


def columns(ordered: Sequence[tuple[int, Span]], width: int) -> tuple[int, int]:
    """How many cells labels and bars get."""
    longest = max(2 * depth + cells(one_line(span.name, 200)) for depth, span in ordered)
    label = max(1, min(longest, MOST_LABEL, int(width * LABEL_SHARE)))
    bar = width - label - TOOK - 4
    return (label, bar) if bar >= LEAST_BAR else (max(1, min(longest, width - TOOK - 3)), 0)


def text(spans: Sequence[Span], width: int, *, ascii_only: bool = False) -> list[str]:
    """The rows as lines of exactly that many cells or fewer."""
    found = rows(spans, width, ascii_only=ascii_only)
    if not found:
        return []
    label = max(cells(row.label) for row in found)
    room = max(row.before + row.length for row in found)
    return [line(row, label, room, ascii_only=ascii_only).rstrip() for row in found]


def spoken(spans: Sequence[Span]) -> list[str]:
    """A line for each span in words: what it was, how long it took, and when it began."""
    ordered = tree(spans)
    if not ordered:
        return []
    begin = min(span.start for span in spans)
    return [_spoken(span, begin, first=not number) for number, (_, span) in enumerate(ordered)]


def _spoken(span: Span, begin: float, *, first: bool) -> str:
    after = "" if first else f", begun after {duration(span.start - begin, ascii_only=True)}"
    told = "" if span.ok else ", failed"
    return f"{one_line(span.name, 200)}: {duration(span.end - span.start, ascii_only=True)}{after}{told}."


def line(row: Row, label: int, room: int, *, ascii_only: bool = False) -> str:
    """One row: its label, its bar, how long it took."""
    name = row.label + " " * (label - cells(row.label))
    if not row.length:
        return f"{name} {row.took:>{TOOK}}{_mark(row.span, ascii_only)}"
    bar = (" " * row.before + sign(row.span, ascii_only=ascii_only) * row.length).ljust(room)
    return f"{name} {bar} {row.took:>{TOOK}}{_mark(row.span, ascii_only)}"


def sign(span: Span, *, ascii_only: bool = False) -> str:
    """What a bar is drawn of: another sign for what a server told, and for what failed, than for all else."""
    if not span.ok:
        return "x" if ascii_only else "▓"
    if span.kind == "server":
        return "=" if ascii_only else "▒"
    return "#" if ascii_only else "█"


def duration(seconds: float, *, ascii_only: bool = False) -> str:
    """How long, in at most seven cells: `850 µs`, `12.3 ms`, `1.25 s`, `2m 05s`, `3h 02m`."""
    if seconds < 0.00095:
        return f"{seconds * 1e6:.0f} {'us' if ascii_only else 'µs'}"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.09995 else f"{seconds * 1e3:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def tree(spans: Sequence[Span]) -> list[tuple[int, Span]]:
    """Every span once, with its depth; those whose parent is missing, or is below themselves, stand at the top."""
    ids = {span.span_id for span in spans}
    below: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        known = span.parent_id in ids and span.parent_id != span.span_id
        below.setdefault(span.parent_id if known else "", []).append(span)
    found: list[tuple[int, Span]] = []
    seen: set[int] = set()
    waiting = [(0, span) for span in reversed(below.get("", []))]
    while waiting or len(found) < len(spans):
        if not waiting:  # only those that belong to each other in a circle are left
            waiting.append((0, next(span for span in spans if id(span) not in seen)))
        depth, span = waiting.pop()
        if id(span) in seen:
            continue
        seen.add(id(span))
        found.append((min(depth, MOST_DEPTH), span))
        waiting += [(depth + 1, each) for each in reversed(below.get(span.span_id, []))]
    return found


def _place(span: Span, begin: float, whole: float, room: int) -> tuple[int, int]:
    if not room:
        return 0, 0
    if whole <= 0:
        return 0, room
    before = min(int((span.start - begin) / whole * room), room - 1)
    after = round((span.end - begin) / whole * room)
    return before, max(1, min(after, room) - before)


def _cut(label: str, room: int, more: str) -> str:
    if cells(label) <= room:
        return label
    while label and cells(label) + cells(more) > room:
        label = label[:-1]
    return (label + more)[:room]


def _mark(span: Span, ascii_only: bool) -> str:
    return "" if span.ok else (" !" if ascii_only else " ✗")


def about(span: Span, begin: float, *, ascii_only: bool = False) -> list[tuple[str, str]]:
    """All that is known of a span, as names and words; `begin` is when the trace began."""
    began = max(0.0, span.start - begin)
    found = [
        ("began after", duration(began, ascii_only=ascii_only)),
        ("took", duration(span.end - span.start, ascii_only=ascii_only)),
    ]
    if not span.ok:
        found.append(("ended", "failed"))
    if span.kind == "server":
        found.append(("told by", "the server; its clock is not ours, so its place is a guess"))
    found += [(one_line(name, 60), one_line(str(value), 200)) for name, value in span.attributes.items()]
    return found
