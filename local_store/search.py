"""Search: any typed text is a valid query, and the newest match comes first.

Words are looked up in a full-text index, the last one as the beginning of a word too. Scripts that write no spaces
between words, and queries that hold no word at all (`->`), are looked for in the texts themselves, from the newest on,
for as long as the caller has patience. What cannot be told in time, or is not indexed yet, is said in the result.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from local_store import engine, rows
from local_store.damage import Around
from local_store.database import Database
from local_store.errors import Damaged
from local_store.indexing import Gap, Indexing, Progress, gap
from local_store.instance import Instance
from local_store.plans import MARK, Plan, plan, session_conditions
from local_store.query import Query, parse
from local_store.search_schema import FACETS
from local_store.types import Found, Hit, Message, Session

if TYPE_CHECKING:
    from sqlite3 import Connection

    from local_store.titles import Titles

PATIENCE_S = 1.0
SNIPPET_WORDS = 16
SNIPPET_CHARACTERS = 60
OPERATIONS = 1_000
"""How many steps of the engine's machine to make between two looks at whether to go on: well under a millisecond."""
MOST_TITLES = 500
"""Sessions whose titles fit best; the most recently used of them are shown first where they fit as well."""
TAIL = 1_500
"""So many of the messages that wait to be indexed are looked through meanwhile, the newest."""
BEGUN_FROM = ((30_000, 1), (200_000, 2), (2**62, 3))
"""In a store of so many messages, a word is taken for a beginning from so many letters on: the shorter it is, the more
words of the index have to be brought together."""
WHOLE_FIRST = 30_000
"""From so many messages on, a word that was typed whole is looked up alone first; it often is enough."""
# Unicode noncharacters: they mean nothing in any text, so they can mark a match.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
OF_MESSAGES = frozenset({"role", "has", "provider", "model", "persona"})
HIT = "m.seq, m.id, m.session_id, s.title, m.role, m.created_at"
# CROSS JOIN keeps the order of the tables: the index first, so that the newest come without sorting.
BY_WORD = f"""
    SELECT {HIT}, snippet(message_fts, 0, '{OPEN}', '{CLOSE}', '…', {SNIPPET_WORDS})
    FROM message_fts CROSS JOIN message m ON m.seq = message_fts.rowid CROSS JOIN session s ON s.id = m.session_id
    WHERE message_fts MATCH ? {{conditions}} ORDER BY {{order}} LIMIT ?
"""
NEWEST, BEST = "message_fts.rowid DESC", "bm25(message_fts, 1.0, 0.0), message_fts.rowid DESC"
AS_IT_STANDS = f"""
    SELECT {HIT}, m.text FROM message m CROSS JOIN session s ON s.id = m.session_id
    WHERE m.status <> 'streaming' {{conditions}} ORDER BY m.seq DESC LIMIT ?
"""


class _Ended(Exception):
    """Nobody waits for the result any more."""


class _Look:
    """One search on its way: it can be ended, and its patience can end."""

    def __init__(self, patience: float) -> None:
        self.ended = False
        self.complete = True
        self._patience = patience

    @contextmanager
    def at(self, connection: Connection) -> Iterator[None]:
        """Let statements run inside. Raises _Ended; where only the patience ended, `complete` is False."""
        until = time.monotonic() + self._patience
        connection.set_progress_handler(lambda: int(self.ended or time.monotonic() > until), OPERATIONS)
        try:
            if self.ended:
                raise _Ended
            yield
        except engine.load().Error as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                raise
            if self.ended:
                raise _Ended from None
            self.complete = False
        finally:
            connection.set_progress_handler(None, OPERATIONS)


class Search:
    """Finds messages and sessions."""

    def __init__(self, database: Database, instance: Instance) -> None:
        self._database = database
        self.indexing = Indexing(database, instance)
        self._typing: _Look | None = None
        self._titles: tuple[int, Titles] | None = None

    async def find(
        self,
        query: str,
        *,
        session: str | None = None,
        limit: int = 50,
        rank: bool = False,
        typing: bool = False,
        patience: float = PATIENCE_S,
    ) -> Found:
        """Return the sessions and messages that fit, the newest first, or with `rank` the best first.

        `session` is the one that `in:session` means. With `typing` it is one of a row of searches: it ends the one
        before, whose result then says `ended`. After `patience` seconds what was found so far is returned. A search
        whose caller is cancelled ends.
        """
        look = _Look(patience)
        if typing:
            if self._typing is not None:
                self._typing.ended = True
            self._typing = look
        asked = parse(query)
        if asked.empty:
            return Found()

        def operation(connection: Connection) -> Found:
            sessions = self._sessions(connection, asked, session, limit, look)
            hits, waiting = _hits(connection, asked, session, limit, look, rank=rank)
            return Found(tuple(sessions), tuple(hits), waiting.size, look.complete)

        try:
            found = await self._read(operation, look)
        except _Ended:
            return Found(complete=False, ended=True)
        except Damaged:
            if asked.filters or not asked.words:
                raise
            return await asyncio.to_thread(self._around_damage, asked, limit)
        if found.pending:
            self.indexing.wake()
        return found

    def _around_damage(self, asked: Query, limit: int) -> Found:
        """Look through the newest messages that can be read; that is not all, and the result says so."""
        words = [each.text for each in asked.terms if not each.excluded]
        with closing(Around(self._database)) as reader:
            held = reader.holding(words, limit)
        hits = [_hit_of(m, title, words) for m, title in held]
        return Found((), tuple(hits), complete=False)

    async def _read(self, operation: Any, look: _Look) -> Found:
        try:
            result: Found = await self._database.read(operation)
        except asyncio.CancelledError:
            look.ended = True
            raise
        return result

    async def messages(
        self, query: str, limit: int = 50, *, session: str | None = None, rank: bool = False
    ) -> list[Hit]:
        """Return the messages that fit `query`, newest first or with `rank` best first; none for an empty one."""
        return list((await self.find(query, session=session, limit=limit, rank=rank)).hits)

    async def sessions(self, query: str, limit: int = 50) -> list[Session]:
        """Return the sessions whose title holds every word of `query`, typing mistakes forgiven, the best first."""
        asked, look = parse(query), _Look(PATIENCE_S)
        if asked.empty:
            return []
        return await self._database.read(lambda connection: self._sessions(connection, asked, None, limit, look))

    async def rebuild(self, progress: Progress | None = None) -> int:
        """Make the index anew from the messages; cancelled, the rest is done in the background or the next time."""
        return await self.indexing.rebuild(progress)

    async def close(self) -> None:
        """End what runs in the background."""
        await self.indexing.stop()

    def _sessions(
        self, connection: Connection, query: Query, session: str | None, limit: int, look: _Look
    ) -> list[Session]:
        if any(each.name in OF_MESSAGES for each in query.filters):
            return []
        excluded = [each.text for each in query.terms if each.excluded]
        conditions, values = session_conditions(query.filters, session)
        for word in excluded:
            conditions.append("instr(s.title_key, lower(?)) = 0")
            values.append(word)
        if query.since is not None:
            conditions.append("s.updated_at >= ?")
            values.append(query.since)
        if query.until is not None:
            conditions.append("s.created_at < ?")
            values.append(query.until)
        with look.at(connection):
            scores = None if not query.words else dict(self._known_titles(connection).find(query.words, MOST_TITLES))
            return _listed(connection, scores, conditions, values, limit)
        return []

    def _known_titles(self, connection: Connection) -> Titles:
        from local_store.titles import Titles

        state = int(connection.execute("SELECT titles FROM search_state").fetchone()[0])
        known = self._titles
        if known is None or known[0] != state:
            titles = connection.execute("SELECT id, title_key FROM session WHERE title_key <> ''")
            known = self._titles = (state, Titles(titles))
        return known[1]


def _listed(
    connection: Connection, scores: dict[str, int] | None, conditions: list[str], values: list[Any], limit: int
) -> list[Session]:
    """The best first, of those that fit as well the one used last."""
    if scores is not None:
        conditions = ["s.id IN (SELECT value FROM json_each(?))", *conditions]
        values = [json.dumps(list(scores)), *values]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    most = limit if scores is None else MOST_TITLES
    statement = f"SELECT s.id FROM session s {where} ORDER BY s.updated_at DESC, s.seq DESC LIMIT ?"
    chosen = [id for (id,) in connection.execute(statement, [*values, most])]
    if scores is not None:
        chosen.sort(key=lambda id: scores[id])
    wanted = f"SELECT {rows.SESSION} FROM session WHERE id IN (SELECT value FROM json_each(?))"
    told = [rows.session(row) for row in connection.execute(wanted, [json.dumps(chosen[:limit])])]
    by_id = {each.id: each for each in told}
    return [by_id[id] for id in chosen[:limit]]


def _hits(
    connection: Connection, query: Query, session: str | None, limit: int, look: _Look, *, rank: bool
) -> tuple[list[Hit], Gap]:
    waiting = gap(connection)
    made = Plan()
    found: list[tuple[int, Hit]] = []
    with look.at(connection):
        made = plan(connection, query, session)
    if made.impossible:
        return [], waiting
    words = [each.text for each in query.terms if not each.excluded]
    if made.expression(begun=False) is None:
        with look.at(connection):
            _collect(found, _scanned(connection, made.conditions, made.values, limit), words)
        return [hit for _, hit in found], Gap(0, 0)
    _look_up(connection, made, limit, look, found, rank=rank)
    if waiting.size:
        with look.at(connection):
            _collect(found, _scanned(connection, *_of_the_tail(made, waiting), limit), words)
        if not rank:
            found.sort(key=lambda each: -each[0])
    return [hit for _, hit in found[:limit]], waiting


def _look_up(
    connection: Connection, made: Plan, limit: int, look: _Look, found: list[tuple[int, Hit]], *, rank: bool
) -> None:
    total = connection.execute("SELECT ifnull(max(seq), 0) FROM message").fetchone()[0]
    letters = next(least for most, least in BEGUN_FROM if total < most)
    grows = any(each.unfinished and len(each.text) >= letters for each in made.terms)
    attempts = [False, True] if grows and total >= WHOLE_FIRST else [grows]
    order = BEST if rank else NEWEST
    for begun in attempts:
        found.clear()
        with look.at(connection):
            _collect(found, _indexed(connection, made, limit, order, begun=begun))
        if len(found) >= limit or not look.complete:
            break
    if rank and not found and not look.complete:
        # The best of so many cannot be told in time, but the newest can.
        with look.at(connection):
            _collect(found, _indexed(connection, made, limit, NEWEST, begun=False))


def _indexed(connection: Connection, made: Plan, limit: int, order: str, *, begun: bool) -> Iterator[tuple[Any, ...]]:
    conditions = "".join(f" AND {each}" for each in made.conditions)
    statement = BY_WORD.format(conditions=conditions, order=order)
    return connection.execute(statement, [made.expression(begun=begun), *made.values, limit])


def _scanned(
    connection: Connection, conditions: Sequence[str], values: Sequence[Any], limit: int
) -> Iterator[tuple[Any, ...]]:
    statement = AS_IT_STANDS.format(conditions="".join(f" AND {each}" for each in conditions))
    return connection.execute(statement, [*values, limit])


def _of_the_tail(made: Plan, waiting: Gap) -> tuple[list[str], list[Any]]:
    """The same question to the newest of the messages that wait to be indexed, with none of the index in it."""
    conditions = ["m.seq > ? AND m.seq <= ?"]
    values: list[Any] = [max(waiting.above, waiting.upto - TAIL), waiting.upto]
    for term in made.terms:
        conditions.append(f"instr(lower(m.text), lower(?)) {'=' if term.excluded else '>'} 0")
        values.append(term.text)
    facets = FACETS.format(row="m")
    there = f"EXISTS (SELECT 1 FROM json_each(?) WHERE instr({facets} || ' ', value) > 0)"
    for wanted in made.wanted:
        conditions.append(there)
        values.append(json.dumps([f"{MARK}{each} " for each in wanted]))
    if made.unwanted:
        conditions.append(f"NOT {there}")
        values.append(json.dumps([f"{MARK}{each} " for each in made.unwanted]))
    return [*conditions, *made.conditions], [*values, *made.values]


def _collect(
    found: list[tuple[int, Hit]], coming: Iterator[tuple[Any, ...]], words: Sequence[str] | None = None
) -> None:
    """Take the rows one by one, so that those that came before an end of patience stay."""
    for seq, message_id, session_id, title, role, created_at, text in coming:
        snippet, matches = _unmark(text) if words is None else _cut(text, words)
        found.append((seq, Hit(message_id, session_id, title, role, snippet, created_at, matches)))


def _unmark(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    plain: list[str] = []
    matches: list[tuple[int, int]] = []
    length = start = 0
    for piece in re.split(f"([{OPEN}{CLOSE}])", marked):
        if piece == OPEN:
            start = length
        elif piece == CLOSE:
            matches.append((start, length))
        else:
            plain.append(piece)
            length += len(piece)
    return "".join(plain), tuple(matches)


def _hit_of(message: Message, title: str, words: Sequence[str]) -> Hit:
    snippet, matches = _cut(message.text, words)
    return Hit(message.id, message.session_id, title, message.role, snippet, message.created_at, matches)


def _cut(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    pattern = re.compile("|".join(re.escape(word) for word in words) or "(?!)", re.IGNORECASE)
    first = pattern.search(text)
    middle = first.start() if first else 0
    begin, end = max(0, middle - SNIPPET_CHARACTERS), middle + SNIPPET_CHARACTERS
    snippet = ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
    return snippet, tuple(match.span() for match in pattern.finditer(snippet))
