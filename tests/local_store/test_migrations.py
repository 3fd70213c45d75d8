"""A store that an earlier version wrote opens with everything in it, or stays exactly as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_store import StoreError, StoreFull, StorePaths, Usage, engine, schema, search_schema
from local_store.keys import Credentials, open_keys
from local_store.migrations import SCHEMA, migrate
from local_store.usage import SPENT

from .conftest import CHEAP, OpenStore

if TYPE_CHECKING:
    from sqlite3 import Connection

Write = Callable[[OpenStore, StorePaths], Awaitable[None]]

V1 = (Path(__file__).parent / "schema_v1.sql").read_text("utf-8")
V2 = (Path(__file__).parent / "schema_v2.sql").read_text("utf-8")
V3 = (Path(__file__).parent / "schema_v3.sql").read_text("utf-8")
V4 = (Path(__file__).parent / "schema_v4.sql").read_text("utf-8")
V5 = (Path(__file__).parent / "schema_v5.sql").read_text("utf-8")
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
UPGRADED = """
INSERT INTO _sqlite_migrations VALUES (2, 'local_store', 'm002_outbox', '2026-02-03 04:05:06+00:00');
PRAGMA user_version = 2;
INSERT INTO message VALUES
    (5, '01D', '01S', '01A', 'user', 'When?', '', 'complete', NULL, NULL, NULL, 'r', NULL, NULL, 17, 17, NULL, NULL),
    (6, '01E', '01S', '01D', 'assistant', '', '', 'failed', NULL, NULL, NULL, 'r', NULL, 'cut', 18, 18, '01A', NULL);
INSERT INTO outbox VALUES (1, '01E', '01S', 'p', 'm', 'waiting', NULL, 2, 'cut', 18, 19);
INSERT INTO response VALUES (1, 'k', '01A');
INSERT INTO secret VALUES ('token', 'hush', 20);
"""
ORGANISED = """
INSERT INTO _sqlite_migrations VALUES (3, 'local_store', 'm003_audit', '2026-03-04 05:06:07+00:00');
PRAGMA user_version = 3;
UPDATE session SET pinned = 1, folder = 'journeys';
INSERT INTO tag VALUES ('01S', 'sea');
INSERT INTO imported VALUES ('llm', 'x1', '01S');
"""

RECORDED = """
INSERT INTO _sqlite_migrations VALUES (4, 'local_store', 'm004_records', '2026-04-05 06:07:08+00:00');
PRAGMA user_version = 4;
INSERT INTO memory VALUES (1, '01M', '', 'likes the sea', '01A', 21, 22, 3, 0);
"""
ALERTED = """
INSERT INTO _sqlite_migrations VALUES (5, 'local_store', 'm005_alerts', '2026-05-06 07:08:09+00:00');
PRAGMA user_version = 5;
INSERT INTO run VALUES (1, '01R', '01S', 'p', 'Research', 'running', 23, 24, NULL);
INSERT INTO run_event VALUES (7, '01R', 1, 24, 'began', '', '{"n":1}');
"""


async def write_v1(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the first version in place of a new one, with the same keys."""
    await write_old(opening, paths, V1 + BOOKKEEPING + DATA)


async def write_v2(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the second version in place of a new one, with the same keys."""
    await write_old(opening, paths, V1 + BOOKKEEPING + DATA + V2 + UPGRADED)


async def write_v3(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the third version in place of a new one, with the same keys."""
    await write_old(opening, paths, V1 + BOOKKEEPING + DATA + V2 + UPGRADED + V3 + ORGANISED)


async def write_v4(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the fourth version in place of a new one, with the same keys."""
    await write_old(opening, paths, V1 + BOOKKEEPING + DATA + V2 + UPGRADED + V3 + ORGANISED + V4 + RECORDED)


async def write_v5(opening: OpenStore, paths: StorePaths) -> None:
    """Put a database of the fifth version in place of a new one, with the same keys."""
    fourth = V1 + BOOKKEEPING + DATA + V2 + UPGRADED + V3 + ORGANISED + V4 + RECORDED
    await write_old(opening, paths, fourth + V5 + ALERTED)


async def write_old(opening: OpenStore, paths: StorePaths, script: str) -> None:
    await (await opening()).close()
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    for path in paths.root.glob("sophia.db*"):
        path.unlink()
    paths.database.touch(0o600)
    connection = engine.Opener(paths.database, keys.database_keys()[0]).writer()
    connection.executescript(script or "CREATE TABLE meta (key TEXT, value TEXT)")
    connection.execute("INSERT INTO meta VALUES ('store_id', ?)", [keys.store_id])
    connection.close()


def store_id(paths: StorePaths) -> str:
    return open_keys(paths, Credentials(None, None, False), CHEAP, create=False).store_id


def raw(paths: StorePaths) -> Connection:
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    return engine.Opener(paths.database, keys.database_keys()[0]).writer()


def shape(connection: Connection) -> dict[str, str | None]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlite%'").fetchall())


def test_a_released_schema_is_not_edited() -> None:
    assert [*(schema.CONVERSATIONS + schema.SEARCH_INDEX).split()] == V1.split()
    assert [*schema.OUTBOX.split()] == V2.split()
    assert [*(schema.ORGANISING + schema.AUDIT).split()] == V3.split()
    records = schema.ATTACHMENTS + schema.ORGANISED_BY_HAND + schema.MEANING + schema.RECORDS
    assert [*(records + search_schema.SEARCH).split()] == V4.split()
    assert [*schema.ALERTS.split()] == V5.split()


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


async def test_a_store_of_the_second_version_keeps_everything(opening: OpenStore, paths: StorePaths) -> None:
    await write_v2(opening, paths)
    store = await opening()
    (letter,) = await store.outbox.list()
    assert (letter.id, letter.question, letter.attempts, letter.retry_at) == ("01E", "When?", 2, 19)
    assert (await store.messages.get("01E")).continues == "01A"
    response = await store.responses.find("k", max_age_ms=2**60)
    assert response is not None and response.text == "Portugal"
    assert await store.secrets.get("token") == "hush"
    assert len(await store.messages.all("01S")) == 6
    assert (await store.audit.append("session.delete", "01S")).seq == 1
    assert (await store.audit.verify()).ok
    await store.close()
    connection = raw(paths)
    assert connection.execute("SELECT pinned, archived, folder FROM session").fetchall() == [(0, 0, "")]
    connection.close()


async def test_a_store_of_the_third_version_keeps_everything(opening: OpenStore, paths: StorePaths) -> None:
    await write_v3(opening, paths)
    store = await opening()
    outline = await store.bulk.outline("01S")
    assert (outline.pinned, outline.archived, outline.folder, outline.tags) == (True, False, "journeys", ("sea",))
    assert [each.id for each in await store.sessions.list()] == ["01S"]
    await store.close()
    connection = raw(paths)
    assert connection.execute("SELECT source, source_id, session_id FROM imported").fetchall() == [("llm", "x1", "01S")]
    assert connection.execute("SELECT persona FROM session").fetchall() == [(None,)]
    connection.close()


async def test_a_store_of_the_fourth_version_keeps_everything(opening: OpenStore, paths: StorePaths) -> None:
    await write_v4(opening, paths)
    store = await opening()
    (memory,) = await store.memories.list()
    assert (memory.id, memory.text, memory.message_id, memory.uses) == ("01M", "likes the sea", "01A", 3)
    assert [hit.message_id for hit in await store.search.messages("portugal")] == ["01A"]
    assert await store.deliveries.list() == [] and await store.alerts.list() == []
    await store.close()


async def test_a_store_of_the_fifth_version_keeps_everything(opening: OpenStore, paths: StorePaths) -> None:
    await write_v5(opening, paths)
    store = await opening()
    run = await store.runs.get("01R")
    assert (run.title, run.parent, run.summary, run.status) == ("Research", None, {}, "running")
    assert await store.runs.newest() == 7
    assert (await store.runs.append("01R", "more", key="k")).number == 2
    assert [event.kind for event in (await store.runs.unheard(7))[1]] == ["more"]
    assert await store.approvals.waiting() == [] and await store.board.list() == []
    await store.close()


@pytest.mark.parametrize("write", [write_v1, write_v2, write_v3, write_v4, write_v5])
async def test_an_upgraded_store_has_all_a_new_one_has(
    opening: OpenStore, paths: StorePaths, tmp_path: Path, write: Write
) -> None:
    await write(opening, paths)
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
    steps = ["m001_conversations", "m002_outbox", "m003_audit", "m004_records", "m005_alerts", "m006_swarm"]
    assert [name for (name,) in recorded] == steps
    assert upgraded.execute("PRAGMA user_version").fetchone() == (6,)
    for connection in (upgraded, new):
        connection.close()


async def test_an_upgrade_of_the_second_version_that_fails_changes_nothing(
    opening: OpenStore, paths: StorePaths
) -> None:
    await write_v2(opening, paths)
    connection = raw(paths)
    connection.execute("CREATE TABLE imported (in_the_way TEXT)")
    before = shape(connection)
    connection.close()
    with pytest.raises(StoreError, match="imported"):
        await opening()
    connection = raw(paths)
    assert shape(connection) == before and "tag" not in before and "pinned" not in str(before["session"])
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.execute("DROP TABLE imported")
    connection.close()
    assert len(await (await opening()).outbox.list()) == 1


async def test_somebody_may_look_before_an_upgrade_while_nobody_writes(opening: OpenStore, paths: StorePaths) -> None:
    await write_v2(opening, paths)
    connection, seen = raw(paths), []

    def look(version: int) -> None:
        other = raw(paths)
        seen.append((version, "audit" in shape(other), other.execute("SELECT count(*) FROM message").fetchone()))
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(engine.load().OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()

    for _ in range(2):
        migrate(connection, paths.database, store_id(paths), before=look)
    assert seen == [(2, False, (6,))]
    assert "audit" in shape(connection)
    connection.close()


async def test_an_upgrade_waits_for_whoever_looks_first(opening: OpenStore, paths: StorePaths) -> None:
    await write_v2(opening, paths)
    connection = raw(paths)
    before = shape(connection)

    def look(version: int) -> None:
        raise StoreFull(f"no place to copy version {version} to")

    with pytest.raises(StoreFull, match="version 2"):
        migrate(connection, paths.database, store_id(paths), before=look)
    assert shape(connection) == before
    connection.close()


async def test_nobody_looks_at_a_new_store(tmp_path: Path, opening: OpenStore, paths: StorePaths) -> None:
    await write_old(opening, paths, "")
    connection = raw(paths)
    connection.execute("DROP TABLE meta")
    migrate(connection, paths.database, store_id(paths), before=lambda version: pytest.fail(f"looked at {version}"))
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


def test_a_new_store_is_as_an_upgraded_one_would_be(tmp_path: Path) -> None:
    """What is made at once, and what sqlite-utils makes step by step, are the same letter by letter."""
    from local_store.migrations import _make, _upgrade

    made = []
    for make in (_make, _upgrade):
        connection = engine.load().connect(":memory:", isolation_level=None)
        make(connection, "store")
        schema_of = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
        steps = connection.execute("SELECT id, migration_set, name FROM _sqlite_migrations").fetchall()
        made.append((schema_of, steps, connection.execute("SELECT * FROM meta ORDER BY key").fetchall()))
        connection.close()
    assert made[0] == made[1]
    assert len(made[0][1]) == SCHEMA
