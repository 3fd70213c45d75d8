"""Where the worker of this machine is found, and where its things lie: all of it folders of the person's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sophia_core.paths import Paths


def socket_file(paths: Paths, slot: int = 1) -> Path:
    """Return where a worker takes words from processes of the same person: `poke`, `drain`."""
    return paths.control_dir / "swarm" / f"worker-{slot}.sock"


def lock_file(paths: Paths, slot: int = 1) -> Path:
    """Return the file that a worker holds locked for as long as it lives: one a slot."""
    return paths.control_dir / "swarm" / f"worker-{slot}.lock"


def database_file(paths: Paths) -> Path:
    """Return where DBOS keeps what it has to know of runs, where no server was named."""
    return paths.store_dir.parent / "swarm" / "runs.db"


def log_file(paths: Paths) -> Path:
    """Return what a worker that nobody sees writes into."""
    return paths.log_file.with_name("worker.log")
