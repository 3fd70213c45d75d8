"""Where bridges are to be found: an address and a token in a private file, for as long as somebody keeps it there.

`SOPHIA_VOICE_BRIDGE` (a port of this machine, or the path of a socket) with `SOPHIA_VOICE_TOKEN_FILE` or
`SOPHIA_VOICE_TOKEN` comes first; then the files that `sophia voice join` leaves, the newest first. A token is never an
argument of a command, because everybody on a machine can read those.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ADDRESS_ENV: Final = "SOPHIA_VOICE_BRIDGE"
TOKEN_ENV: Final = "SOPHIA_VOICE_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE_ENV: Final = "SOPHIA_VOICE_TOKEN_FILE"  # noqa: S105
LONGEST_FILE: Final = 4_096
LONGEST_PATH: Final = 100
"""The kernel takes 107 bytes on Linux and 103 on macOS."""
TOKEN: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bridge listens, and what proves that we may use it."""

    address: str
    """A port of this machine, like `8767`, or the path of a socket."""
    token: str = field(repr=False)
    name: str = ""
    """Whose devices they are."""

    @property
    def port(self) -> int | None:
        """The port; None for a socket."""
        return int(self.address) if self.address.isdecimal() else None


def find(folder: Path, env: Mapping[str, str] | None = None) -> list[Place]:
    """Return the bridges that somebody announced, the best first; nobody may listen there any more."""
    env = os.environ if env is None else env
    return [*_of_environment(env), *(place for path in _files(folder) if (place := _read(path)))]


@contextlib.contextmanager
def announced(folder: Path, place: Place) -> Iterator[Path]:
    """Let SOPHIA on this machine find that bridge, until this ends. Raises OSError."""
    private_folder(folder)
    path = folder / f"{secrets.token_hex(8)}.bridge"
    words = {"address": place.address, "token": place.token, "name": place.name, "pid": os.getpid()}
    write_private(path, json.dumps(words))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a new file that nobody else can read. Raises OSError."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def private_folder(folder: Path) -> None:
    """Make a folder that nobody else can look into. Raises OSError, also where it belongs to somebody else."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise PermissionError(f"{str(folder)!r} belongs to somebody else")
    folder.chmod(0o700)


def new_socket(folder: Path) -> Path | None:
    """Return a new place for a socket in a private folder; None where the folder's path is too long for one.

    Sockets of ended bridges are removed. Raises OSError.
    """
    private_folder(folder)
    tidy(folder)
    path = folder / f"{os.getpid()}-{secrets.token_hex(8)}.voice"
    return path if len(os.fsencode(path)) <= LONGEST_PATH else None


def tidy(folder: Path) -> None:
    """Remove what was left by processes that were killed."""
    for path in _files(folder):
        words = _words(path)
        if words is None or not _lives(words.get("pid")):
            path.unlink(missing_ok=True)
    for path in folder.glob("*.voice"):
        pid = path.name.partition("-")[0]
        if not (pid.isdecimal() and _lives(int(pid))):
            path.unlink(missing_ok=True)


def parse_address(text: str) -> str | None:
    """Return a port of this machine or an absolute path as written; None for what is neither."""
    port = text.rpartition(":")[2] if text.startswith(("127.0.0.1:", "localhost:", "[::1]:")) else text
    if port.isascii() and port.isdecimal():
        return port if 0 < int(port) < 65_536 else None
    return text if text.startswith("/") and "\0" not in text and len(os.fsencode(text)) <= LONGEST_PATH else None


def is_token(text: str) -> bool:
    """Say whether this has the form of a token."""
    return TOKEN.fullmatch(text) is not None


def _of_environment(env: Mapping[str, str]) -> Iterator[Place]:
    address = parse_address(env.get(ADDRESS_ENV, "").strip())
    token = env.get(TOKEN_ENV, "").strip()
    if not token and (file := env.get(TOKEN_FILE_ENV)):
        token = (_private_text(Path(file).expanduser()) or "").strip()
    if address and is_token(token):
        yield Place(address, token)


def _files(folder: Path) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for path in folder.glob("*.bridge"):
            with contextlib.suppress(OSError):
                found.append((path.lstat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _read(path: Path) -> Place | None:
    words = _words(path)
    if words is None or not _lives(words.get("pid")):
        return None
    address, token, name = parse_address(str(words.get("address"))), str(words.get("token")), str(words.get("name"))
    return Place(address, token, name[:100]) if address and is_token(token) else None


def _words(path: Path) -> dict[str, object] | None:
    try:
        words = json.loads(_private_text(path) or "")
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, dict) else None


def _private_text(path: Path) -> str | None:
    """The text of a file that is ours, and that nobody else could have written or read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
            return None
        return file.read(LONGEST_FILE).decode("utf-8", "replace")


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or not 0 < pid < 1 << 31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
