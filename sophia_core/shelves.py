"""Folders of small TOML files: those that came with the app, the person's own, and those of the folder they work in.

A folder's files come from whoever wrote the folder, so a person looks at one before it first counts. What was trusted
is its text: change a letter, and it asks again. Macros and personas lie so.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from sophia_core.config_file import Problem, write_atomically
from sophia_core.sanitize import sanitize

MOST_FILES: Final = 500
LONGEST_FILE: Final = 256 * 1024
MOST_DOTS: Final = 256
"""In one line of a file from elsewhere: reading a dotted key takes the square of its parts, minutes in a file of
them."""


class Shelved(Protocol):
    """What a file holds."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path | None: ...
    @property
    def digest(self) -> str: ...
    @property
    def project(self) -> bool: ...


Item = TypeVar("Item", bound=Shelved)
Read: TypeAlias = Callable[[Path, bool], tuple[Item | None, list[Problem]]]
"""Reads a file; the flag says that it came with a folder."""


@dataclass(slots=True)
class Shelf(Generic[Item]):
    """What there is now, by name, and what is wrong with the other files."""

    named: dict[str, Item] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seen: tuple[tuple[str, int, int], ...] = ()
    """Path, time and size of every file that was read."""


class Shelves(Generic[Item]):
    """Reads the files, and keeps what was trusted. All of it blocks, shortly."""

    def __init__(self, shipped: Path, project: Path, own: Path, trusted: Path, read: Read[Item], kind: str) -> None:
        """`kind` is what a person calls one of them."""
        self.own, self.project, self._shipped = own, project, shipped
        self._trusted, self._read, self._kind = trusted, read, kind
        self._shelf: Shelf[Item] = Shelf()

    def look(self) -> Shelf[Item]:
        """Return what there is; files that did not change are not read again. A person's own win over shipped ones."""
        files = list(self._files())
        seen = tuple(_signature(path) for path, _ in files)
        if seen != self._shelf.seen or not seen:
            shelf: Shelf[Item] = Shelf(seen=seen)
            for path, project in files:
                item, problems = self._read(path, project)
                shelf.problems += problems
                if item is not None:
                    self._place(item, shelf)
            self._shelf = shelf  # whole: another thread may be looking
        return self._shelf

    def _files(self) -> Iterator[tuple[Path, bool]]:
        for folder, project in ((self._shipped, False), (self.project, True), (self.own, False)):
            try:
                found = sorted(path for path in folder.glob("*.toml") if path.is_file())
            except OSError:
                continue
            yield from ((path, project) for path in found[:MOST_FILES])

    def _place(self, item: Item, shelf: Shelf[Item]) -> None:
        before = shelf.named.get(item.name)
        if before is not None and item.project and not before.project:
            # A folder must not put something else under a name that the person knows.
            fix = "Give it another name."
            shelf.problems.append(Problem(str(item.path), f"{item.name!r} is a {self._kind} of yours.", fix))
        else:
            shelf.named[item.name] = item

    def put(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Write one of the person's own under a name that was looked at. Raises FileExistsError, OSError."""
        path = self.own / f"{name}.toml"
        if path.exists() and not replace:
            raise FileExistsError(f"there is a {self._kind} {name!r} already")
        write_atomically(path, text)
        return path

    def take(self, name: str) -> Path:
        """Take one of the person's own away; its text stays beside it, as `.bak`, which is returned. Raises OSError."""
        path = self.own / f"{name}.toml"
        return path.replace(path.with_suffix(".bak"))

    def where(self, item: Item) -> str:
        """Who it comes from: `shipped`, `yours`, or `folder`."""
        return "folder" if item.project else "yours" if item.path and item.path.parent == self.own else "shipped"

    def is_trusted(self, item: Item) -> bool:
        """Say whether it may count: what a folder brings only after somebody has looked at it."""
        return not item.project or item.digest in self._digests()

    def knows(self, digest: str) -> bool:
        """Say whether `trust` was called with this before."""
        return digest in self._digests()

    def trust(self, digest: str) -> None:
        """Remember that a person has looked at this text. Raises OSError."""
        digests = self._digests()
        if digest not in digests:
            write_atomically(self._trusted, "".join(f"{each}\n" for each in [*digests, digest]))

    def _digests(self) -> list[str]:
        try:
            return self._trusted.read_text("ascii").split()
        except (OSError, UnicodeDecodeError):
            return []


def _signature(path: Path) -> tuple[str, int, int]:
    try:
        state = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), state.st_mtime_ns, state.st_size


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: what is shown is what counts, whatever stands in the file by then."""

    text: str
    tables: dict[str, Any]
    digest: str
    """SHA-256 of the file: what a person trusted was this text and no other."""


def content_of(path: Path, kind: str) -> bytes | Problem:
    """The content of a file, as far as one of these can be long, or what is wrong with it."""
    try:
        # A pipe of that name would be waited for as long as nobody writes into it, and a device may have no end.
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Problem(str(path), "is no file.", f"Put a {kind} there, or take it away.")
            content = file.read(LONGEST_FILE + 1)
    except OSError as error:
        return Problem(str(path), f"cannot be read: {error.strerror}.", "Check its permissions.")
    if len(content) > LONGEST_FILE:
        return Problem(str(path), f"is larger than {LONGEST_FILE // 1024} KiB.", f"Is it really a {kind}?")
    return content


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def source_of(content: bytes, where: str, *, foreign: bool) -> Source | Problem:
    """The tables of a file's content. Somebody else's (`foreign`) may hold nothing that a reader does not see."""
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        if foreign and max(line.count(".") for line in text.split("\n")) > MOST_DOTS:
            return Problem(where, f"has a line with more than {MOST_DOTS} dots.", "Break the line.")
        tables = tomllib.loads(text)
    except UnicodeDecodeError:
        return Problem(where, "is not UTF-8.", "Save the file as UTF-8.")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is no TOMLDecodeError
        return Problem(where, f"This is not valid TOML: {error}.", "Correct it.")
    if foreign and sanitize(text) != text:
        # Somebody has to look at it before it counts, and must see all there is, in the order in which it is read.
        return Problem(where, "has characters that do not show.", r"Write such characters as \u and four digits.")
    return Source(text, tables, hashlib.sha256(content).hexdigest())
