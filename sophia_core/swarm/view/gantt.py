"""Steps as bars over time: when each waited for its turn, worked, and waited for a person. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone, cut
from sophia_core.present import cells
from sophia_core.swarm.view.shapes import RunView, StepView
from sophia_core.swarm.view.signs import lasted, sign, tone

LEAST_BAR: Final = 10
WIDEST_LABEL: Final = 28
ROUND: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
QUEUED, WORKED, WAITED = "░", "█", "▒"
ASCII: Final = {QUEUED: ".", WORKED: "#", WAITED: "~"}


@dataclass(frozen=True, slots=True)
class Scale:
    """From times to cells."""

    start: int
    end: int
    label: int
    bar: int

    def cell(self, at: int) -> int:
        """The cell of the bar for this time."""
        long = max(1, self.end - self.start)
        return min(self.bar - 1, max(0, (at - self.start) * self.bar // long))


def scale_of(view: RunView, now: int, width: int) -> Scale:
    """A scale for a whole run up to now, or to its end."""
    start = view.started_at or view.asked_at or view.at
    end = view.ended_at or max(now, view.at, start)
    longest = max((cells(each) for each in view.steps), default=0) + 2
    label = max(6, min(longest, WIDEST_LABEL, width // 3))
    return Scale(start, max(end, start + 1000), label, max(LEAST_BAR, width - label - 9))


def axis(scale: Scale, *, ascii_only: bool = False) -> Line:
    """The head: times since the start over the bars."""
    long = (scale.end - scale.start) / 1000
    apart = next((each for each in ROUND if long / each * 8 <= scale.bar), ROUND[-1] * max(1, int(long / ROUND[-1])))
    row = [" "] * (scale.bar + 8)
    at = 0
    while at <= long and at / apart < 200:
        x = int(at / long * scale.bar)
        for place, char in enumerate(("|" if ascii_only else "╷") + _clock(at)):
            if x + place < len(row):
                row[x + place] = char
        at += apart
    return (Piece(" " * (scale.label + 1)), Piece("".join(row).rstrip(), "muted"))


def _clock(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}s"
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}h" if hours else f"{minutes}:{left:02}"


def bar_row(step: StepView, scale: Scale, now: int, *, ascii_only: bool = False) -> Line:
    """One step."""
    name = f"{sign(step.state, ascii_only=ascii_only)} {step.id}"
    label = cut(name, scale.label, ascii_only=ascii_only)
    pieces = [Piece(label + " " * (scale.label - cells(label) + 1), tone(step.state))]
    pieces += _bar(step, scale, now, ascii_only)
    worked = (step.ended_at or now) - step.started_at if step.started_at else 0
    pieces.append(Piece(f" {lasted(worked):>7}" if worked else "", "muted"))
    return tuple(each for each in pieces if each.text)


def _bar(step: StepView, scale: Scale, now: int, ascii_only: bool) -> list[Piece]:
    signs = [" "] * scale.bar
    queued = step.queued_at or step.started_at
    end = step.ended_at or (now if step.state in ("queued", "running", "waiting") else 0) or queued
    if queued:
        _fill(signs, scale, queued, step.started_at or end, QUEUED)
    if step.started_at:
        _fill(signs, scale, step.started_at, end, WORKED)
        for begun, over in step.waits:
            _fill(signs, scale, begun, over or end, WAITED)
    return _pieces(signs, tone(step.state), ascii_only)


def _fill(signs: list[str], scale: Scale, start: int, end: int, char: str) -> None:
    for x in range(scale.cell(start), scale.cell(max(start, end)) + 1):
        signs[x] = char


def _pieces(signs: list[str], looks: Tone, ascii_only: bool) -> list[Piece]:
    """Runs of the same sign, each in its tone."""
    tones: dict[str, Tone] = {QUEUED: "muted", WORKED: looks, WAITED: "warning"}
    found: list[Piece] = []
    begun = 0
    for at in range(1, len(signs) + 1):
        if at == len(signs) or signs[at] != signs[begun]:
            char = signs[begun]
            found.append(Piece((ASCII.get(char, char) if ascii_only else char) * (at - begun), tones.get(char, "")))
            begun = at
    return found
