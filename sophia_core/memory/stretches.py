"""Cuts a message where its meaning changes: at paragraphs, and around longer blocks of code."""

from __future__ import annotations

import re

FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
ENOUGH = 900
"""Characters that go together: about as much as the model reads at once."""
OWN_BLOCK = 300
"""A block of code this long stands for itself; a shorter one belongs to what is said around it."""

Span = tuple[int, int]


def stretches(text: str) -> list[Span]:
    """Return the parts of `text`, as [begin, end) of characters, each about one thing; none of a text without words."""
    parts: list[Span] = []
    for begin, end, is_own in _sections(text):
        if is_own:
            parts.append((begin, end))
        else:
            parts.extend(_gathered(text, begin, end))
    return [(begin, end) for begin, end in parts if any(map(str.isalnum, text[begin:end]))]


def _sections(text: str) -> list[tuple[int, int, bool]]:
    """What lies between long blocks of code, and those blocks."""
    sections, at = [], 0
    for begin, end in _blocks(text):
        if end - begin >= OWN_BLOCK:
            sections += [(at, begin, False), (begin, end, True)]
            at = end
    return [*sections, (at, len(text), False)]


def _blocks(text: str) -> list[Span]:
    """The fenced blocks, each with its fences; one that is never closed goes to the end."""
    blocks, opened = [], None
    for fence in FENCE.finditer(text):
        mark = fence[1]
        if opened is None:
            opened = fence
        elif mark[0] == opened[1][0] and len(mark) >= len(opened[1]):
            blocks.append((opened.start(), fence.end()))
            opened = None
    return blocks if opened is None else [*blocks, (opened.start(), len(text))]


def _gathered(text: str, begin: int, end: int) -> list[Span]:
    """Paragraphs, as many together as are read at once."""
    gathered: list[Span] = []
    at = begin
    while at < end:
        stop = end if end - at <= ENOUGH else _last_break(text, at, end)
        gathered.append((at, stop))
        at = stop
    return gathered


def _last_break(text: str, begin: int, end: int) -> int:
    """Where to stop: behind the last paragraph that still fits, or else behind the first."""
    stop = end
    for gap in PARAGRAPH.finditer(text, begin, end):
        if gap.end() - begin > ENOUGH and stop < end:
            break
        stop = gap.end()
        if stop - begin > ENOUGH:
            break
    return stop if stop > begin else end
