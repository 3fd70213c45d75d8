"""Sequence diagrams: who says what to whom, in the order of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from .canvas import Canvas
from .labels import label, wrapped

MOST = 200
"""Messages beyond which nothing is drawn."""

_PERSON = re.compile(r"(?:create )?(?:participant|actor)\s+(.+?)(?:\s+as\s+(.+))?$")
_SAID = re.compile(r"(.+?)\s*(<?<?-{1,2}(?:>>|>|x|\)))\s*[+-]?\s*(.+?)\s*:\s*(.*)$")
_NOTE = re.compile(r"[Nn]ote\s+(over|left of|right of)\s+([^:]+):\s*(.*)$")
_BLOCK = re.compile(r"(loop|alt|opt|par|critical|break|else|and|option|rect|end)\b\s*(.*)$")
_SKIPPED = ("activate ", "deactivate ", "autonumber", "destroy ", "box", "accTitle", "accDescr", "links ", "link ")


@dataclass(frozen=True, slots=True)
class Said:
    """A message; or a note or the edge of a block, where nobody hears it."""

    start: str
    end: str
    text: str
    dashed: bool = False
    sign: str = "▶"


def draw_sequence(lines: Sequence[str], width: int, *, ascii_only: bool) -> list[str] | None:
    """Its rows; None where it cannot be read."""
    found = read(lines)
    if found is None:
        return None
    people, said = found
    places = _columns(list(people), people, said)
    if not places or places[list(people)[-1]] + cell_len(list(people.values())[-1]) // 2 + 2 > width:
        return _fitted(_listed(people, said, ascii_only), width)
    rows = _drawn(people, said, places).rows(ascii_only=ascii_only)
    return rows if max(map(cell_len, rows)) <= width else _fitted(_listed(people, said, ascii_only), width)


def read(lines: Sequence[str]) -> tuple[dict[str, str], list[Said]] | None:
    """Who takes part, by name, and what happens."""
    people: dict[str, str] = {}
    said: list[Said] = []
    for line in lines:
        if match := _PERSON.match(line):
            people[match[1].strip()] = label(match[2] or match[1]).replace("\n", " ")
        elif match := _NOTE.match(line):
            names = [each.strip() for each in match[2].split(",")]
            for name in names:
                people.setdefault(name, name)
            said.append(Said(names[0], "", label(match[3]).replace("\n", " ")))
        elif match := _BLOCK.match(line):
            said.append(Said("", "", match[1] + (f" [{label(match[2])}]" if match[2] else "")))
        elif match := _SAID.match(line):
            sign = "×" if match[2].endswith("x") else "▶"
            for name in (match[1].strip(), match[3].strip()):
                people.setdefault(name, name)
            text = label(match[4]).replace("\n", " ")
            said.append(Said(match[1].strip(), match[3].strip(), text, "--" in match[2], sign))
        elif not line.startswith(_SKIPPED) and not line.startswith("title"):
            return None
    return (people, said) if people and len(said) <= MOST else None


def _columns(names: list[str], people: dict[str, str], said: Sequence[Said]) -> dict[str, int]:
    """The column of everybody's line, with room for what is said between neighbours."""
    places = {names[0]: cell_len(people[names[0]]) // 2 + 2}
    index = {name: number for number, name in enumerate(names)}
    for number, name in enumerate(names[1:], 1):
        before = names[number - 1]
        place = places[before] + (cell_len(people[before]) + cell_len(people[name])) // 2 + 6
        for each in said:
            ends = sorted((index.get(each.start, -1), index.get(each.end, -1)))
            if ends[1] == number and 0 <= ends[0] < number:
                place = max(place, places[names[ends[0]]] + cell_len(each.text) + 6)
            elif ends[0] == ends[1] == number - 1:
                place = max(place, places[before] + cell_len(each.text) + 7)
        places[name] = place
    return places


def _drawn(people: dict[str, str], said: Sequence[Said], places: dict[str, int]) -> Canvas:
    canvas, y = Canvas(), 3
    right = max(places.values())
    for each in said:
        if not each.start:
            word = each.text
            canvas.write(0, y, f"┄ {word} " + "┄" * max(0, right + 2 - cell_len(word) - 3))
            y += 1
        elif not each.end:
            canvas.write(places[each.start] + 2, y, f"[{each.text}]")
            y += 1
        elif each.start == each.end:
            x = places[each.start]
            canvas.write(x + 1, y, "──┐ " + each.text)
            canvas.write(x + 1, y + 1, "◀─┘")
            y += 2
        else:
            _arrow(canvas, y, places[each.start], places[each.end], each)
            y += 2
    for name, place in places.items():
        text = people[name]
        wide = cell_len(text) + 4
        canvas.box(place - wide // 2, 0, wide, [text], "square")
        canvas.down(place, 3, y)
    return canvas


def _arrow(canvas: Canvas, y: int, start: int, end: int, said: Said) -> None:
    left, right = min(start, end), max(start, end)
    room = right - left - 1
    canvas.write(left + 1 + max(0, (room - cell_len(said.text)) // 2), y, said.text)
    line = ("┄" if said.dashed else "─") * (room - 1)
    head = said.sign if end > start or said.sign == "×" else "◀"
    canvas.write(left + 1, y + 1, line + head if end > start else head + line)


def _fitted(rows: Sequence[str], width: int) -> list[str]:
    return [part for row in rows for part in wrapped(row, width)]


def _listed(people: dict[str, str], said: Sequence[Said], ascii_only: bool) -> list[str]:
    """What is said, a row each: what remains readable at any width."""
    arrow, dashed = ("->", "-->") if ascii_only else ("→", "⇢")
    rows = []
    for each in said:
        if not each.start:
            rows.append(f"- {each.text}" if ascii_only else f"┄ {each.text}")
        elif not each.end:
            rows.append(f"[{people[each.start]}: {each.text}]")
        else:
            sign = dashed if each.dashed else arrow
            rows.append(f"{people[each.start]} {sign} {people[each.end]}: {each.text}")
    return rows
