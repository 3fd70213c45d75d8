"""Bad files and full disks: each has its own clear error, and nothing that was stored is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from local_store import (
    Damaged,
    NotEncrypted,
    StoreBusy,
    StoreError,
    StoreFull,
    StorePaths,
    StoreReadOnly,
    engine,
    files,
)
from local_store.keys import Credentials, open_keys

from .conftest import CHEAP, OpenStore

PAGE = 4096
HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


def opener(paths: StorePaths) -> engine.Opener:
    keys = open_keys(paths, Credentials(None, None, False), CHEAP, create=False)
    return engine.Opener(paths.database, keys.database_keys()[0])


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


async def filled(opening: OpenStore, sessions: int = 3, messages: int = 60) -> list[str]:
    """Fill a store and close it; returns the ids of its sessions, oldest first."""
    store = await opening()
    ids = []
    for _ in range(sessions):
        session = await store.sessions.create()
        ids.append(session.id)
        for number in range(messages):
            text = f"{number} " + os.urandom(200).hex()
            turn = await store.turns.begin(session.id, None, text, request_id="r")
            await store.turns.finish(turn.answer.id, text="", status="complete")
    await store.close()
    return ids


async def test_a_plain_database_is_not_taken_for_ours(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    paths.database.unlink()
    plain = sqlite3.connect(paths.database)
    plain.execute("CREATE TABLE t (x)")
    plain.close()
    with pytest.raises(NotEncrypted) as refused:
        await opening()
    assert refused.value.path == paths.database and refused.value.hint


@pytest.mark.parametrize("offset", [3, 100, PAGE - 1])
async def test_a_damaged_first_page_is_damage_not_a_wrong_key(
    opening: OpenStore, paths: StorePaths, offset: int
) -> None:
    await filled(opening, 1, 1)
    before = paths.database.read_bytes()
    flip(paths.database, offset)
    with pytest.raises(Damaged) as refused:
        await opening()
    assert refused.value.path == paths.database and "backup" in refused.value.hint
    paths.database.write_bytes(before)
    assert len(await (await opening()).sessions.list()) == 1


async def test_random_junk_is_damage(opening: OpenStore, paths: StorePaths) -> None:
    await filled(opening, 1, 1)
    paths.database.write_bytes(os.urandom(5 * PAGE))
    with pytest.raises(Damaged):
        await opening()


async def test_a_damaged_page_is_reported_and_the_rest_stays_readable(opening: OpenStore, paths: StorePaths) -> None:
    ids = await filled(opening, 1)
    begin = paths.database.stat().st_size
    store = await opening()
    big = await store.sessions.create()
    await store.turns.begin(big.id, None, os.urandom(100 * PAGE).hex(), request_id="r")
    await store.close()
    page = (begin + paths.database.stat().st_size) // 2 // PAGE
    flip(paths.database, (page - 1) * PAGE + 500)

    store = await opening()
    question, answer = await store.messages.all(big.id)
    assert "damaged" in question.text and answer.status == "streaming"
    assert len(await store.messages.all(ids[0])) == 120
    turn = await store.turns.begin(ids[0], None, "still writable", request_id="r")
    assert (await store.messages.get(turn.question.id)).text == "still writable"
    failed = {result.name: result for result in await store.check(full=True) if not result.ok}
    assert f"page {page}" in failed["pages"].detail
    assert all("salvage" in (failed[name].fix or "") for name in ("pages", "database"))
    assert all(each.detail.count(";") <= 5 and "\n" not in each.detail for each in failed.values())


@pytest.mark.parametrize("cut", [PAGE // 2, 3 * PAGE, 20 * PAGE])
async def test_a_truncated_database_is_noticed(opening: OpenStore, paths: StorePaths, cut: int) -> None:
    await filled(opening)
    os.truncate(paths.database, paths.database.stat().st_size - cut)
    try:
        store = await opening()
    except Damaged as error:
        assert error.path == paths.database
        return
    assert any(not result.ok for result in await store.check(full=True) if result.name in ("database", "pages"))


async def test_a_sound_store_passes_every_check(opening: OpenStore, paths: StorePaths) -> None:
    await filled(opening, 1)
    store = await opening()
    await store.keys.add_passphrase("p")
    await store.keys.confirm_recovery_key(store.keys.new_recovery_key())
    for full in (False, True):
        results = await store.check(full=full)
        assert [result.name for result in results if not result.ok] == []
        assert all(result.fix is None and result.detail for result in results)
        assert len({result.name for result in results}) == len(results)


async def test_what_is_wrong_is_said_with_a_fix(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    session = await store.sessions.create()
    dead = await opening()
    await dead.turns.begin(session.id, None, "q", request_id="r")
    await dead.close()
    paths.keys.chmod(0o644)
    connection = opener(paths).writer()
    connection.execute("INSERT INTO message_fts (rowid, text) VALUES (999, 'ghost')")
    connection.close()
    failed = {result.name: result for result in await store.check(full=True) if not result.ok}
    assert set(failed) == {"answers", "search index", "permissions", "recovery key", "key slots"}
    assert all(result.fix for result in failed.values())
    assert "keys.json is 0644" in failed["permissions"].detail
    await store.search.rebuild()
    await store.turns.recover()
    paths.keys.chmod(0o600)
    left = {result.name for result in await store.check(full=True) if not result.ok}
    assert left == {"recovery key", "key slots"}


async def test_the_database_of_another_store_is_damage(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    other = StorePaths(tmp_path / "other", tmp_path / "other-device")
    await (await opening()).close()
    await (await opening(at=other)).close()
    paths.database.write_bytes(other.database.read_bytes())
    with pytest.raises(Damaged):
        await opening()


async def test_a_database_that_vanished_is_made_anew_and_said_so(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    paths.database.unlink()
    assert (await opening()).created


async def test_a_file_in_place_of_the_folder_is_named(opening: OpenStore, paths: StorePaths) -> None:
    paths.root.write_text("I am a file")
    with pytest.raises(StoreError) as refused:
        await opening()
    assert str(paths.root) in refused.value.message and refused.value.hint


async def test_a_file_in_place_of_the_device_folder_is_named(opening: OpenStore, paths: StorePaths) -> None:
    paths.device_dir.write_text("I am a file")
    with pytest.raises(StoreError) as refused:
        await opening()
    assert str(paths.device_dir) in refused.value.message
    paths.device_dir.unlink()
    assert (await opening()).created


async def test_a_folder_that_cannot_be_written_is_read_only(opening: OpenStore) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await (await opening(at=StorePaths(folder / "warm", folder / "d"))).close()
        folder.chmod(0o555)
        privileged = os.geteuid() == 0
        if privileged:
            os.seteuid(65534)
        try:
            with pytest.raises(StoreReadOnly) as refused:
                await opening(at=StorePaths(folder / "store", folder / "device"))
        finally:
            if privileged:
                os.seteuid(0)
            folder.chmod(0o755)
        assert refused.value.hint


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EROFS, StoreReadOnly), (errno.EACCES, StoreReadOnly)],
)
def test_file_errors_are_typed(paths: StorePaths, number: int, expected: type[StoreError]) -> None:
    error = files.from_os_error(OSError(number, os.strerror(number)), paths.keys)
    assert type(error) is expected and error.path == paths.keys and error.hint


async def test_a_reading_connection_refuses_to_write(opening: OpenStore, paths: StorePaths) -> None:
    await opening()
    connection = opener(paths).reader()
    try:
        with pytest.raises(StoreReadOnly), engine.engine_errors(paths.database):
            connection.execute("DELETE FROM session")
    finally:
        connection.close()


def test_a_lock_that_is_never_given_up_is_an_error(paths: StorePaths) -> None:
    files.private_folder(paths.run)
    lock = paths.run / "keys.lock"
    with files.exclusive(lock), pytest.raises(StoreBusy), files.exclusive(lock, timeout=0.0):
        pass


async def test_a_full_disk_is_said_and_forgotten_when_there_is_space_again(paths: StorePaths) -> None:
    child = await run_child("full_disk", paths)
    assert child.stdout.split() == ["full", "acknowledged-kept", "writing-again"], child.stderr


async def test_wrong_keys_print_nothing_on_the_terminal(opening: OpenStore, paths: StorePaths) -> None:
    await filled(opening, 1, 1)
    flip(paths.database, 100)
    child = await run_child("open_damaged", paths)
    assert (child.stdout.strip(), child.stderr) == ("Damaged", "")


async def run_child(task: str, paths: StorePaths) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "child.py"), task, str(paths.root), str(paths.device_dir)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
