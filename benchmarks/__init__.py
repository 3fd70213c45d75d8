"""What SOPHIA costs, always beside a baseline measured in the same run.

Here is what the benchmarks share: how a child is started, how figures are summed up and shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 160, 48
"""The terminal that everything is measured on."""


def child_env(home: Path | None = None, url: str | None = None) -> dict[str, str]:
    """The environment of a measured program: none of this shell's settings, byte code kept, a full terminal.

    `home` is where SOPHIA keeps everything, `url` the server it asks.
    """
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX")
    env = {key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("SOPHIA_")}
    env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    env["SOPHIA_NO_KEYRING"] = "1"
    if home is not None:
        env["SOPHIA_HOME"] = str(home)
    if url is not None:
        env |= {"SOPHIA_BASE_URL": url, "SOPHIA_MODEL": "bench-model"}
    return env


def rank(values: Sequence[float], part: float) -> float:
    """The value that `part` (0 to 1) of the values do not exceed; 0.0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """How values lie."""

    p50: float
    p95: float
    p99: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of the values; zeros of none."""
    return Spread(rank(values, 0.5), rank(values, 0.95), rank(values, 0.99), max(values, default=0.0), len(values))


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process with the children it waited for; 0.0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes; 0.0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as aligned columns; the first row names them, floats are shown with two digits."""
    names = list(rows[0])
    shown = [names, *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in shown) for column in range(len(names))]
    lines = []
    for line in shown:
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  " + "  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
