"""Differences as people read them, and patches as models write them. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

MOST_COMPARED: Final = 2_000
"""More changed lines than this are told as taken out and put in: comparing them takes the square of their number."""
MOST_FILES: Final = 100
LONGEST_PATCH: Final = 1 << 20
_HEADER: Final = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
AWAY: Final = "/dev/null"


class BadPatch(ValueError):
    """The patch cannot be read or does not fit; the text says where, for the model."""


def diff_of(path: str, before: str | None, after: str | None) -> str:
    """The difference of a file as a unified diff; None stands for a file that is not there."""
    old, new = (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True)
    head = f"--- {AWAY if before is None else f'a/{path}'}\n+++ {AWAY if after is None else f'b/{path}'}\n"
    same = _alike(old, new)
    first, keep = max(0, same - 3), max(0, _alike(old[same:][::-1], new[same:][::-1]) - 3)
    old_part, new_part = old[first : len(old) - keep], new[first : len(new) - keep]
    if max(len(old_part), len(new_part)) > MOST_COMPARED:
        return head + _whole(first, old_part, new_part)
    lines = list(difflib.unified_diff(old_part, new_part, n=3))[2:]
    return head + "".join(_moved(line, first) for line in lines)


def _alike(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _moved(line: str, by: int) -> str:
    if match := _HEADER.match(line):
        old, old_count, new, new_count = match.groups()
        old_text = f"{int(old) + by}" + (f",{old_count}" if old_count else "")
        new_text = f"{int(new) + by}" + (f",{new_count}" if new_count else "")
        return f"@@ -{old_text} +{new_text} @@\n"
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _whole(first: int, old: Sequence[str], new: Sequence[str]) -> str:
    taken = "".join(_moved(f"-{line}", 0) for line in old)
    put = "".join(_moved(f"+{line}", 0) for line in new)
    return f"@@ -{first + 1},{len(old)} +{first + 1},{len(new)} @@\n{taken}{put}"


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place of a patch: the lines that stand there, and those that will."""

    at: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(slots=True)
class FilePatch:
    """What a patch does to one file."""

    path: str
    made: bool = False
    taken: bool = False
    hunks: list[Hunk] = field(default_factory=list)


def parse_patch(text: str) -> list[FilePatch]:
    """The files of a unified diff. Raises BadPatch."""
    if len(text) > LONGEST_PATCH:
        raise BadPatch("The patch is too long.")
    lines, at = text.splitlines(keepends=True), 0
    found: list[FilePatch] = []
    while at < len(lines):
        if lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            found.append(_file_of(lines[at], lines[at + 1]))
            at += 2
        elif found and (match := _HEADER.match(lines[at])):
            hunk, at = _hunk(lines, at + 1, match)
            found[-1].hunks.append(hunk)
        elif lines[at].startswith(("rename ", "copy ", "GIT binary", "new file mode 12", "old mode", "new mode")):
            raise BadPatch(f"This cannot be patched: {lines[at].strip()[:80]!r}.")
        else:
            at += 1
    if not found or len(found) > MOST_FILES or any(not each.hunks for each in found):
        raise BadPatch("Write a unified diff: --- a/FILE, +++ b/FILE, and @@ -1,3 +1,4 @@ before each change.")
    if len({each.path for each in found}) != len(found):
        raise BadPatch("A file stands in the patch twice.")
    return found


def _file_of(old: str, new: str) -> FilePatch:
    before, after = (line[4:].split("\t")[0].strip() for line in (old, new))
    if before == AWAY == after:
        raise BadPatch("The patch names no file.")
    before, after = before.removeprefix("a/"), after.removeprefix("b/")
    if AWAY not in (before, after) and before != after:
        raise BadPatch("Files cannot be renamed by a patch.")
    return FilePatch(before if after == AWAY else after, made=before == AWAY, taken=after == AWAY)


def _hunk(lines: Sequence[str], at: int, match: re.Match[str]) -> tuple[Hunk, int]:
    wanted_old, wanted_new = (int(match[each]) if match[each] is not None else 1 for each in (2, 4))
    old: list[str] = []
    new: list[str] = []
    while at < len(lines) and (len(old) < wanted_old or len(new) < wanted_new or lines[at].startswith("\\")):
        sign, rest = lines[at][:1], lines[at][1:]
        if sign == "\\":
            _without_newline(lines[at - 1][:1], old, new)
        elif sign in (" ", "\n"):
            old.append(rest if sign == " " else "\n")
            new.append(old[-1])
        elif sign == "-":
            old.append(rest)
        elif sign == "+":
            new.append(rest)
        else:
            break
        at += 1
    if (len(old), len(new)) != (wanted_old, wanted_new):
        raise BadPatch(f"The numbers in {match[0]!r} do not fit the lines below it.")
    return Hunk(int(match[1]), tuple(old), tuple(new)), at


def _without_newline(sign: str, old: list[str], new: list[str]) -> None:
    for lines, signs in ((old, " -"), (new, " +")):
        if sign in signs and lines:
            lines[-1] = lines[-1].removesuffix("\n")


def patched(text: str, patch: FilePatch) -> str:
    """The text with the patch in it; a place may have moved, but its lines have to be there. Raises BadPatch."""
    lines, shift, after = text.splitlines(keepends=True), 0, 0
    for hunk in patch.hunks:
        wanted = max(0, hunk.at - (1 if hunk.old else 0)) + shift
        at = _place(lines, hunk, wanted, after)
        if at is None:
            raise BadPatch(f"The lines of the change near line {hunk.at} are not in {patch.path!r}; read it again.")
        lines[at : at + len(hunk.old)] = hunk.new
        after = at + len(hunk.new)
        shift = at - (wanted - shift) + len(hunk.new) - len(hunk.old)
    return "".join(lines)


def _place(lines: Sequence[str], hunk: Hunk, wanted: int, after: int) -> int | None:
    """Where the lines of a hunk stand: as near as can be to where it says, and only where that is certain."""
    size = len(hunk.old)
    if not size:
        return wanted if after <= wanted <= len(lines) else None
    places = [at for at in range(after, len(lines) - size + 1) if tuple(lines[at : at + size]) == hunk.old]
    if wanted in places:
        return wanted
    return places[0] if len(places) == 1 else None
