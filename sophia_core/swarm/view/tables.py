"""The lists of the pane: runs, steps as agents, what waits for a person, what was given up, workers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sophia_core.metrics.view.text import Line, Tone
from sophia_core.present import ago
from sophia_core.sanitize import one_line
from sophia_core.swarm.rows import DeadRow, RunRow, worker_row
from sophia_core.swarm.run_log import Live, WorkerSeen
from sophia_core.swarm.view.columns import Column, Columns
from sophia_core.swarm.view.shapes import Asked, StepView
from sophia_core.swarm.view.signs import lasted, money, sign, tokens, tone

RUNS: Final = (
    Column("Run", 16, grows=3),
    Column("State", 11),
    Column("Steps", 7, right=True),
    Column("You", 3, right=True, rank=1),
    Column("Tokens", 8, right=True, rank=3),
    Column("Cost", 9, right=True, rank=4),
    Column("Changed", 10, right=True, rank=2),
    Column("Plan", 12, rank=5, grows=1),
)
AGENTS: Final = (
    Column("Step", 12, grows=1),
    Column("State", 11),
    Column("Who", 9, rank=4),
    Column("Time", 7, right=True, rank=1),
    Column("Tokens", 8, right=True, rank=2),
    Column("Cost", 9, right=True, rank=5),
    Column("Tok/s", 5, right=True, rank=3),
    Column("What it does", 18, grows=4),
)
WAITING: Final = (
    Column("What is asked", 24, grows=4),
    Column("Tool", 12, rank=1),
    Column("Where", 14, rank=2, grows=1),
    Column("Since", 8, right=True, rank=3),
)
DEAD: Final = (
    Column("Step", 10, grows=1),
    Column("Why", 24, grows=3),
    Column("Tries", 5, right=True, rank=2),
    Column("Run", 14, rank=1, grows=1),
    Column("When", 10, right=True, rank=3),
)
WORKERS: Final = (
    Column("Worker", 16, grows=2),
    Column("State", 9),
    Column("Busy", 6, right=True),
    Column("Host", 12, rank=1, grows=1),
    Column("Seen", 8, right=True, rank=2),
    Column("Version", 10, rank=4),
    Column("Labels", 12, rank=3, grows=1),
)


def run_line(row: RunRow, columns: Columns, now: int) -> Line:
    """One run of the list."""
    state = f"{sign(row.status, ascii_only=columns.ascii_only)} {row.status}"
    waiting: tuple[str, Tone] = (str(row.waiting), "warning") if row.waiting else ("", "")
    changed = ago(row.updated_at, now)
    return columns.row(
        [
            (row.title, ""),
            (state, tone(row.status)),
            (row.steps, ""),
            waiting,
            (tokens(row.tokens), ""),
            (money(row.cost), ""),
            (changed, "muted"),
            (row.plan, "muted"),
        ]
    )


def agent_line(step: StepView, live: Live | None, columns: Columns, now: int) -> Line:
    """One step, as the agent that does it."""
    state = f"{sign(step.state, ascii_only=columns.ascii_only)} {step.state}"
    used = step.tokens_in + max(step.tokens_out, live.tokens_out if live else 0)
    speed = live.tokens_per_s if live and live.tokens_per_s > 0 else step.tokens_per_s
    took = lasted((step.ended_at or now) - step.started_at) if step.started_at else "–"
    words, looks = doing(step, live)
    return columns.row(
        [
            (step.id, ""),
            (state, tone(step.state)),
            (step.role if step.kind == "agent" else step.kind, "muted"),
            (took, ""),
            (tokens(used), ""),
            (money(step.cost, guessed=step.cost_known not in ("", "reported")), ""),
            (f"{speed:.0f}" if 0 < speed < 1e5 else "", ""),
            (words, looks),
        ]
    )


def doing(step: StepView, live: Live | None) -> tuple[str, Tone]:
    """What a step does now, or how it ended, in a few words."""
    if step.waiting:
        return "waits for you", "warning"
    if step.state in ("running", "queued") and live is not None and live.action:
        return one_line(live.action, 120), "accent"
    if step.error:
        return step.error, "bad" if step.state == "failed" else "warning"
    if step.state == "finished":
        return one_line(step.result[:200], 120) if step.result else "done", "muted"
    if step.state == "running":
        last = step.calls[-1] if step.calls else None
        if last is not None and last.ok is None:
            return f"uses {last.what}", "accent"
        return f"asks {step.model}" if step.model else "works", "accent"
    return one_line(step.goal[:200], 120), "muted"


def asked_line(asked: Asked, columns: Columns, now: int, titles: Mapping[str, str]) -> Line:
    """One request that waits for a person."""
    where = " · ".join(filter(None, (titles.get(asked.run, asked.origin), asked.step)))
    if asked.origin == "input":
        return columns.row([(asked.what, ""), ("question", "accent"), (where, ""), (ago(asked.at, now), "muted")])
    return columns.row(
        [(asked.what or asked.command, ""), (asked.tool, "warning"), (where, ""), (ago(asked.at, now), "muted")]
    )


def dead_line(row: DeadRow, columns: Columns, now: int) -> Line:
    """One step that was given up."""
    why = " ".join(filter(None, (row.error, row.hint)))
    return columns.row(
        [(row.step, ""), (why, "bad"), (str(row.attempts), ""), (row.title, "muted"), (ago(row.at, now), "muted")]
    )


def worker_line(seen: WorkerSeen, columns: Columns, now: int) -> Line:
    """One worker."""
    row = worker_row(seen, now / 1000)
    looks: Tone = {"working": "good", "lost": "bad", "draining": "warning"}.get(row.state, "muted")  # type: ignore[assignment]
    return columns.row(
        [
            (row.worker, ""),
            (row.state, looks),
            (row.busy, ""),
            (row.host, ""),
            (lasted(max(0, now - seen.at)), "muted"),
            (row.version, "muted"),
            (" ".join(row.labels), "muted"),
        ]
    )
