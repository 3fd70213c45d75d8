"""A store that an earlier version wrote opens with everything in it, or stays exactly as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_store import StoreError, StorePaths, Usage, engine, schema
from local_store.keys import Credentials, open_keys
from local_store.usage import SPENT

from .conftest import CHEAP, OpenStore

if TYPE_CHECKING:
    from sqlite3 import Connection

V1 = (Path(__file__).parent / "schema_v1.sql").read_text("utf-8")
BOOKKEEPING = """
CREATE TABLE "_sqlite_migrations" ("id" INTEGER PRIMARY KEY, "migration_set" TEXT, "name" TEXT, "applied_at" TEXT);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name" ON "_sqlite_migrations" ("migration_set", "name");
INSERT INTO _sqlite_migrations VALUES (1, 'local_store', 'm001_conversations', '2026-01-02 03:04:05+00:00');
PRAGMA user_version = 1;
PRAGMA application_id = 1397706824;
"""
DATA = """
INSERT INTO session VALUES (1, '01S', 'A trip', 'a trip', 10, 20, 4, '01C');
INSERT INTO message VALUES
    (1, '01Q', '01S', NULL, 'user', 'Where to?', '', 'complete', NULL, NULL, NULL, 'r', NULL, NULL, 11, 11),
    (2, '01A', '01S', '01Q', 'assistant', 'Portugal', 'hm', 'complete', NULL, 'p', 'm', 'r', 'stop', NULL, 12, 13),
    (3, '01B', '01S', '01A', 'user', 'Why?', '', 'complete', NULL, NULL, NULL, 'r', NULL, NULL, 14, 14),
    (4, '01C', '01S', '01B', 'assistant', '', '', 'streaming', 'gone', NULL, NULL, 'r', NULL, NULL, 15, NULL);
INSERT INTO journal VALUES (1, '01C', 'Because', '');
INSERT INTO usage VALUES (1, '01A', '01S', 13, 'p', 'm', 10, 20, NULL, NULL, 0.25);
INSERT INTO draft VALUES ('k', 'half a thou', 16);
"""


async def write_v1(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the first version in place of a new one, with the same keys."""
    await (await opening()).close()
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    for path in paths.root.glob("sophia.db*"):
        path.unlink()
    paths.database.touch(0o600)
    connection = engine.Opener(paths.database, keys.database_keys()[0]).writer()
    connection.executescript(V1 + BOOKKEEPING + DATA)
    connection.execute("INSERT INTO meta VALUES ('store_id', ?)", [keys.store_id])
    connection.close()


def raw(paths: StorePaths) -> Connection:
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    return engine.Opener(paths.database, keys.database_keys()[0]).writer()


def shape(connection: Connection) -> dict[str, str | None]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlite%'").fetchall())


def test_a_released_schema_is_not_edited() -> None:
    assert [*(schema.CONVERSATIONS + schema.SEARCH_INDEX).split()] == V1.split()


async def test_a_store_of_the_first_version_keeps_everything(opening: OpenStore, paths: StorePaths) -> None:
    await write_v1(opening, paths)
    store = await opening()
    assert not store.created
    assert await store.turns.recover() == 1
    texts = [(message.text, message.status) for message in await store.messages.path("01S")]
    assert texts == [
        ("Where to?", "complete"),
        ("Portugal", "complete"),
        ("Why?", "complete"),
        ("Because", "interrupted"),
    ]
    answer = await store.messages.get("01A")
    assert (answer.reasoning, answer.provider, answer.model, answer.finish_reason) == ("hm", "p", "m", "stop")
    assert answer.usage == Usage(10, 20, cost_usd=0.25)
    assert (answer.queued, answer.continues, answer.cached_at) == (None, None, None)
    assert [hit.message_id for hit in await store.search.messages("portugal")] == ["01A"]
    assert await store.drafts.load("k") == "half a thou"
    assert await store.usage.spent_since(13) == 0.25
    checks = await store.check(full=True)
    assert {result.name for result in checks if not result.ok} == {"recovery key", "key slots"}


async def test_an_upgraded_store_has_all_a_new_one_has(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    await write_v1(opening, paths)
    store = await opening()
    turn = await store.turns.begin("01S", "01A", "And then?", request_id="r")
    await store.outbox.queue(turn.answer.id, provider=None, model=None, error="offline")
    await store.secrets.set("token", "x")
    await store.responses.remember("k", "01A")
    await store.close()
    fresh = StorePaths(tmp_path / "fresh", tmp_path / "fresh-device")
    await (await opening(at=fresh)).close()
    upgraded, new = raw(paths), raw(fresh)
    assert shape(upgraded) == shape(new)
    recorded = upgraded.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    assert recorded == [("m001_conversations",), ("m002_outbox",)]
    assert upgraded.execute("PRAGMA user_version").fetchone() == (2,)
    for connection in (upgraded, new):
        connection.close()


async def test_an_upgrade_that_fails_changes_nothing(opening: OpenStore, paths: StorePaths) -> None:
    await write_v1(opening, paths)
    connection = raw(paths)
    connection.execute("CREATE TABLE response (in_the_way TEXT)")
    before = shape(connection)
    connection.close()
    with pytest.raises(StoreError, match="response"):
        await opening()
    connection = raw(paths)
    assert shape(connection) == before and "outbox" not in before
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone() == (1,)
    connection.execute("DROP TABLE response")
    connection.close()
    assert len(await (await opening()).messages.all("01S")) == 4


async def test_upgrades_at_the_same_time_are_one(opening: OpenStore, paths: StorePaths) -> None:
    await write_v1(opening, paths)
    stores = await asyncio.gather(*(opening() for _ in range(4)))
    for store in stores:
        assert len(await store.messages.all("01S")) == 4
        assert await store.outbox.list() == []


async def test_what_was_spent_is_found_by_an_index(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    connection = raw(paths)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {SPENT}", [0])]
    connection.close()
    assert plan == ["SEARCH usage USING COVERING INDEX usage_paid (at>?)"]
