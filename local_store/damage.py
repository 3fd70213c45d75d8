"""Reading around damaged pages: everything else is there, and what is not has a stand-in that says so.

The engine refuses a whole statement for one bad page, and after it that connection distrusts good pages too. So what
was asked for is asked again in halves, each failure on a fresh connection, down to the rows that cannot be read. Which
rows there are is told by the indexes, whose pages are others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from local_store import engine, rows
from local_store.database import Database
from local_store.errors import Damaged, NotFound
from local_store.ids import time_of
from local_store.types import Message, Role, Session

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")
MOST_FAILURES = 400
"""After so many, what is still to be read counts as damaged: about a second."""
LOST_MESSAGE = "This message cannot be read: its page is damaged."
LOST_SESSION = "(its title cannot be read: its page is damaged)"
BARE = """
    JOIN (SELECT NULL AS prompt_tokens, NULL AS completion_tokens, NULL AS reasoning_tokens, NULL AS cached_tokens,
        NULL AS cost_usd, '' AS cost_known) u
    JOIN (SELECT NULL AS state) q JOIN (SELECT NULL AS provider) begun
"""
"""A message alone, for when what stands beside it is what cannot be read."""
SEARCHED = 2_000
"""So many of the newest messages are searched while the index or some of what it names cannot be read."""
NEWEST = "SELECT seq, id FROM message INDEXED BY sqlite_autoindex_message_1 ORDER BY id DESC LIMIT ?"
IDS = "SELECT seq, id FROM message INDEXED BY sqlite_autoindex_message_2 WHERE session_id = ?"
PARENTS = "SELECT seq, parent_id FROM message INDEXED BY message_by_parent WHERE session_id = ?"
ONE = "SELECT seq, NULL FROM message INDEXED BY sqlite_autoindex_message_1 WHERE id = ?"
ONE_BY_SESSION = "SELECT seq, session_id FROM message INDEXED BY sqlite_autoindex_message_2 WHERE id = ?"
WHERE_IT_IS = "SELECT session_id, parent_id FROM message INDEXED BY message_by_parent WHERE seq = ?"
SESSION_IDS = "SELECT seq, id FROM session INDEXED BY sqlite_autoindex_session_1"
LISTED = """
    SELECT seq, pinned, updated_at FROM session INDEXED BY session_by_use
    WHERE archived = ? ORDER BY pinned DESC, updated_at DESC, seq DESC LIMIT ?
"""


async def reading(database: Database, operation: Callable[[Connection], T], around: Callable[[Around], T]) -> T:
    """Return what `operation` reads; where that meets a damaged page, what `around` gets together without it.

    Raises Damaged when not even that is possible.
    """
    try:
        return await database.read(operation)
    except Damaged as error:
        return await asyncio.to_thread(_around, database, around, error)


def _around(database: Database, around: Callable[[Around], T], first: Damaged) -> T:
    with contextlib.closing(Around(database)) as reader:
        try:
            return around(reader)
        except Damaged:
            # The indexes are damaged too: what was wrong at first is what a person has to know.
            raise first from None


class Around:
    """Reads what it can, on connections of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._failures = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def window(self, session_id: str, leaf_id: str | None, limit: int) -> list[Message]:
        """Return the last messages of a branch, root first, with stand-ins. Raises Damaged, NotFound."""
        tree = self._tree(session_id)
        leaf = leaf_id or self._leaf(session_id, tree)
        if leaf is None:
            return []
        places = {message_id: (seq, parent_id) for seq, (message_id, parent_id) in tree.items()}
        if leaf not in places:
            raise NotFound(f"there is no message {leaf!r} in session {session_id!r}")
        branch: list[int] = []
        here: str | None = leaf
        while here in places and len(branch) < min(limit, len(places)):
            seq, here = places[here]
            branch.append(seq)
        return self._messages(session_id, branch[::-1], tree)

    def all(self, session_id: str) -> list[Message]:
        """Return every message of the session, oldest first, with stand-ins. Raises Damaged, NotFound."""
        tree = self._tree(session_id)
        if not tree:
            self._session_seq(session_id)
        return self._messages(session_id, sorted(tree), tree)

    def message(self, message_id: str) -> Message:
        """Return the message, or its stand-in. Raises Damaged, NotFound."""
        found = self._try(ONE, [message_id])
        if found is None:
            found = self._ask(ONE_BY_SESSION, [message_id])
        if not found:
            raise NotFound(f"there is no message {message_id!r}")
        seq, session_id = found[0]
        told = dict(self._each([seq], _whole_messages) or self._each([seq], _bare_messages))
        if seq in told:
            return told[seq]
        session_id, parent_id = (self._try(WHERE_IT_IS, [seq]) or [(session_id or "", None)])[0]
        tree = self._tree(session_id) if session_id else {}
        tree.setdefault(seq, (message_id, parent_id))
        return self._messages(session_id, [seq], tree)[0]

    def sessions(self, limit: int, *, archived: bool = False) -> list[Session]:
        """Return the sessions as they are listed, with stand-ins. Raises Damaged."""
        ids = self._session_ids()
        listed = self._try(LISTED, [int(archived), limit])
        if listed is None:
            return self._sorted_sessions(list(ids), limit, archived=archived)
        found = dict(self._each([row[0] for row in listed], _sessions))
        return [
            found.get(seq) or self._lost_session(ids[seq], updated_at, pinned=bool(pinned), archived=archived)
            for seq, pinned, updated_at in listed
            if seq in found or seq in ids
        ]

    def _sorted_sessions(self, places: Sequence[int], limit: int, *, archived: bool) -> list[Session]:
        found = [each for _, each in self._each(places, _sessions) if each.archived == archived]
        return sorted(found, key=lambda each: (each.pinned, each.updated_at), reverse=True)[:limit]

    def _session_ids(self) -> dict[int, str]:
        """Every session's place and id, from one index or, by way of another, from the rows."""
        if (found := self._try(SESSION_IDS, [])) is not None:
            return dict(found)
        places = [row[0] for archived in (0, 1) for row in self._ask(LISTED, [archived, -1])]
        return {seq: each.id for seq, each in self._each(places, _sessions)}

    def session(self, wanted: str) -> Session:
        """Return the session whose id begins so, or its stand-in. Raises Damaged, NotFound."""
        fits = [pair for pair in self._session_ids().items() if wanted and pair[1].startswith(wanted)]
        if len(fits) > 1:
            raise NotFound(f"more than one session starts with {wanted!r}", hint="Give more of its id.")
        if not fits:
            raise NotFound(f"there is no session {wanted!r}")
        seq, session_id = fits[0]
        found = dict(self._each([seq], _sessions))
        return found.get(seq) or self._lost_session(session_id, time_of(session_id), pinned=False, archived=False)

    def holding(self, words: Sequence[str], limit: int) -> list[tuple[Message, str]]:
        """Return the newest messages that hold all these words, with the titles of their sessions. Raises Damaged."""
        places = [seq for seq, _ in self._ask(NEWEST, [SEARCHED])]
        wanted = [word.casefold() for word in words]
        found = dict(self._each(places, _bare_messages))
        kept = [each for seq in places if (each := found.get(seq)) and all(w in each.text.casefold() for w in wanted)]
        return [(each, self.session(each.session_id).title) for each in kept[:limit]]

    def _lost_session(self, session_id: str, used: int, *, pinned: bool, archived: bool) -> Session:
        tree = self._tree(session_id)
        newest = tree[max(tree)][0] if tree else None
        at = time_of(session_id)
        return Session(session_id, LOST_SESSION, at, used, len(tree), newest, pinned, archived)

    def _tree(self, session_id: str) -> dict[int, tuple[str, str | None]]:
        """Every message of the session by its place: its id and its parent's, without its page."""
        ids, parents = self._try(IDS, [session_id]), self._try(PARENTS, [session_id])
        if ids is None and parents is None:
            raise Damaged("both indexes of the messages are damaged", path=self._database.path)
        known_ids, known_parents = dict(ids or ()), dict(parents or ())
        if ids is None or parents is None:
            for seq, (message_id, parent_id) in self._each([*known_ids, *known_parents], _identities):
                known_ids[seq], known_parents[seq] = message_id, parent_id
        return {seq: (message_id, known_parents.get(seq)) for seq, message_id in known_ids.items()}

    def _leaf(self, session_id: str, tree: dict[int, tuple[str, str | None]]) -> str | None:
        seq = self._session_seq(session_id)
        found = dict(self._each([seq], _sessions))
        if seq in found:
            return found[seq].active_leaf
        return tree[max(tree)][0] if tree else None

    def _session_seq(self, session_id: str) -> int:
        for seq, each in self._session_ids().items():
            if each == session_id:
                return seq
        raise NotFound(f"there is no session {session_id!r}")

    def _messages(
        self, session_id: str, places: Sequence[int], tree: dict[int, tuple[str, str | None]]
    ) -> list[Message]:
        found = dict(self._each(places, _whole_messages))
        found.update(self._each([seq for seq in places if seq not in found], _bare_messages))
        roles: dict[str, Role] = {each.id: each.role for each in found.values()}
        lost = sorted(set(places) - set(found))
        seqs = {message_id: seq for seq, (message_id, _) in tree.items()} if lost else {}
        for seq in lost:
            message_id, parent_id = tree[seq]
            self._tell_role(message_id, tree, seqs, roles)
            found[seq] = _lost(message_id, session_id, parent_id, roles[message_id])
        return [found[seq] for seq in places]

    def _tell_role(
        self, message_id: str, tree: dict[int, tuple[str, str | None]], seqs: dict[str, int], roles: dict[str, Role]
    ) -> None:
        """Guess who said it from the nearest message above whose role is known: they take turns."""
        chain = [message_id]
        above = tree[seqs[message_id]][1]
        while above is not None and above in seqs and above not in roles and len(chain) <= len(seqs):
            if told := dict(self._each([seqs[above]], _roles)):
                roles[above] = told[seqs[above]]
            else:
                chain.append(above)
                above = tree[seqs[above]][1]
        before: Role | None = roles.get(above) if above is not None else None
        for each in reversed(chain):
            before = roles[each] = "assistant" if before == "user" else "user"

    def _each(
        self, places: Sequence[int], read: Callable[[Connection, Sequence[int]], list[tuple[int, T]]]
    ) -> list[tuple[int, T]]:
        """What can be read of these rows: all at once, or in halves."""
        if not places or self._failures >= MOST_FAILURES:
            return []
        try:
            with engine.engine_errors(self._database.path):
                found = read(self._fresh(), places)
                engine.refuse_zeros(self._fresh())
                return found
        except Damaged:
            self._failures += 1
            self.close()
        if len(places) == 1:
            return []
        middle = len(places) // 2
        return [*self._each(places[:middle], read), *self._each(places[middle:], read)]

    def _try(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]] | None:
        try:
            return self._ask(statement, values)
        except Damaged:
            return None

    def _ask(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with engine.engine_errors(self._database.path):
                found: list[tuple[Any, ...]] = self._fresh().execute(statement, values).fetchall()
                engine.refuse_zeros(self._fresh())
                return found
        except Damaged:
            self.close()
            raise

    def _fresh(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.scratch()
        return self._connection


def _in(places: Sequence[int]) -> str:
    return ",".join(str(int(seq)) for seq in places)


def _sessions(connection: Connection, places: Sequence[int]) -> list[tuple[int, Session]]:
    found = connection.execute(f"SELECT seq, {rows.SESSION} FROM session WHERE seq IN ({_in(places)})")
    return [(row[0], rows.session(row[1:])) for row in found]


def _roles(connection: Connection, places: Sequence[int]) -> list[tuple[int, Role]]:
    return connection.execute(f"SELECT seq, role FROM message WHERE seq IN ({_in(places)})").fetchall()


def _identities(connection: Connection, places: Sequence[int]) -> list[tuple[int, tuple[str, str | None]]]:
    found = connection.execute(f"SELECT seq, id, parent_id FROM message WHERE seq IN ({_in(places)})")
    return [(seq, (message_id, parent_id)) for seq, message_id, parent_id in found]


def _whole_messages(connection: Connection, places: Sequence[int]) -> list[tuple[int, Message]]:
    statement = f"SELECT m.seq, {rows.MESSAGE} FROM message m {rows.BESIDE_MESSAGE} WHERE m.seq IN ({_in(places)})"
    found = connection.execute(statement).fetchall()
    told = rows.messages(connection, [row[1:] for row in found])
    return [(row[0], each) for row, each in zip(found, told, strict=True)]


def _bare_messages(connection: Connection, places: Sequence[int]) -> list[tuple[int, Message]]:
    statement = f"SELECT m.seq, {rows.MESSAGE} FROM message m {BARE} WHERE m.seq IN ({_in(places)})"
    return [(row[0], rows.message(row[1:])) for row in connection.execute(statement)]


def _lost(message_id: str, session_id: str, parent_id: str | None, role: Role) -> Message:
    asked = role == "user"
    return Message(
        id=message_id,
        session_id=session_id,
        parent_id=parent_id,
        role=role,
        text=LOST_MESSAGE,
        reasoning="",
        status="complete" if asked else "failed",
        provider=None,
        model=None,
        request_id="",
        finish_reason=None,
        error=None if asked else LOST_MESSAGE,
        created_at=time_of(message_id),
        finished_at=None,
        usage=None,
    )
