"""Side files: their own key, made anew when damaged, a new key when the store gets one."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest

from local_store import BadValue, Damaged, Store, StoreClosed, StoreError, StorePaths, engine
from local_store.errors import SchemaTooNew
from local_store.side import Script, Side, SideOpener

from .conftest import OpenStore

REPOSITORY = Path(__file__).parent.parent.parent
V1: Script = ("CREATE TABLE thing (seq INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",)
V2: Script = ("ALTER TABLE thing ADD COLUMN more TEXT",)


async def put(side: Side, text: str) -> None:
    await side.write(lambda connection: connection.execute("INSERT INTO thing (text) VALUES (?)", [text]))


async def texts(side: Side) -> list[str]:
    return await side.read(lambda connection: [text for (text,) in connection.execute("SELECT text FROM thing")])


async def keys(store: Store, name: str = "things") -> list[bytes]:
    def operation(connection: Connection) -> list[bytes]:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", [f"side_key/{name}"]).fetchone()
        return [] if row is None else [bytes.fromhex(key) for key in row[0].split()]

    return await store._database.read(operation)


async def set_keys(store: Store, *keys: bytes) -> None:
    value = " ".join(key.hex() for key in keys)
    await store._database.write(
        lambda connection: connection.execute("UPDATE meta SET value = ? WHERE key = 'side_key/things'", [value])
    )


def opens(path: Path, key: bytes) -> bool:
    try:
        SideOpener(path, key).reader().close()
    except Damaged:
        return False
    return True


def spoil(path: Path, page: int, bytes_: bytes = b"\xff" * 64) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * page + 100)
        file.write(bytes_)


async def test_it_is_made_on_its_first_use_and_there_the_next_time(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    side = store.sides.add("things", [V1])
    assert store.sides.add("things", [V1]) is side and not side.path.exists() and not await keys(store)
    assert (await side.check()).ok and not side.path.exists()
    await asyncio.gather(*(put(side, str(number)) for number in range(20)))
    assert side.path.stat().st_mode & 0o777 == 0o600
    assert await side.write(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (1,)
    [key] = await keys(store)
    await store.close()
    assert {path.name for path in paths.root.glob("things*")} == {"things.db"}
    assert opens(side.path, key) and b"thing" not in side.path.read_bytes()
    again = (await opening()).sides.add("things", [V1, V2])
    assert sorted(await texts(again)) == sorted(map(str, range(20)))
    await again.write(lambda connection: connection.execute("UPDATE thing SET more = 'x'"))
    assert await again.size() > 4096


async def test_names_and_versions_that_do_not_fit_are_refused(opening: OpenStore) -> None:
    store = await opening()
    for name in ("sophia", "keys", "open", "../x", "", "A", "a" * 33, "a/b", "a\x00"):
        with pytest.raises(BadValue):
            store.sides.add(name)
    await put(store.sides.add("things", [V1, V2]), "kept")
    await store.close()
    older = await opening()
    with pytest.raises(SchemaTooNew):
        await texts(older.sides.add("things", [V1]))
    await older.close()
    assert await texts((await opening()).sides.add("things", [V1, V2])) == ["kept"]


async def test_after_closing_nothing_is_opened(opening: OpenStore) -> None:
    store = await opening()
    used, unused = store.sides.add("things", [V1]), store.sides.add("others", [V1])
    waiting = [asyncio.ensure_future(put(used, str(number))) for number in range(5)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting, return_exceptions=True)
    for side in (used, unused):
        with pytest.raises(StoreClosed):
            await texts(side)
        with pytest.raises(StoreClosed):
            await put(side, "late")
        await side.close()


@pytest.mark.parametrize("page", [0, 1])
async def test_a_damaged_file_is_put_aside_and_made_anew(opening: OpenStore, page: int) -> None:
    store = await opening()
    side = store.sides.add("things", [V1])
    await put(side, "lost")
    await store.close()
    spoil(side.path, page)
    spoiled = side.path.read_bytes()
    store = await opening()
    side, told = store.sides.add("things", [V1]), list[str]()
    store.sides.on_renewed = lambda name, reason: told.append(name)
    assert page == 0 or not (await side.check()).ok
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(texts(side) for _ in range(5)), put(side, "new"), put(side, "newer"))
    assert all("lost" not in (each or []) for each in found)
    assert sorted(await texts(side)) == ["new", "newer"]
    assert told == ["things"] and store.sides.renewed["things"]
    assert side.path.with_name("things.db.damaged").read_bytes() == spoiled
    assert (await side.check()).ok and await store.sessions.list() == []


async def test_a_file_that_another_has_open_is_not_taken_away(opening: OpenStore) -> None:
    """Two stores in one process, as two windows would be."""
    one, two = await opening(), await opening()
    mine, theirs = one.sides.add("things", [V1]), two.sides.add("things", [V1])
    await asyncio.gather(put(mine, "a"), put(theirs, "b"))
    await set_keys(one, b"k" * 32)
    three = (await opening()).sides.add("things", [V1])
    with pytest.raises(Damaged):
        await texts(three)
    assert sorted(await texts(theirs)) == ["a", "b"] and not mine.path.with_name("things.db.damaged").exists()
    await one.close()
    await two.close()
    assert await texts(three) == []


async def test_a_disk_that_spoils_everything_is_given_up(opening: OpenStore) -> None:
    side = (await opening()).sides.add("things", [V1])

    def spoiled(connection: Connection) -> None:
        raise Damaged("every page is bad")

    with pytest.raises(Damaged):
        await side.read(spoiled)
    assert await texts(side) == []


async def test_plain_files_and_links_are_not_trusted(opening: OpenStore, tmp_path: Path) -> None:
    store = await opening()
    side = store.sides.add("things", [V1])
    side.path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    assert await texts(side) == [] and "plain" in store.sides.renewed["things"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    linked = store.sides.add("linked", [V1])
    linked.path.symlink_to(elsewhere)
    with pytest.raises(StoreError, match="symbolic link"):
        await texts(linked)
    assert elsewhere.read_bytes() == b""


@pytest.mark.parametrize("used", [True, False])
async def test_new_keys_of_the_store_are_new_keys_of_its_side_files(opening: OpenStore, used: bool) -> None:
    store = await opening(passphrase="p")
    side = store.sides.add("things", [V1])
    await put(side, "kept " * 2000)
    before = await keys(store)
    if not used:
        await store.close()
        store = await opening(passphrase="p")
        side = store.sides.add("things", [V1])
    reading = asyncio.ensure_future(asyncio.gather(*(texts(side) for _ in range(5)))) if used else None
    await store.keys.rotate()
    once = await keys(store)
    await store.keys.rotate()
    after = await keys(store)
    assert len(once) == 1 and once not in (before, after)
    assert len(before) == len(after) == 1 and before != after
    assert len(await texts(side)) == 1
    if reading is not None:
        assert all(len(each) == 1 for each in await reading)
    await put(side, "written after it")
    await store.close()
    assert [opens(side.path, key) for key in (*before, *once, *after)] == [False, False, True]
    assert store.sides.renewed == {}


async def test_a_file_that_is_not_there_has_no_key_after_a_rotation(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    await put(store.sides.add("things", [V1]), "x")
    await store.close()
    for path in store.paths.root.glob("things.db*"):
        path.unlink()
    store = await opening(passphrase="p")
    await store.keys.rotate()
    assert await keys(store) == []


@pytest.mark.parametrize("exchanged", [False, True])
async def test_an_exchange_cut_short_is_ended_by_the_next_opening(opening: OpenStore, exchanged: bool) -> None:
    store = await opening()
    side = store.sides.add("things", [V1])
    await put(side, "kept")
    [old] = await keys(store)
    new = b"n" * 32
    await set_keys(store, old, new)
    await store.close()
    if exchanged:
        connection: Any = SideOpener(side.path, old).writer()
        with contextlib.closing(connection):
            connection.reset_key(b"x'" + new.hex().encode() + b"'")
    store = await opening()
    side = store.sides.add("things", [V1])
    assert await texts(side) == ["kept"] and await keys(store) == [new]
    await put(side, "more")
    await side.rotate()
    assert await texts(side) == ["kept", "more"]
    [new] = await keys(store)
    await store.close()
    assert opens(side.path, new) and not opens(side.path, old)


async def test_an_exchange_waits_for_the_others_and_keeps_both_keys(opening: OpenStore) -> None:
    one, two = await opening(), await opening()
    mine, theirs = one.sides.add("things", [V1]), two.sides.add("things", [V1])
    await asyncio.gather(put(mine, "a"), put(theirs, "b"))
    await mine.rotate()
    assert len(await keys(one)) == 2
    await put(theirs, "c")
    await two.close()
    await mine.rotate()
    assert len(await keys(one)) == 1 and sorted(await texts(mine)) == ["a", "b", "c"]


async def test_the_file_is_in_the_checks(opening: OpenStore) -> None:
    store = await opening()
    side = store.sides.add("things", [V1])
    await put(side, "x" * 100_000)
    assert [each.ok for each in await store.sides.check()] == [True]
    await side.write(lambda connection: None)
    await store.close()
    spoil(side.path, 9)
    with engine.engine_errors(side.path):
        store = await opening()
    [found] = [await store.sides.add("things", [V1]).check()]
    assert not found.ok and "page" in found.detail


def test_killed_while_keys_are_exchanged_nothing_written_is_lost(tmp_path: Path) -> None:
    told = 0
    for lines in (2, 3, 4, 3):
        command = [sys.executable, "-m", "tests.local_store.side_child", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as child:
            assert child.stdout is not None
            found, *renewed = child.stdout.readline().split()
            assert int(found) >= told and not renewed
            for _ in range(lines):
                told = int(child.stdout.readline())
            child.kill()
            told = max([told, *map(int, child.stdout.read().split())])
