"""One folder takes another's place: at every moment there is either the old one or the new one.

Where the system can exchange two names at once, that is one step. Elsewhere it is two, and the one who comes next ends
what was cut short between them: the fresh folder says so itself, in a file that it holds until it is settled.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from local_store import files

MARK: Final = ".restoring"
FILLING: Final = b"filling\n"
MOVING: Final = b"moving\n"
EXCHANGE: Final = 2
"""RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS."""
HERE: Final = {"linux": -100, "darwin": -2}
UNABLE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM})

Exchange = Callable[[Path, Path], bool]


def exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False when the system cannot."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2" if sys.platform == "linux" else "renameatx_np", None)
    here = HERE.get(sys.platform)
    if rename is None or here is None:
        return False
    if rename(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(one))


@contextlib.contextmanager
def restoring(root: Path, timeout: float = 0.0) -> Iterator[None]:
    """Be the only one that puts something in the place of `root`; what was cut short earlier is ended first."""
    reason = f"{str(root)!r} is being restored or salvaged already"
    with files.hold_folder(root.parent, fcntl.LOCK_EX, reason, timeout), files.typed_errors(root):
        _end(root)
        yield


def settle(root: Path) -> None:
    """End a change that was cut short. Costs next to nothing when there is none. Raises StoreBusy while one runs."""
    root = root.resolve()
    if (root / MARK).exists() or (not root.exists() and any(_fresh_ones(root))):
        with restoring(root, timeout=60.0):
            pass


def prepare(root: Path) -> Path:
    """Return a new private folder that may take the place of `root`."""
    fresh = root.with_name(f".{root.name}.restore-{os.urandom(4).hex()}")
    fresh.mkdir(mode=0o700)
    files.write_private(fresh / MARK, FILLING)
    return fresh


def discard(fresh: Path) -> None:
    """Remove a folder that is not to take any place. Its mark goes last, so that it is known as one till then."""
    for path in fresh.iterdir():
        if path.name != MARK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (fresh / MARK).unlink(missing_ok=True)
    fresh.rmdir()


def put_in_place(fresh: Path, root: Path, exchange: Exchange = exchange) -> Path | None:
    """Let `fresh` be `root`; return where the old one is now, if there was one. What is in `fresh` is on the disk."""
    files.sync_folder(fresh)
    aside: Path | None = None
    if not root.exists():
        files.write_private(fresh / MARK, MOVING)
        fresh.rename(root)
    elif exchange(fresh, root):
        aside = _move_aside(fresh, root)
    else:
        files.write_private(fresh / MARK, MOVING)
        aside = _move_aside(root, root)
        fresh.rename(root)
    files.sync_folder(root.parent)
    (root / MARK).unlink()
    files.sync_folder(root)
    return aside


def _move_aside(old: Path, root: Path) -> Path:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = root.with_name(f"{root.name}-before-restore-{moment}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}-2")
    old.rename(aside)
    return aside


def _fresh_ones(root: Path) -> Iterator[Path]:
    return root.parent.glob(f".{root.name}.restore-*")


def _end(root: Path) -> None:
    for fresh in list(_fresh_ones(root)):
        mark = files.read_private(fresh / MARK)
        if mark == MOVING and not root.exists():
            fresh.rename(root)
        elif mark is not None:
            discard(fresh)
        else:
            # It was exchanged already, so this is the old store; or it was not even begun, and is empty.
            _rmdir_or_move_aside(fresh, root)
    (root / MARK).unlink(missing_ok=True)


def _rmdir_or_move_aside(fresh: Path, root: Path) -> None:
    try:
        fresh.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _move_aside(fresh, root)
