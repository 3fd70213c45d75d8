"""Somebody who holds the database's key is found out all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_store import AuditReport, StoreError, StorePaths, engine
from local_store.audit import GUARDS
from local_store.chain import Link, code
from local_store.keys import Credentials, open_keys
from local_store.schema import AUDIT

from .conftest import CHEAP, OpenStore
from .test_audit import ten

if TYPE_CHECKING:
    from sqlite3 import Connection

Attack = Callable[["Connection"], object]


def raw(paths: StorePaths) -> Connection:
    """The database as somebody has it who holds its key."""
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    return engine.Opener(paths.database, keys.database_keys()[0]).writer()


async def after(attack: Attack, opening: OpenStore, paths: StorePaths) -> AuditReport:
    """What verifying says once somebody with the database's key was at the closed store."""
    connection = raw(paths)
    for name in GUARDS:
        connection.execute(f"DROP TRIGGER {name}")
    attack(connection)
    connection.executescript(AUDIT[AUDIT.index("CREATE TRIGGER") :])
    connection.close()
    return await (await opening()).audit.verify()


# What the database refuses


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET subject = 'else' WHERE seq = 2",
        "UPDATE audit SET seq = 12 WHERE seq = 10",
        "DELETE FROM audit WHERE seq = 10",
        "DELETE FROM audit",
        "INSERT INTO audit VALUES (12, 0, 'x', '', '{}', 1, x'00')",
        "INSERT INTO audit (at, kind, subject, detail, epoch, mac) VALUES (0, 'x', '', '{}', 1, x'00')",
        "INSERT OR REPLACE INTO audit VALUES (3, 0, 'x', '', '{}', 1, x'00')",
        "INSERT INTO audit VALUES (3, 0, 'x', '', '{}', 1, x'00') ON CONFLICT DO UPDATE SET subject = 'else'",
        "UPDATE OR IGNORE audit SET subject = 'else'",
    ],
)
async def test_the_database_takes_nothing_but_the_next_entry(
    opening: OpenStore, paths: StorePaths, statement: str
) -> None:
    await ten(opening, paths)
    connection = raw(paths)
    with pytest.raises(engine.load().IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    report = await (await opening()).audit.verify()
    assert (report.ok, report.entries) == (True, 10)


# What an attacker does who has the database's key, and takes the triggers away and puts them back


def changed(column: str, value: str, seq: int = 4) -> Attack:
    statement = f"UPDATE audit SET {column} = {value} WHERE seq = {seq}"  # noqa: S608 - an attacker's
    return lambda connection: connection.execute(statement)


def removed(*numbers: int) -> Attack:
    return lambda connection: [connection.execute("DELETE FROM audit WHERE seq = ?", [n]) for n in numbers]


def renumbered(connection: Connection) -> None:
    connection.execute("DELETE FROM audit WHERE seq IN (4, 5)")
    for number in range(6, 11):
        connection.execute("UPDATE audit SET seq = ? WHERE seq = ?", [number - 2, number])


def swapped(connection: Connection) -> None:
    for number, to in ((4, 99), (7, 4), (99, 7)):
        connection.execute("UPDATE audit SET seq = ? WHERE seq = ?", [to, number])


def contents_swapped(connection: Connection) -> None:
    rows = {n: connection.execute("SELECT * FROM audit WHERE seq = ?", [n]).fetchone() for n in (4, 7)}
    connection.execute("DELETE FROM audit WHERE seq IN (4, 7)")
    for here, there in ((4, 7), (7, 4)):
        connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", [here, *rows[there][1:]])


def rewritten(connection: Connection) -> None:
    """Every entry from the fourth on is chained anew, with a key of the attacker's."""
    previous = connection.execute("SELECT mac FROM audit WHERE seq = 3").fetchone()[0]
    for number in range(4, 11):
        row = connection.execute("SELECT seq, at, epoch, kind, subject FROM audit WHERE seq = ?", [number]).fetchone()
        link = Link(row[0], row[1], row[2], row[3].encode(), row[4].encode(), b"{}")
        previous = code(b"m" * 32, link, previous)
        connection.execute("UPDATE audit SET detail = '{}', mac = ? WHERE seq = ?", [previous, number])


def forged(connection: Connection) -> None:
    connection.execute("INSERT INTO audit VALUES (11, 0, 'x', '', '{}', 1, zeroblob(32))")


def twice(connection: Connection) -> None:
    """A table that looks alike and holds a number twice."""
    connection.executescript(
        "CREATE TABLE copy AS SELECT * FROM audit; DROP TABLE audit; ALTER TABLE copy RENAME TO audit;"
        "INSERT INTO audit SELECT seq, at, 'other', subject, detail, epoch, mac FROM audit WHERE seq = 10;"
    )


def without_a_number(connection: Connection) -> None:
    connection.executescript(
        "CREATE TABLE copy AS SELECT * FROM audit; DROP TABLE audit; ALTER TABLE copy RENAME TO audit;"
        "INSERT INTO audit VALUES ('two', 0, '', '', '', 1, NULL), (-1, 0, '', '', '', 1, NULL);"
    )


def nothing_fits(connection: Connection) -> None:
    connection.executescript(
        "DROP TABLE audit; CREATE TABLE audit (seq, at, kind, subject, detail, epoch, mac);"
        "INSERT INTO audit VALUES (1, 'noon', NULL, x'ff', '[[', 1.5, 'mac'), ('two', 0, '', '', '', NULL, NULL);"
    )


@pytest.mark.parametrize(
    ("attack", "fault", "first"),
    [
        (changed("subject", "'else'"), "changed", 4),
        (changed("subject", "subject || x'00'"), "changed", 4),
        (changed("kind", "'login'"), "changed", 4),
        (changed("at", "at + 1"), "changed", 4),
        (changed("detail", '\'{"number": "4"}\''), "changed", 4),
        (changed("detail", "CAST(x'ff' AS TEXT)"), "changed", 4),
        (changed("mac", "zeroblob(32)"), "changed", 4),
        (changed("mac", "x''"), "changed", 4),
        (changed("subject", "'else'", seq=1), "changed", 1),
        (changed("subject", "'else'", seq=10), "changed", 10),
        (changed("epoch", "2"), "foreign key", 4),
        (changed("epoch", "-1"), "foreign key", 4),
        (removed(4), "removed", 4),
        (removed(1), "removed", 1),
        (removed(4, 5, 6), "removed", 4),
        (renumbered, "removed", 4),
        (swapped, "reordered", 4),
        (contents_swapped, "reordered", 4),
        (rewritten, "foreign key", 4),
        (forged, "changed", 11),
        (removed(10), "truncated", 10),
        (removed(*range(6, 11)), "truncated", 6),
        (removed(*range(1, 11)), "truncated", 1),
        (twice, "changed", 10),
        (without_a_number, "changed", 10),
        (nothing_fits, "changed", 1),
    ],
)
async def test_the_chain_shows_what_an_attacker_did(
    opening: OpenStore, paths: StorePaths, attack: Attack, fault: str, first: int
) -> None:
    await ten(opening, paths)
    report = await after(attack, opening, paths)
    assert (report.ok, report.fault, report.first) == (False, fault, first), report
    assert report.detail and report.hint


async def test_what_an_attacker_left_is_still_listed_and_exported(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    await after(nothing_fits, opening, paths)
    store = await opening()
    lines: list[str] = []
    assert await store.audit.export(lines.append) == 1 and lines[0].isascii()
    assert [each.subject for each in await store.audit.entries()][-1] == "\ufffd"


async def test_the_log_goes_on_after_an_attack_and_keeps_telling_of_it(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    await after(changed("subject", "'else'"), opening, paths)
    store = await opening()
    assert (await store.audit.append("x")).seq == 11
    report = await store.audit.accept("it was me")
    assert (report.fault, report.first, report.entries) == ("changed", 4, 3)


async def test_missing_triggers_are_told(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    connection = raw(paths)
    connection.execute("DROP TRIGGER audit_removes_nothing")
    connection.close()
    report = await (await opening()).audit.verify()
    assert (report.ok, report.fault, report.first, report.entries) == (False, "unguarded", None, 10)


async def test_a_log_without_its_table_cannot_be_read(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    connection = raw(paths)
    connection.execute("DROP TABLE audit")
    connection.close()
    with pytest.raises(StoreError):
        await (await opening()).audit.verify()


async def test_entries_of_another_store_are_told(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    other = StorePaths(tmp_path / "other", tmp_path / "other-device")
    await ten(opening, paths)
    await ten(opening, other)
    source = raw(other)
    rows = source.execute("SELECT * FROM audit").fetchall()
    source.close()

    def attack(connection: Connection) -> None:
        connection.execute("DELETE FROM audit")
        connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    report = await after(attack, opening, paths)
    assert (report.fault, report.first) == ("foreign key", 1)
