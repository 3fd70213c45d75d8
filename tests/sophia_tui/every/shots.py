"""What is on the screen, as text that stays the same from run to run and from machine to machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import App

FOLDER = Path(__file__).parents[1] / "snapshots"
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?"), "DATE"),
    (re.compile(r"^ *\d\d:\d\d\b"), "TIME"),
    (re.compile(r" · first token [\d.]+ s|( ·|  )? ?[\d,.]+ tok/s"), ""),
    (re.compile(r"·\s*$"), ""),
    (re.compile(r"^ *first token [\d.]+ s"), ""),
    (re.compile(r"\b\d+m · (?=\d)"), "now · "),
    (re.compile(r"\b\d+(\.\d+)? (tok/s|ms|s)\b"), "# s"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
)
"""What differs from run to run, and what is written for it."""
GAP = re.compile(r"(?<=\S) {2,}(?=\S)")


def screen_text(app: App[Any], *, home: Path) -> str:
    """The rows of the screen that is shown, without what differs from run to run."""
    rows = ["".join(segment.text for segment in line) for line in _lines(app)]
    return "\n".join(_steady(row, home).rstrip() for row in rows) + "\n"


def _steady(row: str, home: Path) -> str:
    """A row in which what changes is written in one way; where it stands in a frame, the frame stays where it is."""
    named = row.replace(str(home), "/tmp/".ljust(len(str(home)), "h"))
    framed = named.rstrip().endswith(("│", "|"))
    changed = named
    for pattern, word in CHANGING:
        changed = pattern.sub(lambda found, word=word: word.ljust(len(found[0])) if framed else word, changed)  # type: ignore[misc]
    return changed if framed or changed == named else GAP.sub("  ", changed)


def screen_styles(app: App[Any]) -> str:
    """Which parts of each row are not plain, by the names that the theme has for its colours."""
    names = _colour_names(app)
    plain = (names.get(_hex_of(app, "foreground"), ""), names.get(_hex_of(app, "background"), ""))
    out = []
    for number, line in enumerate(_lines(app)):
        text = "".join(segment.text for segment in line)
        runs = [f"{start}-{end} {what}" for start, end, what in _runs(line, names, plain)]
        # Where its parts begin and end differs from run to run, too.
        if " tokens" in text or _steady(text, Path("/nowhere")) != text:
            runs = ["differs"]
        if runs:
            out.append(f"{number}: {', '.join(runs)}")
    return "\n".join(out) + "\n"


def _lines(app: App[Any]) -> list[list[Segment]]:
    return [list(strip) for strip in app.screen._compositor.render_strips()]


def _runs(line: list[Segment], names: dict[str, str], plain: tuple[str, str]) -> Iterator[tuple[int, int, str]]:
    at, begun, before = 0, 0, ""
    for segment in line:
        what = _words(segment.style, names, plain)
        if what != before:
            if before and at > begun:
                yield begun, at, before
            begun, before = at, what
        at += segment.cell_length
    if before and at > begun:
        yield begun, at, before


def _words(style: Style | None, names: dict[str, str], plain: tuple[str, str]) -> str:
    if style is None:
        return ""
    said = [word for word in ("bold", "dim", "italic", "underline", "reverse", "strike") if getattr(style, word)]
    front, back = _name(style.color, names), _name(style.bgcolor, names)
    said += [front] if front and front != plain[0] else []
    said += [f"on {back}"] if back and back != plain[1] else []
    return " ".join(said)


def _name(colour: Color | None, names: dict[str, str]) -> str:
    if colour is None or colour.triplet is None:
        return ""
    return names.get(colour.triplet.hex.lower(), "mixed")


def _colour_names(app: App[Any]) -> dict[str, str]:
    wanted = (
        "error",
        "warning",
        "success",
        "accent",
        "secondary",
        "primary",
        "panel",
        "surface",
        "foreground",
        "background",
    )
    return {_hex_of(app, name): name for name in wanted}


def _hex_of(app: App[Any], name: str) -> str:
    return str(app.get_css_variables().get(name, "")).lower()[:7]
