"""What the metrics pane shows, as lines: for the screen with tones, for `sophia metrics` as they are. Pure."""

from __future__ import annotations

from typing import Final

from sophia_core.metrics.view.cards import overview
from sophia_core.metrics.view.sections import TITLES, Section, table_of, trouble_words
from sophia_core.metrics.view.seen import Seen
from sophia_core.metrics.view.table import Table, laid_out
from sophia_core.metrics.view.text import Line, Piece, Tone, fitted, words
from sophia_core.metrics.view.words import many
from sophia_core.sanitize import one_line

LEVEL_TONES: Final[tuple[Tone, ...]] = ("good", "warning", "warning", "warning", "bad")


def header(seen: Seen, width: int, *, paused: bool = False, ascii_only: bool = False) -> Line:
    """How all targets are, where the next question goes, and how much is wrong."""
    parts: list[Piece] = []
    if paused:
        parts.append(Piece("paused", "warning"))
    parts.append(_health(seen))
    if seen.level_text:
        route = next((one_line(way.provider, 40) for way in seen.ways if way.verdict == "asked first"), "")
        to = f" via {route}" if route else ""
        parts.append(Piece(f"L{seen.level} {seen.level_text}{to}", LEVEL_TONES[min(4, max(0, seen.level))]))
    if seen.note:
        parts.append(Piece(one_line(seen.note, 200), "warning"))
    if alerts := trouble_words(seen):
        parts.append(Piece(alerts, "bad"))
    if breached := sum(each.state == "breached" for each in seen.objectives):
        parts.append(Piece(f"{many(breached, 'objective')} missed", "bad"))
    joined: list[Piece] = []
    for each in parts:
        joined += [Piece(" - " if ascii_only else " · ", "muted"), each]
    return fitted(joined[1:], width, ascii_only=ascii_only)


def _health(seen: Seen) -> Piece:
    if not seen.targets:
        return Piece("no targets", "muted")
    readings = [seen.readings[each.name] for each in seen.targets if each.name in seen.readings]
    up = sum(each.health == "up" for each in readings)
    stale = sum(each.health == "stale" for each in readings)
    down = sum(each.health == "down" for each in readings)
    told = f"{up} of {many(len(seen.targets), 'target')} up"
    told += f", {stale} stale" if stale else ""
    told += f", {down} down" if down else ""
    return Piece(told, "bad" if down else "warning" if stale else "good" if up else "muted")


def table_lines(table: Table, width: int, *, ascii_only: bool = False) -> list[Line]:
    """A table with its titles; what there is instead of rows where there are none."""
    titles, rows = laid_out(table, width, ascii_only=ascii_only)
    return [titles, *rows] if rows else [(Piece(table.empty, "muted"),)]


def body(
    seen: Seen, section: Section, width: int, sort: str = "", *, down: bool | None = None, ascii_only: bool = False
) -> list[Line]:
    """The lines of any section but the plot."""
    if section in ("overview", "plot"):
        return overview(seen, width, ascii_only=ascii_only)
    return table_lines(table_of(seen, section, sort, down=down, ascii_only=ascii_only), width, ascii_only=ascii_only)


def page(seen: Seen, width: int, *, ascii_only: bool = False) -> list[str]:
    """Everything, one section below the other, as plain text: what `sophia metrics` prints."""
    lines = [words(header(seen, width, ascii_only=ascii_only)), ""]
    lines += [words(each).rstrip() for each in overview(seen, width, ascii_only=ascii_only)]
    for section, title in TITLES.items():
        if section in ("overview", "plot", "targets" if not seen.targets else ""):
            continue
        table = table_of(seen, section, ascii_only=ascii_only)
        if table.rows:
            lines += ["", title, *(f"  {words(each).rstrip()}" for each in _rows(table, width - 2, ascii_only))]
    return lines


def _rows(table: Table, width: int, ascii_only: bool) -> list[Line]:
    return table_lines(table, width, ascii_only=ascii_only)
