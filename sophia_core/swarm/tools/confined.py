"""Files of one folder and nothing else, whatever the names say and whoever changes the folder meanwhile.

Every path is walked from the folder's own descriptor, part by part, and no link is ever followed: there is no moment
between looking and opening in which something else could be put there. A file that has another name elsewhere, a pipe,
a device and git's own folder are out of reach. What is written is written beside and put in place at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from sophia_core.gate.rules import matches
from sophia_core.sanitize import sanitize

LARGEST: Final = 4 << 20
DEEPEST: Final = 40
LONGEST_PATH: Final = 1000
MOST_ENTRIES: Final = 20_000
SKIPPED: Final = frozenset({"node_modules", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".tox"})
"""Folders that are not looked through: nobody wrote what lies there."""
SECRETS: Final = (
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "id_rsa*", "id_ed25519*", "id_ecdsa*", "id_dsa*"),
    *(".netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", "credentials", "credentials.json"),
    *("**/.ssh/**", "**/.aws/**", "**/.gnupg/**", "**/.kube/**", "secrets.*", "service-account*.json"),
)
"""Names under which people keep what nobody should read."""
_SHOWN: Final = (".env.example", ".env.sample", ".env.template", ".env.dist")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class OutOfReach(ValueError):
    """The path cannot be used; the text says why, for the model."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder that was found."""

    path: str
    folder: bool
    size: int


def is_secret(path: str) -> bool:
    """Whether people keep secrets under such a name."""
    folded = path.casefold()
    return any(matches(each, folded) for each in SECRETS) and not any(matches(each, folded) for each in _SHOWN)


def parts_of(path: object, root: Path) -> tuple[str, ...]:
    """The parts of a path within the folder. Raises OutOfReach."""
    if not isinstance(path, str) or len(path) > LONGEST_PATH:
        raise OutOfReach("A path has to be a short text.")
    if sanitize(path) != path or "\n" in path or "\t" in path or "\\" in path:
        raise OutOfReach("The path holds characters that do not show, or backslashes.")
    for above in ("/project", str(root)):
        if path == above or path.startswith(f"{above}/"):
            path = path[len(above) :].lstrip("/")
    pure = PurePosixPath(path or ".")
    if pure.is_absolute() or ".." in pure.parts or path.startswith("~"):
        raise OutOfReach(f"{path!r} lies outside of the folder; name files from the folder on.")
    if any(is_git(part) for part in pure.parts):
        raise OutOfReach("Git's own files are not for tools.")
    if len(pure.parts) > DEEPEST:
        raise OutOfReach("The path is too deep.")
    return pure.parts


def is_git(part: str) -> bool:
    """Whether some file system would take the name for git's folder."""
    plain = "".join(char for char in unicodedata.normalize("NFKC", part) if unicodedata.category(char) != "Cf")
    return plain.casefold().rstrip(". ").split(":")[0] in (".git", "git~1")


class Confined:
    """A folder. All of it blocks, shortly."""

    def __init__(self, root: Path, *, hidden: Sequence[str] = ()) -> None:
        """`hidden` are patterns of files that are not there for whoever reads."""
        self.root, self.hidden = root.resolve(), tuple(hidden)

    def name(self, path: object) -> str:
        """The path as it lies in the folder, `.` for the folder itself. Raises OutOfReach."""
        return str(PurePosixPath(*parts_of(path, self.root)))

    def is_hidden(self, path: str) -> bool:
        """Whether a rule keeps it from being read."""
        return any(matches(each.casefold(), path.casefold()) for each in self.hidden)

    def covered(self) -> list[str]:
        """What is there and hidden, the topmost of it. Raises OutOfReach where there is too much to tell."""
        if not self.hidden:
            return []
        everything = [each.path for each in Confined(self.root).entries()]
        if len(everything) >= MOST_ENTRIES:
            raise OutOfReach("The folder has too many files to keep those from being read that rules name.")
        found = [path for path in everything if self.is_hidden(path)]
        return [each for each in found if not any(each.startswith(f"{above}/") for above in found)]

    def read(self, path: object, most: int = LARGEST) -> bytes:
        """The content of a file. Raises OutOfReach."""
        *above, last = self._file_parts(path)
        with self._folder(above) as folder, _told(path):
            file = os.open(last, _FILE, dir_fd=folder)
            try:
                _require_plain(os.fstat(file), path)
                content = _read_all(file, most + 1)
            finally:
                os.close(file)
        if len(content) > most:
            raise OutOfReach(f"{path!r} is larger than {most // 1024} KiB.")
        return content

    def read_or_none(self, path: object) -> bytes | None:
        """The content, None where there is no file of that name. Raises OutOfReach."""
        *above, last = self._file_parts(path)
        try:
            with self._folder(above) as folder:
                os.stat(last, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, _Missing):
            return None
        return self.read(path)

    def write(self, path: object, content: bytes, *, mode: int | None = None) -> None:
        """Puts a file in place, at once, with the folders above it. Raises OutOfReach."""
        *above, last = self._file_parts(path)
        with self._folder(above, make=True) as folder, _told(path):
            kept = _mode_of(folder, last, path)
            beside = f".{last[:80]}.{secrets.token_hex(6)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(beside, flags, 0o600, dir_fd=folder)
            try:
                _write_all(file, content)
                os.fchmod(file, (kept if mode is None else mode) & 0o777)
                os.fsync(file)
                os.rename(beside, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=folder)
                raise
            finally:
                os.close(file)

    def remove(self, path: object) -> None:
        """Takes a file away. Raises OutOfReach."""
        *above, last = self._file_parts(path)
        with self._folder(above) as folder, _told(path):
            _require_plain(os.stat(last, dir_fd=folder, follow_symlinks=False), path)
            os.unlink(last, dir_fd=folder)

    def entries(self, path: object = ".", *, deep: bool = True) -> Iterator[Entry]:
        """What lies in a folder, in order, without links and what is hidden. Raises OutOfReach."""
        yield from islice(self._walk(list(parts_of(path, self.root)), deep), MOST_ENTRIES)

    def _walk(self, parts: list[str], deep: bool) -> Iterator[Entry]:
        with self._folder(parts) as folder:
            listed = sorted(self._listed(folder), key=lambda each: each[0])
        for name, is_folder, size in listed:
            path = str(PurePosixPath(*parts, name))
            if self.is_hidden(path):
                continue
            yield Entry(path, is_folder, size)
            if is_folder and deep and name not in SKIPPED and len(parts) < DEEPEST:
                with contextlib.suppress(OutOfReach):
                    yield from self._walk([*parts, name], deep)

    def _listed(self, folder: int) -> list[tuple[str, bool, int]]:
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    plain = stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)
                    if plain and not is_git(entry.name) and sanitize(entry.name) == entry.name:
                        found.append((entry.name, stat.S_ISDIR(state.st_mode), state.st_size))
                if len(found) > MOST_ENTRIES:
                    break
        return found

    def _file_parts(self, path: object) -> tuple[str, ...]:
        parts = parts_of(path, self.root)
        if not parts:
            raise OutOfReach("A file has to be named.")
        if self.is_hidden(str(PurePosixPath(*parts))):
            raise OutOfReach(f"{path!r} is kept from tools by a rule.")
        return parts

    @contextmanager
    def _folder(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder within, reached without following any link. Raises OutOfReach."""
        where = "/".join(parts) or "."
        with _told(where):
            current = os.open(self.root, _DIRECTORY)
        try:
            for part in parts:
                with _told(where):
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, 0o777, dir_fd=current)
                    below = os.open(part, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


class _Missing(OutOfReach):
    """There is nothing of that name."""


@contextmanager
def _told(path: object) -> Iterator[None]:
    """Turns what the system says into words for the model."""
    try:
        yield
    except FileNotFoundError:
        raise _Missing(f"There is no {path!r}.") from None
    except OSError as error:
        links = error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
        why = "it is a link or lies behind one, or is no folder" if links else error.strerror or "the system refused"
        raise OutOfReach(f"{path!r} cannot be used: {why}.") from None


def _require_plain(state: os.stat_result, path: object) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise OutOfReach(f"{path!r} is no plain file.")
    if state.st_nlink > 1:
        raise OutOfReach(f"{path!r} has another name elsewhere, so it is left alone.")


def _mode_of(folder: int, name: str, path: object) -> int:
    """The mode of the file that is replaced, of a new one where there is none. Raises OutOfReach."""
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    _require_plain(state, path)
    return stat.S_IMODE(state.st_mode)


def _read_all(file: int, most: int) -> bytes:
    pieces, size = [], 0
    while size < most and (piece := os.read(file, min(1 << 20, most - size))):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _write_all(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
