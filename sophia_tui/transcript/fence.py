"""A fenced code block that grows line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .ink import Run

LONG_LINE = 4_000
"""Characters of one line of code; longer ones are kept in pieces."""

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t]*(.*)$")


@dataclass(slots=True)
class Fence:
    """A fenced code block that may still be growing."""

    language: str
    marker: str
    indent: int
    lines: list[str] = field(default_factory=list)
    """Complete lines of code, without their newline."""
    partial: str = ""
    """The line being written."""
    closed: bool = False
    joined: set[int] = field(default_factory=set)
    """Numbers of lines that are only pieces: no newline follows them."""
    colours: list[tuple[Run, ...]] | None = field(default=None, compare=False)
    """Highlighted lines, once the closed block was looked at as a whole."""

    @property
    def source(self) -> str:
        """The code exactly as written."""
        ends = ["" if number in self.joined else "\n" for number in range(len(self.lines))]
        return "".join([line + end for line, end in zip(self.lines, ends, strict=True)]) + self.partial

    def take(self, line: str) -> bool:
        """Add one complete line; True when it closes the fence."""
        if self.closes(line):
            self.closed = True
            self.partial = ""
            return True
        self.lines.append(self.hold(self.dedent(line)))
        return False

    def closes(self, line: str) -> bool:
        """Whether `line` is the closing marker; a line that goes on an unfinished one never is."""
        if len(line) > LONG_LINE or len(self.lines) - 1 in self.joined:
            return False
        stripped = line.strip(" \t")
        indent = len(line) - len(line.lstrip(" "))
        return (
            bool(stripped) and indent < 4 and len(stripped) >= len(self.marker) and not stripped.strip(self.marker[0])
        )

    def hold(self, line: str) -> str:
        """Keep all but the last piece of an endless line; the rest of it."""
        while len(line) > LONG_LINE:
            self.joined.add(len(self.lines))
            self.lines.append(line[:LONG_LINE])
            line = line[LONG_LINE:]
        return line

    def dedent(self, line: str) -> str:
        """`line` without the indentation of the opening marker."""
        if len(self.lines) - 1 in self.joined:
            return line
        spaces = len(line) - len(line.lstrip(" "))
        return line[min(spaces, self.indent) :]

    def hint(self, rest: str) -> None:
        """Note the incomplete last line; what may become the closing marker is not shown."""
        stripped = rest.strip(" ")
        looks_closing = bool(stripped) and not stripped.strip(self.marker[0])
        self.partial = "" if looks_closing else self.dedent(rest)


def open_fence(source: str) -> Fence | None:
    """The fence that `source` begins with (after blank lines and link definitions), with the lines it has so far."""
    lines = source.split("\n")
    while len(lines) > 1 and not _FENCE.match(lines[0]):
        lines.pop(0)
    match = _FENCE.match(lines[0])
    if match is None:
        return None
    words = match[3].split()
    fence = Fence(words[0] if words else "", match[2], len(match[1]))
    rest = lines.pop()
    for line in lines[1:]:
        if fence.take(line):
            return fence
    if lines:
        if fence.closes(rest):
            fence.closed = True
        else:
            fence.partial = fence.hold(fence.dedent(rest))
    return fence
