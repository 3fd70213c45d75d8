"""A run in one or two lines: how it goes, what it used, where one stands in its history. Pure."""

from __future__ import annotations

from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone, bar, cut, fitted
from sophia_core.present import cells
from sophia_core.swarm.view.shapes import RunView
from sophia_core.swarm.view.signs import lasted, money, sign, tokens, tone

PROGRESS: Final = 12
NOTHING_YET: Final = "Choose a plan or a run, and press Enter."


def header(view: RunView | None, now: int, width: int, *, at: int | None = None, ascii_only: bool = False) -> Line:
    """The run's name and state, and as many figures as there is room for."""
    if view is None:
        return (Piece(NOTHING_YET, "muted"),)
    status = view.status if view.number else "planned"
    figures = _figures(view, now, at)
    said = f"{sign(status, ascii_only=ascii_only)} {status}"
    parts: list[Piece] = []
    while True:
        parts = [Piece("  "), Piece(said, tone(status)), Piece("  ")]
        parts += _progress(view, ascii_only)
        for words, looks in figures:
            parts += [Piece("  "), Piece(words, looks)]
        room = width - sum(cells(each.text) for each in parts)
        if room >= min(cells(view.title), 16) or not figures:
            break
        figures.pop()
    title = cut(view.title or view.id[:8], max(8, room), ascii_only=ascii_only)
    return fitted((Piece(title, "title"), *parts), width, ascii_only=ascii_only)


def _progress(view: RunView, ascii_only: bool) -> list[Piece]:
    share = view.done / view.total if view.total else None
    looks: Tone = "bad" if view.counts.get("failed") else "good"
    drawn = bar(share, PROGRESS, looks, ascii_only=ascii_only)
    return [*drawn, Piece(f" {view.done}/{view.total}")]


def _figures(view: RunView, now: int, at: int | None) -> list[tuple[str, Tone]]:
    """What is told, most wanted first; against what was thought, where something was."""
    found: list[tuple[str, Tone]] = []
    if view.waiting:
        found.append((f"{view.waiting} for you", "warning"))
    if view.dead:
        found.append((f"{len(view.dead)} given up", "bad"))
    guess = view.estimate
    end = view.ended_at or (view.at if at is not None else now)
    took = lasted(end - view.started_at) if view.started_at else "–"
    found.append((_against(took, lasted(guess.seconds * 1000) if guess.seconds else ""), ""))
    used = _against(tokens(view.tokens_in + view.tokens_out), tokens(guess.tokens) if guess.tokens else "")
    found.append((f"{used} tok", _limit(view, "tokens")))
    if view.cost or guess.cost:
        spent = money(view.cost, guessed=view.cost_guessed)
        found.append((_against(spent, money(guess.cost) if guess.cost else ""), _limit(view, "money")))
    return found


def _against(used: str, thought: str) -> str:
    return f"{used} of ~{thought}" if thought else used


def _limit(view: RunView, which: str) -> Tone:
    marks = [each for (name, _), each in view.budgets.items() if name == which]
    if any(each.reached for each in marks):
        return "bad"
    return "warning" if marks else ""


def ending(view: RunView) -> tuple[str, Tone]:
    """How it ended, or what it waits for, in a sentence; empty while it simply runs."""
    if view.status == "failed":
        at = f" in {view.failed_step}" if view.failed_step else ""
        return " ".join(
            filter(None, (f"Failed{at}: {view.error or 'nobody said why'}.".replace("..", "."), view.hint))
        ), "bad"
    if view.status == "cancelled":
        return f"Cancelled{': ' + view.error if view.error else ''}.", "muted"
    reached = next((each for each in view.budgets.values() if each.reached), None)
    if reached is not None:
        return f"The budget is used up: {reached.which} {reached.used:g} of {reached.limit:g}.", "bad"
    if view.status == "paused":
        return "Paused. Space goes on.", "warning"
    if view.waiting:
        first = next(iter([*view.approvals.values(), *view.inputs.values()]))
        return f"{first.step or 'The run'} waits for you: {first.what}", "warning"
    return "", ""


def slider(at: int | None, view: RunView, newest: int, width: int, *, ascii_only: bool = False) -> Line:
    """Where one stands among the events."""
    stand = newest if at is None else at
    when = f"after {lasted(view.at - view.started_at)}" if view.at > view.started_at > 0 else "before it began"
    if at is None:
        words = f" live  {newest} events"
    else:
        about = " ".join(filter(None, (view.last, view.last_step)))
        words = f" {stand} of {newest}  {when}  {about}"
    words = cut(words, max(10, width * 2 // 3), ascii_only=ascii_only)
    long = max(6, width - cells(words) - 2)
    place = 0 if newest <= 1 else (stand - 1) * (long - 1) // (newest - 1)
    place = max(0, min(long - 1, place))
    rail = "-" if ascii_only else "─"
    thumb = "o" if ascii_only else "●"
    looks: Tone = "muted" if at is None else "warning"
    left, right = ("|", "|") if ascii_only else ("├", "┤")
    return (
        Piece(left + rail * place, "muted"),
        Piece(thumb, "good" if at is None else "warning"),
        Piece(rail * (long - place - 1) + right, "muted"),
        Piece(words, looks),
    )


def event_at(x: int, newest: int, long: int) -> int:
    """The event that a cell of the slider stands for."""
    return max(1, min(newest, 1 + round((x - 1) * (newest - 1) / max(1, long - 1))))
