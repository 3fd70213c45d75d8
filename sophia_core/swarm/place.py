"""Where the worker of this machine is found, and where its things lie: all of it folders of the person's own."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sophia_core.paths import Paths


LONGEST_SOCKET: Final = 100
"""Bytes; systems take hardly more for the path of a socket."""


def socket_file(paths: Paths, slot: int = 1) -> Path:
    """Return where a worker takes words from processes of the same person: `poke`, `drain`."""
    path = paths.control_dir / "swarm" / f"worker-{slot}.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    # The folder's own path is too long for a socket, so that lies in a short one, named after the long one.
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
    return Path(tempfile.gettempdir(), f"sophia-{os.getuid()}", f"{name}.sock")


def private_folder(folder: Path) -> None:
    """Make it, for nobody but this person. Raises OSError where somebody else has it already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(1, f"the folder {folder} is somebody else's, or open to others")


def lock_file(paths: Paths, slot: int = 1) -> Path:
    """Return the file that a worker holds locked for as long as it lives: one a slot."""
    return paths.control_dir / "swarm" / f"worker-{slot}.lock"


def database_file(paths: Paths) -> Path:
    """Return where DBOS keeps what it has to know of runs, where no server was named."""
    return paths.store_dir.parent / "swarm" / "runs.db"


def log_file(paths: Paths) -> Path:
    """Return what a worker that nobody sees writes into."""
    return paths.log_file.with_name("worker.log")


def worktrees_dir(paths: Paths) -> Path:
    """Return where the worktrees of all runs lie: beside the store."""
    return paths.store_dir.with_name("worktrees")
