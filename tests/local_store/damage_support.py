"""A store with a bit of everything, and what is needed to damage it and to see what is left."""

# ruff: noqa: S608 - what is put into statements here are our own names and ids

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local_store import Store, StorePaths, engine
from local_store.btree import INDEX_INSIDE, TABLE_INSIDE, Forest
from local_store.keys import Credentials, open_keys
from local_store.pages import Pages

from .conftest import CHEAP

GIVEN = Credentials(None, None, False)
PAGE = 4096
UNCOUNTED = ("sqlite_", "_sqlite_", "message_fts", "search_")
Contents = dict[str, set[tuple[object, ...]]]


def keys_of(paths: StorePaths) -> list[bytes]:
    return open_keys(paths, GIVEN, CHEAP, create=False).database_keys()


async def fill(store: Store, sessions: int = 4, turns: int = 12) -> list[str]:
    """Conversations with long and short texts, and something in most other tables; returns the sessions' ids."""
    ids = []
    for number in range(sessions):
        session = await store.sessions.create(f"Conversation {number}")
        ids.append(session.id)
        parent = None
        for step in range(turns):
            asked = f"question {number}.{step} " + os.urandom(40).hex()
            turn = await store.turns.begin(session.id, parent, asked, request_id="r")
            said = f"answer {number}.{step} " + os.urandom(6000 if step % 5 == 4 else 150).hex()
            await store.turns.finish(turn.answer.id, text=said, status="complete")
            parent = turn.answer.id
        await store.audit.append("test.entry", session.id)
        await store.drafts.save(session.id, f"draft {number}")
    return ids


def flip(path: Path, page: int, at: int = 777) -> None:
    """Change one bit of that page; once more, and it is as it was."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE + at)
        (byte,) = file.read(1)
        file.seek((page - 1) * PAGE + at)
        file.write(bytes([byte ^ 1]))


def contents(paths: StorePaths) -> Contents:
    """Every row of every table, as the engine reads it."""
    connection = engine.Opener(paths.database, keys_of(paths)[0]).reader()
    with contextlib.closing(connection):
        tables = [row[1] for row in connection.execute("PRAGMA table_list") if row[0] == "main" and row[2] == "table"]
        kept = [name for name in tables if not name.startswith(UNCOUNTED)]
        return {name: set(connection.execute(f'SELECT * FROM "{name}"')) for name in kept}


@dataclass(frozen=True)
class Layout:
    """Where everything lies in a sound database."""

    pages: int
    rows: dict[str, dict[int, int]]
    """The page of each row, by table and by the row's number."""
    above: dict[str, int]
    """Tables and indexes of more than one page, with the page that only leads to the others."""
    root: dict[str, int]
    """The page with which each table and index begins."""
    schema: frozenset[int]


def layout(paths: StorePaths) -> Layout:
    with Pages(paths.database, keys_of(paths)) as pages:
        forest = Forest(pages)
        trees = forest.trees()
        schema = frozenset(forest.seen)
        rows = {tree.name: {row.rowid: row.page for row in forest.rows(tree)} for tree in trees}
        roots = {tree.name: (pages.page(tree.root) or b"\0")[0] for tree in trees}
        above = {tree.name: tree.root for tree in trees if roots[tree.name] in (TABLE_INSIDE, INDEX_INSIDE)}
        return Layout(pages.count, rows, above, {tree.name: tree.root for tree in trees}, schema)


@contextlib.contextmanager
def copied(paths: StorePaths, to: Path) -> Iterator[StorePaths]:
    """The same store once more, to be damaged."""
    shutil.copytree(paths.root, to)
    yield StorePaths(to, paths.device_dir)
    shutil.rmtree(to, ignore_errors=True)
