"""What stands beside the text of a message: a row each for calls of tools, results, images and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .entry import Aside
from .ink import Ink, Line, Toggle
from .wrap import fit, wrap

if TYPE_CHECKING:
    from .parts import Sheet

MOST_SHOWN = 60_000
"""Characters of an unfolded text."""
_KINDS = {"tool_call": "calls", "tool_result": "result", "image": "image", "file": "file"}
_STATES = {"waiting": "waiting", "asking": "waits for you: /approvals", "running": "running…"}
_STATES |= {"failed": "failed", "refused": "not run"}


def aside_line(aside: Aside, sheet: Sheet, toggle: Toggle, *, opened: bool) -> Line:
    """The row of one; a click unfolds it where there is more to see."""
    glyphs, more = sheet.glyphs, bool(aside.text.strip())
    mark = (glyphs.open if opened else glyphs.closed) if more else glyphs.dot
    said = [f"{mark} {_KINDS[aside.kind]}"]
    if aside.name:
        said.append(aside.name)
    if aside.kind == "tool_call" and not opened:
        said.append(" ".join(aside.text.split())[:200])
    facts = [_STATES.get(aside.status, ""), aside.media_type, size_of(aside.size), _lines(aside)]
    if sheet.glyphs.ellipsis != "…":
        facts[0] = facts[0].replace("…", "...")
    tail = "".join(f" {glyphs.dot} {fact}" for fact in facts if fact)
    head = fit(" ".join(said).rstrip(), max(4, sheet.room - len(tail)), glyphs.ellipsis)
    role = "error" if aside.status == "failed" else "aside"
    ink = Ink(role, action=toggle if more else None)
    return Line(((fit(head + tail, sheet.room, ""), ink),))


def _lines(aside: Aside) -> str:
    count = aside.text.rstrip("\n").count("\n") + 1
    return f"{count} lines" if aside.kind == "tool_result" and count > 1 else ""


def size_of(count: int | None) -> str:
    """A number of bytes as a person reads it."""
    if count is None:
        return ""
    size, units = float(count), ["B", "KB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "B" else f"{size:.1f} {units[0]}"


def shown_text(aside: Aside) -> str:
    """What unfolds."""
    text = aside.text.rstrip("\n")
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "\n(the rest is not shown)"


def aside_rows(text: str, sheet: Sheet) -> list[Line]:
    """Rows of an unfolded text, behind a bar."""
    return _barred(text, sheet, Ink("aside"), "  " + sheet.glyphs.quote + " ", sheet.room > 12)


def reason_rows(text: str, sheet: Sheet) -> list[Line]:
    """Rows of reasoning, behind a bar."""
    return _barred(text, sheet, Ink("reasoning"), sheet.glyphs.quote + " ", sheet.room > 8)


def _barred(text: str, sheet: Sheet, ink: Ink, bar: str, fits: bool) -> list[Line]:
    lead = len(bar) if fits else 0
    rows: list[Line] = []
    for row in text.rstrip("\n").split("\n"):
        room = sheet.room - lead
        for runs, joiner in wrap([(row.replace("\t", "    "), ink)], room, room):
            rows.append(Line(((bar, ink), *runs) if lead else tuple(runs), lead=lead, joiner=joiner))
    return rows


def trimmed_mark(text: str, sheet: Sheet) -> list[Line]:
    """A row that parts what is above from what is below."""
    rule, words = sheet.glyphs.rule, fit(f" {text} ", max(1, sheet.room - 4), sheet.glyphs.ellipsis)
    row = rule * 2 + words + rule * max(0, sheet.room - 2 - len(words))
    return [Line(((fit(row, sheet.room, ""), Ink("trimmed")),), lead=len(row)), Line()]
