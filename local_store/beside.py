"""What every transaction writes beside its operations: the places of its new messages in the search index.

The index writes out what it has gathered whenever another statement with triggers begins. So a message at a time costs
several times what a group costs, and the new messages of a transaction are indexed together, right before its end.
What the index has come to is `search_state.reached`; above that lie the messages of the transaction under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from local_store.search_schema import FACETS, MONTH
from local_store.watch import newest_change

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_AT_ONCE = 5_000
"""More are there only where somebody wrote without this: the next transactions take them in."""
STATE = "SELECT above, upto, reached, (SELECT ifnull(max(seq), 0) FROM message) FROM search_state"
TAKE_IN = f"""
    INSERT INTO message_fts (rowid, text, facets)
    SELECT m.seq, m.text, {FACETS.format(row="m")}
    FROM message m WHERE m.seq >= ? AND m.seq <= ? AND m.status <> 'streaming' ORDER BY m.seq
"""
SPOKEN_OF = f"""
    SELECT DISTINCT m.provider, m.model, m.persona, {MONTH.format(row="m")}
    FROM message m WHERE m.seq >= ? AND m.seq <= ?
"""
KINDS = ("provider", "model", "persona", "month")


class Beside:
    """Runs at the beginning and at the end of every transaction. Used by the thread that writes."""

    def __init__(self) -> None:
        self.silent = False
        """The index cannot be written, as a page of it is damaged: new messages wait, as far as that can be told."""

    def begin(self, connection: Connection) -> int:
        """Return the number of the newest change before the transaction."""
        return newest_change(connection)

    def end(self, connection: Connection, before: int) -> tuple[int, int]:
        """Index what is new, and return the numbers of the changes, without the first. The engine's errors pass."""
        (defer_fresh if self.silent else index_fresh)(connection)
        return before, newest_change(connection)


def index_fresh(connection: Connection) -> None:
    """Give the new messages their places in the index, save those that wait for theirs."""
    above, upto, reached, top = connection.execute(STATE).fetchone()
    if top <= reached:
        return
    top = min(top, reached + MOST_AT_ONCE)
    connection.execute("UPDATE search_state SET reached = ?", [top])
    for lowest, highest in _outside(above, upto, reached, top):
        take_in(connection, lowest, highest)
    # It writes what it gathered when a savepoint begins; a page it cannot write should be known before the commit.
    connection.execute("SAVEPOINT indexed")
    connection.execute("RELEASE indexed")


def defer_fresh(connection: Connection) -> None:
    """Let the new messages wait, where what waits lies right before them."""
    connection.execute(
        "UPDATE search_state SET above = iif(above < upto, above, reached),"
        " reached = (SELECT ifnull(max(seq), 0) FROM message),"
        " upto = max(upto, (SELECT ifnull(max(seq), 0) FROM message))"
        " WHERE above >= upto OR upto >= reached"
    )


def take_in(connection: Connection, lowest: int, highest: int) -> None:
    """Index the messages from one place to another, which are not in the index yet."""
    spoken_of = connection.execute(SPOKEN_OF, [lowest, highest]).fetchall()
    names = {(kind, name) for each in spoken_of for kind, name in zip(KINDS, each, strict=True) if name is not None}
    if names:
        connection.executemany("INSERT OR IGNORE INTO search_name (kind, name) VALUES (?, ?)", sorted(names))
    connection.execute(TAKE_IN, [lowest, highest])


def _outside(above: int, upto: int, reached: int, top: int) -> Iterator[tuple[int, int]]:
    """The places after `reached` up to `top`, without those that wait: above < place <= upto."""
    if above >= upto or upto <= reached or above >= top:
        yield reached + 1, top
        return
    if above > reached:
        yield reached + 1, above
    if upto < top:
        yield upto + 1, top
