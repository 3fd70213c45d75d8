"""Many conversations at once: taken in fast without holding anybody up, and read out piece by piece.

What comes in is looked up first and then written in slices that hold the write lock for about a frame, so whoever
writes at the same time waits no longer than that. Each conversation keeps its ids from import to import: a second one
adds only what is new.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from local_store import answers, import_parts, import_slices, lookups, rows
from local_store.blobs import Blobs
from local_store.database import Database
from local_store.errors import NotFound, StoreError
from local_store.import_slices import Slice
from local_store.imports import ID_CHARACTERS, Conversation, ImportReport, Skipped, whole
from local_store.indexing import Indexing
from local_store.lookups import Known, Resolved
from local_store.types import Message, Session

if TYPE_CHECKING:
    from sqlite3 import Connection

HOLD_S, ALONE_HOLD_S = 0.012, 0.03
"""How long one slice should hold the write lock: less than a frame, or two where no other process waits for it; a
larger slice costs a quarter less, and what is written here meanwhile keeps nobody from typing."""
FIRST_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT = 200.0, 20.0, 20_000.0
CHARACTERS_PER_WEIGHT = 200
"""A message weighs one, and one more for so many characters: the search index costs as much as the row."""
BATCH_MESSAGES, BATCH_CHARACTERS = 2_000, 4_000_000
BURST_S, GAP_S = 0.1, 0.03
"""Where another process uses the store too, the lock is left alone for a while after so much holding: the engine of who
waits for it looks every 25 ms at first, so a gap that is a little longer lets everybody in."""
SYNC_S = 0.4
"""How often an import waits for the disk and says how far it is: no more is told than what a power cut leaves."""
DEFERRED_FROM = 1_000
"""So many new messages in one batch are not indexed for search with their coming, but after the import."""
MOST_SKIPPED = 100
"""Named one by one in a report; the others are counted."""

Item = Conversation | Skipped


@dataclass(frozen=True, slots=True)
class Node:
    """The place of one message in its tree."""

    seq: int
    id: str
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class Outline:
    """A session without its texts."""

    session: Session
    pinned: bool
    archived: bool
    folder: str
    tags: tuple[str, ...]
    nodes: tuple[Node, ...]
    """Oldest first, so every parent comes before its children."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as it is read out, with the time its usage was booked."""

    message: Message
    usage_at: int | None


@dataclass(slots=True)
class _Tally:
    added: int = 0
    extended: int = 0
    unchanged: int = 0
    messages: int = 0
    known: int = 0
    attachments: int = 0
    skipped: int = 0
    first_skipped: list[Skipped] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    touched: dict[str, str] = field(default_factory=dict)
    """What became of each session, so that one in several parts counts once."""

    def skip(self, one: Skipped) -> None:
        self.skipped += 1
        if len(self.first_skipped) < MOST_SKIPPED:
            self.first_skipped.append(one)

    def count(self, one: Resolved) -> None:
        outcome = "added" if one.fresh else "extended" if one.rows else "unchanged"
        before = self.touched.get(one.session_id)
        if before is None or (before == "unchanged" and outcome == "extended"):
            if before is not None:
                setattr(self, before, getattr(self, before) - 1)
            setattr(self, outcome, getattr(self, outcome) + 1)
            self.touched[one.session_id] = outcome
        self.messages += len(one.rows)
        self.known += one.known
        self.remarks.update(dict(one.remarks))

    def report(self) -> ImportReport:
        return ImportReport(
            self.added,
            self.extended,
            self.unchanged,
            self.messages,
            self.known,
            self.skipped,
            tuple(self.first_skipped),
            tuple(self.remarks.most_common()),
            self.attachments,
        )


class Bulk:
    """Imports into the store, and the reading side of exports."""

    def __init__(self, database: Database, run: Path, blobs: Blobs, indexing: Indexing | None = None) -> None:
        self._database, self._run, self._blobs, self._indexing = database, run, blobs, indexing
        self._deferred = False
        self._weight, self._held, self._hold = FIRST_WEIGHT, 0.0, HOLD_S
        self._synced = time.monotonic()

    async def add(
        self,
        conversations: Iterable[Item],
        *,
        progress: Callable[[ImportReport], object] | None = None,
        dry_run: bool = False,
    ) -> ImportReport:
        """Return what became of the conversations; they are read in another thread, a batch ahead of what is written.

        Everything that came before a cancellation stays, and a second import adds the rest. With `dry_run` nothing is
        written. Raises StoreError when the store takes no more.
        """
        source, tally, known = iter(conversations), _Tally(), Known()
        reading = asyncio.ensure_future(asyncio.to_thread(_take, source))
        writing: asyncio.Task[None] | None = None
        try:
            while batch := await asyncio.shield(reading):
                reading = asyncio.ensure_future(asyncio.to_thread(_take, source))
                resolved = await self._look_up(batch, tally, known)
                if writing is not None:
                    await writing
                # While one batch is written the next is looked up: the writing thread is what an import waits for.
                writing = asyncio.create_task(self._add_batch(resolved, tally, progress, dry_run=dry_run))
            if writing is not None:
                await writing
                if not dry_run:
                    await self._sync(tally, progress)
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.wait([writing])
                if not writing.cancelled():
                    writing.exception()  # where it is not on its way to the caller, something else is
            if self._indexing is not None and self._deferred:
                self._deferred = False
                self._indexing.settle()
            # The reader must not be torn down under the thread that is in it; a batch is short.
            await _ended(reading)
            close = getattr(source, "close", None)
            if close is not None:
                close()
        return tally.report()

    async def _look_up(self, batch: list[Item], tally: _Tally, known: Known) -> list[Resolved]:
        told = [item for item in batch if isinstance(item, Conversation)]
        for item in batch:
            if isinstance(item, Skipped):
                tally.skip(item)
        resolved = await self._database.read(lambda connection: lookups.resolve(connection, told, known))
        known.note(resolved)
        known.coming(resolved)
        return resolved

    async def _add_batch(
        self,
        resolved: list[Resolved],
        tally: _Tally,
        progress: Callable[[ImportReport], object] | None,
        *,
        dry_run: bool,
    ) -> None:
        if not dry_run:
            tally.attachments += await import_parts.keep(
                self._blobs, resolved, lambda text: tally.remarks.update([text])
            )
        if self._indexing is not None and not dry_run and sum(len(one.rows) for one in resolved) >= DEFERRED_FROM:
            # The search index costs more than all else: it follows in the background.
            self._deferred = True
            await self._indexing.defer()
        failed = set() if dry_run else await self._write(resolved, tally)
        for one in resolved:
            if one.session_id not in failed:
                tally.count(one)
        if dry_run:
            if progress is not None:
                progress(tally.report())
        elif time.monotonic() - self._synced >= SYNC_S:
            await self._sync(tally, progress)

    async def _write(self, resolved: Sequence[Resolved], tally: _Tally) -> set[str]:
        """Write slice by slice; return the ids of sessions that went away meanwhile."""
        failed: set[str] = set()
        alone = await asyncio.to_thread(_alone, self._run)
        self._hold = ALONE_HOLD_S if alone else HOLD_S
        for group in _pieces(resolved, lambda: self._weight):
            wanted = [piece for piece in group if piece.of.session_id not in failed]
            try:
                await self._write_slice(wanted)
            except StoreError as error:
                if not _is_gone(error):
                    raise
                failed |= await self._one_by_one(wanted, tally)
            if not alone and self._held >= BURST_S:
                self._held = 0.0
                await asyncio.sleep(GAP_S)
        return failed

    async def _sync(self, tally: _Tally, progress: Callable[[ImportReport], object] | None) -> None:
        """Wait until the disk has all that was written, and only then say so."""
        report = tally.report()
        await self._database.write(_change_a_little)
        self._synced = time.monotonic()
        if progress is not None:
            progress(report)

    async def _one_by_one(self, group: list[Slice], tally: _Tally) -> set[str]:
        failed = set()
        for piece in group:
            try:
                await self._write_slice([piece])
            except StoreError as error:
                if not _is_gone(error):
                    raise
                failed.add(piece.of.session_id)
                told = piece.of.told
                tally.skip(Skipped(told.source_id, told.title, "its session was deleted while it was imported"))
        return failed

    async def _write_slice(self, group: list[Slice]) -> None:
        weight = sum(_weight(row) for piece in group for row in piece.of.rows[piece.start : piece.end])

        def operation(connection: Connection) -> float:
            begun = time.perf_counter()
            import_slices.write(connection, group)
            return time.perf_counter() - begun

        begun = time.perf_counter()
        held = await self._database.write(operation, lasting=False)
        self._held += time.perf_counter() - begun
        if weight >= LEAST_WEIGHT:
            fitting = weight * self._hold / max(held, 1e-6)
            self._weight = min(max(0.5 * self._weight + 0.5 * fitting, LEAST_WEIGHT), MOST_WEIGHT)

    async def session_ids(self) -> list[str]:
        """Return the ids of all sessions, in the order they were made."""

        def operation(connection: Connection) -> list[str]:
            return [row[0] for row in connection.execute("SELECT id FROM session ORDER BY seq")]

        return await self._database.read(operation)

    async def outline(self, session_id: str) -> Outline:
        """Return the session and the shape of its tree. Raises NotFound."""

        def operation(connection: Connection) -> Outline:
            session = rows.session_by_id(connection, session_id)
            extras = connection.execute(
                "SELECT pinned, archived, folder FROM session WHERE id = ?", [session_id]
            ).fetchone()
            tags = connection.execute("SELECT name FROM tag WHERE session_id = ? ORDER BY name", [session_id])
            names = tuple(row[0] for row in tags)
            nodes = connection.execute(
                "SELECT seq, id, parent_id FROM message WHERE session_id = ? ORDER BY seq", [session_id]
            )
            tree = tuple(Node(*row) for row in nodes)
            return Outline(session, bool(extras[0]), bool(extras[1]), extras[2], names, tree)

        return await self._database.read(operation)

    async def entries(self, nodes: Sequence[Node]) -> list[Entry]:
        """Return these messages in this order. One being streamed comes as interrupted, with what arrived so far."""
        if not nodes:
            return []

        def operation(connection: Connection) -> list[Entry]:
            places = ",".join(str(int(node.seq)) for node in nodes)
            found = connection.execute(
                f"SELECT m.seq, u.at, {rows.MESSAGE} FROM message m {rows.BESIDE_MESSAGE} WHERE m.seq IN ({places})"
            )
            told = found.fetchall()
            messages = rows.messages(connection, [row[2:] for row in told])
            by_seq = {
                row[0]: Entry(_at_rest(connection, message), row[1])
                for row, message in zip(told, messages, strict=True)
            }
            # A session deleted meanwhile takes its messages along, and their places may be taken by others.
            return [by_seq[node.seq] for node in nodes if node.seq in by_seq and by_seq[node.seq].message.id == node.id]

        return await self._database.read(operation)


def _at_rest(connection: Connection, message: Message) -> Message:
    if message.status != "streaming":
        return message
    text, reasoning = answers.received(connection, message.id)
    return replace(message, status="interrupted", text=text, reasoning=reasoning)


def _take(source: Iterator[Item]) -> list[Item]:
    """Read conversations worth one batch, and make them whole."""
    batch: list[Item] = []
    messages = characters = 0
    for item in source:
        if isinstance(item, Skipped):
            batch.append(item)
            continue
        batch.append(mended := whole(item))
        messages += len(mended.messages) + 1
        characters += sum(len(each.text) + sum(part.weight for part in each.parts) for each in mended.messages)
        if messages >= BATCH_MESSAGES or characters >= BATCH_CHARACTERS:
            break
    return batch


def _alone(run: Path) -> bool:
    """Whether no other instance has this store open, as far as their lock files tell."""
    return sum(len(path.stem) == ID_CHARACTERS for path in run.glob("*.lock")) <= 1


def _change_a_little(connection: Connection) -> None:
    """A commit that changes no page would not wait for the disk to have all that came before."""
    connection.execute("UPDATE search_state SET titles = titles + 1")


def _is_gone(error: StoreError) -> bool:
    """Whether a session that was written to has been deleted by somebody else."""
    return isinstance(error, NotFound) or "FOREIGN KEY" in error.message


async def _ended(reading: asyncio.Future[list[Item]]) -> None:
    while not reading.done():
        try:
            await asyncio.wait([reading])
        except asyncio.CancelledError:
            continue
    if not reading.cancelled():
        reading.exception()


def _weight(row: lookups.Row) -> float:
    return 1 + (len(row.values[4]) + len(row.values[5])) / CHARACTERS_PER_WEIGHT


def _pieces(resolved: Sequence[Resolved], budget: Callable[[], float]) -> Iterator[list[Slice]]:
    """Groups of slices that weigh about as much as the budget says when the group is begun."""
    group: list[Slice] = []
    room = budget()
    for one in resolved:
        start = 0
        for position, row in enumerate(one.rows, 1):
            room -= _weight(row)
            if room <= 0:
                yield [*group, Slice(one, start, position)]
                group, start, room = [], position, budget()
        if start < len(one.rows) or (not one.rows and one.session is not None):
            group.append(Slice(one, start, len(one.rows)))
            room -= 1
    if group:
        yield group
