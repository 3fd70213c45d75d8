"""Breaking runs of text into rows of a given width in cells."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, split_graphemes

from .ink import Run

Cut = tuple[int, int, int]
"""Start and end of a row, and where the next one starts, in characters."""


def _ascii_cuts(text: str, first: int, width: int) -> Iterator[Cut]:
    position, size, room = 0, len(text), first
    while size - position > room:
        end = text.rfind(" ", position, position + room + 1)
        if end <= position or not text[position:end].strip():
            end = following = position + room
        else:
            following = end
            while following < size and text[following] == " ":
                following += 1
        yield position, end, following
        position, room = following, width
    yield position, size, size


def _wide_cuts(text: str, first: int, width: int) -> Iterator[Cut]:
    spans = split_graphemes(text)[0]
    cells = [0]
    for _, _, size in spans:
        cells.append(cells[-1] + size)
    at, count, room = 0, len(spans), first
    while cells[count] - cells[at] > room:
        last = max(at + 1, bisect_right(cells, cells[at] + room) - 1)
        end = last
        while end > at and not _may_break(text, spans, end):
            end -= 1
        if end <= at or not text[spans[at][0] : _start(spans, end, text)].strip():
            end = last
        following = end
        while following < count and text[spans[following][0]] == " ":
            following += 1
        yield spans[at][0], _start(spans, end, text), _start(spans, following, text)
        at, room = following, width
    yield _start(spans, at, text), len(text), len(text)


def _start(spans: Sequence[tuple[int, int, int]], index: int, text: str) -> int:
    return spans[index][0] if index < len(spans) else len(text)


def _may_break(text: str, spans: Sequence[tuple[int, int, int]], index: int) -> bool:
    return index >= len(spans) or text[spans[index][0]] == " " or spans[index][2] == 2 or spans[index - 1][2] == 2


def cuts(text: str, first: int, width: int) -> Iterator[Cut]:
    """Where to break `text` so that the first row fits `first` cells and the others `width` (both at least 1)."""
    return _ascii_cuts(text, first, width) if text.isascii() else _wide_cuts(text, first, width)


def hard_cuts(text: str, width: int) -> Iterator[Cut]:
    """Like `cuts`, but breaks exactly at the edge, as code wants it."""
    if text.isascii():
        for position in range(0, max(1, len(text)), width):
            end = min(len(text), position + width)
            yield position, end, end
        return
    position, used, start = 0, 0, 0
    for begin, end, size in split_graphemes(text)[0]:
        if used + size > width and begin > start:
            yield start, begin, begin
            start, used = begin, 0
        used += size
        position = end
    yield start, max(position, len(text)), len(text)


def slice_runs(runs: Sequence[Run], start: int, end: int) -> list[Run]:
    """The runs between two character positions."""
    found: list[Run] = []
    position = 0
    for text, ink in runs:
        after = position + len(text)
        if after > start:
            if position >= end:
                break
            piece = text if position >= start and after <= end else text[max(0, start - position) : end - position]
            if piece:
                found.append((piece, ink))
        position = after
    return found


def wrap(runs: Sequence[Run], first: int, width: int) -> list[tuple[list[Run], str]]:
    """Rows of at most `width` cells (the first: `first`), each with the text that the break swallowed."""
    text = "".join([piece for piece, _ in runs])
    first, width = max(1, first), max(1, width)
    if len(text) <= first and text.isascii():
        return [(list(runs), "\n")]
    rows = [(slice_runs(runs, start, end), text[end:following]) for start, end, following in cuts(text, first, width)]
    rows[-1] = (rows[-1][0], "\n")
    return rows


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` cut to `width` cells, marked with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < 1:
        ellipsis, room = "", width
    used = 0
    for begin, _, size in split_graphemes(text)[0]:
        if used + size > room:
            return text[:begin] + ellipsis
        used += size
    return text
