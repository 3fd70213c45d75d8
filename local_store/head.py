"""Whether the database is the newest there was: generations inside it, and heads outside that vouch for them.

Every so often a write raises the generation, in its own transaction; after that the head says which one the database
has come to. So a head never runs ahead of what is on the disk: a crash leaves the database newer, which is no alarm.
A database whose newest generation is older than a head says was put back, or lost its log. One that has another
generation of that number was put back and went on from there.

There are two heads: one beside the database, and one in the folder of this device, because whoever puts back the whole
folder of the store puts back the head in it too. What was put back on purpose is accepted by a generation that
leaves out all numbers up to the heads'.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store import engine, files
from local_store.errors import StoreError
from local_store.header import canonical
from local_store.ids import now_ms
from local_store.keyfile import Keys
from local_store.types import RolledBack, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

VERSION: Final = 1
PURPOSE: Final = "store-head"
META: Final = "generations"
KEPT: Final = 32
"""How many generations the database remembers."""
COMMITS: Final = 200
SECONDS: Final = 30.0
LOCK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Generation:
    """One state of the database: two with the same number and token are the same."""

    number: int
    token: str
    at: int


@dataclass(frozen=True, slots=True)
class Head:
    """A generation that was on the disk, and how much there was then."""

    generation: Generation
    messages: int
    """The number of the last message."""
    pages: int


NEW: Final = Head(Generation(0, "", 0), 0, 0)


class BadHead(Exception):
    """The file is not what this store wrote."""


class Heads:
    """Both heads of one store. All of it blocks."""

    def __init__(self, paths: StorePaths, keys: Keys) -> None:
        self._paths, self._keys = paths, keys
        self._files = (paths.head, paths.head_on_device(keys.store_id))

    def read(self) -> list[Head]:
        """Return the heads that this store wrote; one that is missing, unreadable or foreign vouches for nothing."""
        found = []
        for path in self._files:
            with contextlib.suppress(BadHead, StoreError):
                content = files.read_private(path)
                if content is not None:
                    found.append(_parse(content, self._keys.derive(PURPOSE)))
        return found

    def write(self, head: Head, *, instead: bool = False) -> None:
        """Vouch for `head` in both files, where that is newer; `instead`: whatever they say. Never raises StoreError.

        A head that cannot be written lags behind, which the next one mends.
        """
        code = _encode(head, self._keys.derive(PURPOSE))
        with contextlib.suppress(StoreError), files.exclusive(self._paths.run / "head.lock", LOCK_S):
            for path in self._files:
                with contextlib.suppress(StoreError):
                    if instead or self._older(path, head):
                        _replace(path, code)

    def _older(self, path: Path, head: Head) -> bool:
        try:
            content = files.read_private(path)
            return content is None or _parse(content, self._keys.derive(PURPOSE)).generation.number < (
                head.generation.number
            )
        except BadHead:
            return True

    def judge(self, connection: Connection) -> RolledBack | None:
        """Hold the database against its heads; None when it is what it should be. The engine's errors pass through."""
        heads = self.read()
        history = read_history(connection)
        found = verdict(heads, history, _last_message(connection))
        if found is None and len(heads) < len(self._files):
            newest = max(heads, key=lambda each: each.generation.number, default=NEW)
            self.write(newest)
        return found


def verdict(heads: Sequence[Head], history: Sequence[Generation], messages: int) -> RolledBack | None:
    """Say whether a database with that history, newest first, and that last message is older than a head."""
    is_at = history[0].at if history else None
    if not heads:
        return RolledBack("no head", None, is_at, 0) if history else None
    known = {each.number: each.token for each in history}
    latest = history[0].number if history else 0
    for head in sorted(heads, key=lambda each: each.generation.number, reverse=True):
        ours = head.generation
        missing = max(0, head.messages - messages)
        if ours.number > latest:
            return RolledBack("rolled back", ours.at, is_at, missing)
        if ours.number and known.get(ours.number, ours.token) != ours.token:
            return RolledBack("replaced", ours.at, is_at, missing)
    return None


def read_history(connection: Connection) -> list[Generation]:
    """Return the generations that the database remembers, newest first."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", [META]).fetchone()
    history = []
    for each in str(found[0]).split() if found else ():
        with contextlib.suppress(ValueError):
            number, token, at = each.split(":")
            history.append(Generation(int(number), token, int(at)))
    return history


def raise_generation(connection: Connection, above: int = 0) -> Head:
    """Begin the next generation, in the transaction under way, and return the head that vouches for it."""
    history = read_history(connection)
    number = max(above, history[0].number if history else 0) + 1
    fresh = Generation(number, os.urandom(8).hex(), now_ms())
    text = " ".join(f"{each.number}:{each.token}:{each.at}" for each in (fresh, *history[: KEPT - 1]))
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [META, text])
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    return Head(fresh, _last_message(connection), pages)


def _last_message(connection: Connection) -> int:
    return int(connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0])


def adopt(fresh: StorePaths, present: StorePaths, keys: Keys) -> Head:
    """Let the database in the folder `fresh` count as newer than all there was of it at `present`.

    For whoever is about to put it there on purpose. It gets a head of its own; the device's is written by `settle`
    once it is in place. Raises StoreError.
    """
    heads = [*Heads(present, keys).read(), *Heads(fresh, keys).read()]
    above = max((each.generation.number for each in heads), default=0)
    with (
        contextlib.closing(_writer(fresh.database, keys)) as connection,
        engine.engine_errors(fresh.database),
        engine.transaction(connection),
    ):
        head = raise_generation(connection, above)
    _replace(fresh.head, _encode(head, keys.derive(PURPOSE)))
    return head


def settle(paths: StorePaths, keys: Keys, head: Head) -> None:
    """Vouch for a head of `adopt`, now that its database is in place. Never raises StoreError."""
    Heads(paths, keys).write(head, instead=True)


def _writer(path: Path, keys: Keys) -> Connection:
    *first, last = (engine.Opener(path, key) for key in keys.database_keys())
    for opener in first:
        with contextlib.suppress(StoreError):
            return opener.writer()
    return last.writer()


def shorter_than(path: Path, heads: Sequence[Head], page: int = 4096) -> str:
    """Say by how much the database is shorter than it was, for the error that its engine raised; empty if it is not."""
    try:
        there = path.stat().st_size // page
    except OSError:
        return ""
    pages = max((each.pages for each in heads), default=0)
    return f"it ends after {there} pages, where it had {pages}" if there < pages else ""


def _replace(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        files.private_folder(path.parent)
    with files.typed_errors(path):
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink(missing_ok=True)
    # Without the sync of the folder: after a power cut the old head is as good, only older.
    files.write_private(path, content, lasting=False)


def _plain(head: Head) -> dict[str, object]:
    ours = head.generation
    return {
        "v": VERSION,
        "generation": ours.number,
        "token": ours.token,
        "at": ours.at,
        "messages": head.messages,
        "pages": head.pages,
    }


def _code(plain: dict[str, object], key: bytes) -> str:
    return hmac.digest(key, canonical(plain), hashlib.sha256).hex()


def _encode(head: Head, key: bytes) -> bytes:
    plain = _plain(head)
    return canonical({**plain, "code": _code(plain, key)}) + b"\n"


def _parse(content: bytes, key: bytes) -> Head:
    try:
        fields = json.loads(content)
        code = fields.pop("code")
        genuine = hmac.compare_digest(_code(fields, key), code)
        head = Head(
            Generation(fields["generation"], fields["token"], fields["at"]), fields["messages"], fields["pages"]
        )
        version = fields["v"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadHead("it cannot be read") from error
    if not genuine or version != VERSION:
        raise BadHead("it was not written with this store's key")
    return head


class Pulse:
    """Raises the generation now and then while a store is written to. Used by the thread that writes."""

    def __init__(
        self,
        heads: Heads,
        *,
        silent: bool = False,
        then: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`silent` leaves all as it is: nobody has said yet that what was put back is right. `then` runs afterwards."""
        self._heads, self._then, self._clock = heads, then, clock
        self.silent = silent
        self._commits, self._beaten = 0, clock()
        self._waiting: Head | None = None
        self._guard = threading.Lock()
        self._vouching: threading.Thread | None = None

    def beat(self, connection: Connection) -> Head | None:
        """Raise the generation in the transaction under way, when it is time to; return what to vouch for then."""
        due = self._commits >= COMMITS or self._clock() - self._beaten >= SECONDS
        return raise_generation(connection) if due and not self.silent else None

    def committed(self, head: Head | None) -> None:
        """Count a commit; `head` is on the disk now and is vouched for in the background."""
        self._commits += 1
        if head is None:
            return
        self._commits, self._beaten = 0, self._clock()
        with self._guard:
            self._waiting = head
            if self._vouching is None:
                self._vouching = threading.Thread(target=self._vouch, name="sophia-store-head", daemon=True)
                self._vouching.start()

    def _vouch(self) -> None:
        for head in self._waiting_ones():
            self._heads.write(head)
            self._then()

    def _waiting_ones(self) -> Iterator[Head]:
        while True:
            with self._guard:
                head, self._waiting = self._waiting, None
                if head is None:
                    self._vouching = None
                    return
            yield head

    def last(self, connect: Callable[[], Connection]) -> None:
        """Vouch for everything, before the connection is closed. The engine's errors pass through."""
        vouching = self._vouching
        if vouching is not None:
            vouching.join()
        if self._commits and not self.silent:
            connection = connect()
            with engine.transaction(connection):
                head = raise_generation(connection)
            self._commits = 0
            self._heads.write(head)
