"""Mermaid's flowcharts and sequences, as far as characters can draw them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .flowchart import draw_flowchart
from .sequence import draw_sequence

LONGEST = 8_000
"""Characters beyond which a diagram is not drawn."""
LONGEST_LINE = 1_000
"""The same for one of its lines."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A diagram as rows of text."""

    rows: tuple[str, ...]
    kind: str
    """What it is, in a word or two."""
    note: str = ""
    """What of it is not drawn."""


@lru_cache(64)
def draw(source: str, width: int, *, ascii_only: bool = False) -> Drawing | None:
    """The diagram in at most `width` cells; None where it is of another kind, or has something we cannot read."""
    if len(source) > LONGEST:
        return None
    # One blank for many: the expressions that read a line try every way to share a run of them out.
    lines = [" ".join(line.split()) for line in _without_front_matter(source).split("\n")]
    lines = [line for line in lines if line and not line.startswith("%%")]
    if not lines or max(map(len, lines)) > LONGEST_LINE:
        return None
    kind = re.split(r"[\s;]", lines[0], maxsplit=1)[0]
    if kind in ("graph", "flowchart"):
        drawn = draw_flowchart(lines, width, ascii_only=ascii_only)
        return Drawing(tuple(drawn[0]), "flowchart", drawn[1]) if drawn else None
    if kind == "sequenceDiagram":
        rows = draw_sequence(lines[1:], width, ascii_only=ascii_only)
        return Drawing(tuple(rows), "sequence") if rows else None
    return None


def _without_front_matter(source: str) -> str:
    return re.sub(r"\A\s*---\n.*?\n---\n", "", source, flags=re.DOTALL)
