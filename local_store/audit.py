"""The audit log: what was done with the store and the keys, in entries that nobody changes unseen.

Each entry is chained to the one before with a key that is derived from the master key, so the key of the database alone
forges nothing. Triggers refuse changes; the chain shows those of somebody who took the triggers away; the anchor shows
a log that was cut short. Whoever holds the master key can write a whole new log: a head noted elsewhere tells that.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from local_store.anchor import NEW, Anchor, BadAnchor, Head
from local_store.chain import START, Break, Link, Walk, code, diagnose
from local_store.database import Database
from local_store.errors import BadValue, StoreError
from local_store.header import canonical
from local_store.ids import now_ms
from local_store.keyfile import Keys
from local_store.text import storable
from local_store.types import AuditEntry, AuditFault, AuditReport, StorePaths

if TYPE_CHECKING:
    from sqlite3 import Connection

Progress = Callable[[int, int], None]

KIND: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
LONGEST_KIND: Final = 64
LARGEST_ENTRY: Final = 16 * 1024
CHUNK: Final = 2000
AROUND: Final = 2000
"""How far from a break what happened there is looked for."""
GUARDS: Final = frozenset({"audit_changes_nothing", "audit_removes_nothing", "audit_appends"})
# As bytes, because text that somebody else put there need not be any.
LINKS: Final = """
    SELECT seq, ifnull(CAST(at AS INTEGER), 0), ifnull(CAST(epoch AS INTEGER), 0),
           ifnull(CAST(kind AS BLOB), x''), ifnull(CAST(subject AS BLOB), x''), ifnull(CAST(detail AS BLOB), x''),
           ifnull(CAST(mac AS BLOB), x'')
    FROM audit WHERE typeof(seq) = 'integer'
"""
INSERT: Final = "INSERT INTO audit (seq, at, kind, subject, detail, epoch, mac) VALUES (?, ?, ?, ?, ?, ?, ?)"
HINT: Final = "Keep the store as it is, look for who changed it, and compare it with a backup."
CUT_HINT: Final = (
    "If you put back an earlier store yourself, `sophia run --yes audit.accept` goes on from there; else keep it as it "
    "is and compare it with a backup."
)


class Audit:
    """The log of one store."""

    def __init__(self, database: Database, keys: Keys, paths: StorePaths) -> None:
        self._database = database
        self._keys = keys
        self._anchor = Anchor(paths.audit_head, paths.run / "audit.lock", keys.audit_head_key)
        self._anchoring = asyncio.Lock()
        self._begun = False
        self._anchored = 0

    async def append(self, kind: str, subject: str = "", detail: Mapping[str, str] | None = None) -> AuditEntry:
        """Return the new entry, on the disk and, unless its file cannot be written now, vouched for by the anchor.

        Never give it a secret: entries are shown and exported. Raises BadValue for a kind that is no dotted name and
        for more than 16 KiB; StoreFull, StoreReadOnly.
        """
        at, name, about, more = now_ms(), kind.encode("utf-8", "replace"), *_as_bytes(subject, detail or {})
        if not KIND.fullmatch(kind) or len(name) > LONGEST_KIND:
            raise BadValue(f"{kind[:LONGEST_KIND]!r} is no kind of audit entry")
        if len(about) + len(more) > LARGEST_ENTRY:
            raise BadValue(f"an audit entry has at most {LARGEST_ENTRY} bytes, not {len(about) + len(more)}")
        await self._begin()
        link = await self._database.write(
            lambda connection: self._insert(connection, at, name, about, more), vital=True
        )
        await self._advance(link.seq)
        return _entry(link)

    def _insert(self, connection: Connection, at: int, kind: bytes, subject: bytes, detail: bytes) -> Link:
        last = _last(connection)
        epoch = self._keys.epoch
        key = self._keys.audit_key(epoch)
        if key is None:
            raise StoreError(f"the data key has the number {epoch}, which no key can have")
        bare = Link(last.seq + 1, at, epoch, kind, subject, detail)
        mac = code(key, bare, last.mac)
        texts = (kind.decode(), subject.decode(), detail.decode())
        connection.execute(INSERT, [bare.seq, at, *texts, epoch, mac])
        return Link(bare.seq, at, epoch, kind, subject, detail, mac)

    async def _begin(self) -> None:
        """Make the anchor of a log that has no entry yet. One that is missing later was taken away."""
        while not self._begun:
            try:
                seen = await asyncio.to_thread(self._anchor.read)
                if seen is None and (await self._database.read(_last)).seq == 0:
                    self._begun = await asyncio.to_thread(self._anchor.replace, None, NEW)
                else:
                    self._begun = True
            except BadAnchor:
                self._begun = True

    async def _advance(self, seq: int) -> None:
        """Let the anchor vouch for the entries up to `seq` at least; one write serves all that wait for one.

        An anchor that the log does not fit is left as it is: it is the only trace of what happened. One that cannot be
        written now lags behind, which the next entry mends.
        """
        async with self._anchoring:
            while self._anchored < seq:
                try:
                    seen = await asyncio.to_thread(self._anchor.read)
                    last = await self._vouchable(seen)
                    if last is None or seen is None:
                        return
                    if seen.seq >= last.seq or await asyncio.to_thread(self._anchor.replace, seen, last):
                        self._anchored = last.seq
                except (BadAnchor, StoreError):
                    return

    async def _vouchable(self, seen: Head | None) -> Head | None:
        """Return the last entry, if the log still has the one that the anchor vouches for."""

        def operation(connection: Connection) -> Head | None:
            if seen is None or _mac_of(connection, seen.seq) != seen.mac:
                return None
            return _last(connection)

        return await self._database.read(operation)

    async def entries(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return the entries, newest first, from the one before the number `before` on. Proves nothing: `verify`."""
        return await self._database.read(
            lambda connection: [_entry(link) for link in _newest(connection, limit, before)]
        )

    async def export(self, line: Callable[[str], object], *, progress: Progress | None = None) -> int:
        """Give every entry, oldest first, as a line of ASCII JSON to `line`; return how many there were."""
        total = (await self._database.read(_last)).seq
        given = last = 0
        while links := await self._after(last):
            for link in links:
                line(_as_json(_entry(link)))
            given, last = given + len(links), links[-1].seq
            if progress is not None:
                progress(given, max(total, given))
        return given

    async def verify(self, *, progress: Progress | None = None) -> AuditReport:
        """Return whether the log is what was written, and else which entry is the first that is not.

        Reads in portions, so it may be cancelled. Raises StoreError when the database cannot be read.
        """
        # The anchor comes first: entries that are added meanwhile only make it lag.
        try:
            head, complaint = await asyncio.to_thread(self._anchor.read), ""
        except BadAnchor as error:
            head, complaint = None, str(error)
        walk = Walk(self._keys.audit_key)
        broken, anchored = await self._follow(walk, head, progress)
        count, guarded = await self._database.read(lambda connection: _standing(connection, walk.count))
        if broken is None and count != walk.count:
            broken = Break("changed", walk.count, "there are entries with the same number, or with none")
        broken = broken or self._held_against(head, anchored, walk.count, complaint)
        if broken is None and not guarded:
            broken = Break("unguarded", 0, "the triggers that refuse changes are gone; no entry was changed")
        return _report(broken, walk, head)

    async def _follow(self, walk: Walk, head: Head | None, progress: Progress | None) -> tuple[Break | None, bool]:
        """Walk to the end or to the first break; say also whether the walk passed what the anchor vouches for."""
        anchored = head is not None and head == NEW
        total = (await self._database.read(_last)).seq
        while links := await self._after(walk.count):
            for link in links:
                if not walk.fits(link):
                    return await self._explain(walk, link), anchored
                anchored = anchored or (head is not None and head.seq == link.seq and head.mac == link.mac)
            if progress is not None:
                progress(walk.count, max(total, walk.count))
        return None, anchored

    async def _after(self, seq: int) -> list[Link]:
        return await self._database.read(lambda connection: _links(connection, seq, CHUNK))

    async def _explain(self, walk: Walk, bad: Link) -> Break:
        def operation(connection: Connection) -> Break:
            rest = [bad, *_links(connection, bad.seq, AROUND)]
            before = _links(connection, walk.count - AROUND, AROUND) if walk.count else []
            macs = {0: START} | {link.seq: link.mac for link in (*before, *rest)}
            return diagnose(walk, rest, macs)

        return await self._database.read(operation)

    def _held_against(self, head: Head | None, anchored: bool, count: int, complaint: str) -> Break | None:
        """Say how a log that is sound in itself does not fit its anchor."""
        name = str(self._anchor.path)
        if complaint:
            return Break("bad anchor", 0, f"{name!r} vouches for nothing: {complaint}")
        if head is None:
            return (
                Break("no anchor", 0, f"{name!r} is missing, so nothing says how long the log was") if count else None
            )
        if head.seq > count:
            missing = f"the log had {head.seq} entries and has {count}"
            return Break(
                "truncated", count + 1, f"{missing}: it was cut short, or the store put back to an earlier state"
            )
        if not anchored:
            told = "the log was put back to an earlier state and went on from there"
            return Break("rolled back", head.seq, f"entry {head.seq} is not the one that was anchored: {told}")
        return None

    async def accept(self, reason: str) -> AuditReport:
        """Go on from the log as it is: an entry tells what was wrong, and the anchor vouches for it from now on.

        For a store that was put back from a backup. What was changed inside the log stays a fault for ever.
        """
        found = await self.verify()
        if found.fault is None:
            return found
        detail = {"reason": reason[:1000], "fault": found.fault, "found": found.detail[:1000]}
        entry = await self.append("audit.accepted", detail=detail)
        async with self._anchoring:
            await asyncio.to_thread(self._anchor.write, Head(entry.seq, bytes.fromhex(entry.mac)))
            self._anchored = entry.seq
        return await self.verify()


def _as_bytes(subject: str, detail: Mapping[str, str]) -> tuple[bytes, bytes]:
    kept = {storable(name): storable(value) for name, value in detail.items()}
    return storable(subject).encode(), canonical(kept)


def _last(connection: Connection) -> Head:
    found = connection.execute(f"{LINKS} ORDER BY seq DESC LIMIT 1").fetchone()
    return NEW if found is None else Head(found[0], found[-1])


def _mac_of(connection: Connection, seq: int) -> bytes | None:
    if seq == 0:
        return START
    found = connection.execute(f"{LINKS} AND seq = ?", [seq]).fetchone()
    return None if found is None else bytes(found[-1])


def _links(connection: Connection, after: int, limit: int) -> list[Link]:
    found = connection.execute(f"{LINKS} AND seq > ? ORDER BY seq LIMIT ?", [after, limit])
    return [Link(*row) for row in found]


def _newest(connection: Connection, limit: int, before: int | None) -> list[Link]:
    upto = 2**62 if before is None else before
    found = connection.execute(f"{LINKS} AND seq < ? ORDER BY seq DESC LIMIT ?", [upto, max(0, limit)])
    return [Link(*row) for row in found]


def _standing(connection: Connection, upto: int) -> tuple[int, bool]:
    """Return how many entries there are up to that number, and whether all triggers are there."""
    count = connection.execute(
        "SELECT count(*) FROM audit WHERE seq <= ? OR typeof(seq) <> 'integer'", [upto]
    ).fetchone()[0]
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'")
    return int(count), {name for (name,) in found} >= GUARDS


def _entry(link: Link) -> AuditEntry:
    kind, subject = link.kind.decode("utf-8", "replace"), link.subject.decode("utf-8", "replace")
    return AuditEntry(link.seq, link.at, kind, subject, _detail(link.detail), link.epoch, link.mac.hex())


def _detail(text: bytes) -> dict[str, str]:
    """Return the details, also of an entry that somebody else wrote."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        return {"unreadable": text[:200].decode("utf-8", "replace")}
    return {name: storable(value) if isinstance(value, str) else str(value) for name, value in found.items()}


def _as_json(entry: AuditEntry) -> str:
    plain = {name: getattr(entry, name) for name in AuditEntry.__slots__}
    return json.dumps(plain)


def _report(broken: Break | None, walk: Walk, head: Head | None) -> AuditReport:
    behind = max(0, walk.count - head.seq) if head is not None else walk.count
    mac = walk.mac.hex()
    if broken is None:
        return AuditReport(True, walk.count, None, None, "every entry is what was written", "", behind, mac)
    fault: AuditFault = broken.fault
    hint = CUT_HINT if fault in ("truncated", "rolled back", "no anchor", "bad anchor") else HINT
    return AuditReport(False, walk.count, fault, broken.first or None, broken.detail, hint, behind, mac)
