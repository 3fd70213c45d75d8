"""The files that backups are: what is wrong with one is found, and which are kept, and when one is made."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import (
    BadBackup,
    SchemaTooNew,
    Store,
    StoreBusy,
    StoreError,
    StoreFull,
    StorePaths,
    archive,
    files,
    manifest,
)
from local_store.backup import BackupInfo, list_backups, migrations_folder
from local_store.manifest import Manifest, Member
from local_store.retention import Keep, expendable

from .backup_support import leftovers, restore, talk, verify
from .conftest import OpenStore
from .test_migrations import write_v1


async def test_damage_anywhere_is_found(store: Store, paths: StorePaths, folder: Path) -> None:
    await talk(store)
    made = await store.backups.make(folder)
    whole = made.path.read_bytes()
    chosen = random.Random(7)  # noqa: S311
    places = {0, 130, 600, 512 + manifest.SPACE, 512 + manifest.SPACE + 700}
    broken = folder / "broken"
    for place in places | {chosen.randrange(len(whole) - archive.END) for _ in range(25)}:
        content = bytearray(whole)
        content[place] ^= 1 << chosen.randrange(8)
        broken.write_bytes(content)
        try:
            found = await verify(paths, broken)
        except (BadBackup, SchemaTooNew) as error:
            assert str(broken) in error.message and error.hint
        else:
            # Between its files there is padding that means nothing.
            assert found.info.messages == made.messages and whole[place] == 0
    for size in (0, 1, 600, 17_000, len(whole) // 2, len(whole) - 1, len(whole) + 1):
        broken.write_bytes((whole + b"x")[:size])
        with pytest.raises(BadBackup):
            await verify(paths, broken)
    assert leftovers(paths.root.parent) == []


async def test_a_manifest_that_lies_is_found(store: Store, paths: StorePaths, folder: Path) -> None:
    await talk(store)
    made = await store.backups.make(folder)
    lied = folder / "lied"
    with archive.opened(made.path) as found:
        true = found.manifest
        for lie in (
            replace(true, counts={**true.counts, "message": 5}),
            replace(true, made_at=1),
            replace(true, schema=1),
            replace(true, slots=("passphrase",)),
            replace(true, store_id="0" * 32),
            replace(true, counts={**true.counts, "message": 5}).signed(store._keys.derive("backup")),
        ):
            content = bytearray(made.path.read_bytes())
            place = 0
            for member in (Member("manifest.json", manifest.SPACE, ""), *true.members):
                content[place : place + 512] = archive.header(member.name, member.size, lie.made_at)
                place += 512 + member.size + -member.size % 512
            content[512 : 512 + manifest.SPACE] = lie.encode()
            lied.write_bytes(content)
            with pytest.raises(BadBackup):
                await verify(paths, lied)
    newer = replace(true, schema=99)
    content[512 : 512 + manifest.SPACE] = newer.encode()
    content[:512] = archive.header("manifest.json", manifest.SPACE, newer.made_at)
    lied.write_bytes(content)
    with pytest.raises((SchemaTooNew, BadBackup)):
        await verify(paths, lied)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
@settings(max_examples=60)
def test_any_manifest_is_read_or_refused(value: object) -> None:
    with pytest.raises(BadBackup):
        manifest.parse(json.dumps(value).encode(), Path("x"))
    fields = json.loads(SAMPLE.encode())
    for name in fields:
        try:
            manifest.parse(json.dumps({**fields, name: value}).encode(), Path("x"))
        except (BadBackup, SchemaTooNew):
            continue
        assert name in ("counts", "slots", "app", "schema", "made_at")


SAMPLE = Manifest(
    "0" * 32,
    3,
    "1.0",
    5,
    "asked",
    ("device",),
    {"message": 1},
    (Member("keys.json", 1, "0" * 64), Member("sophia.db", 2, "0" * 64)),
    "0" * 64,
)


def test_a_manifest_comes_back_as_it_was() -> None:
    content = SAMPLE.encode()
    assert len(content) == manifest.SPACE
    assert manifest.parse(content, Path("x")) == SAMPLE
    signed = SAMPLE.signed(b"k" * 32)
    assert signed.made_with(b"k" * 32)
    assert not signed.made_with(b"l" * 32) and not replace(signed, made_at=6).made_with(b"k" * 32)


def test_large_members_have_headers_that_tar_reads() -> None:
    import tarfile

    for size in (0, 1, 8**11 - 1, 8**11, 1 << 50):
        read = tarfile.TarInfo.frombuf(archive.header("sophia.db", size, 1_795_369_091_674), "utf-8", "strict")
        assert (read.name, read.size, read.mtime, read.mode) == ("sophia.db", size, 1_795_369_091, 0o600)


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "zeros", "key file"])
async def test_other_files_are_refused(store: Store, paths: StorePaths, folder: Path, kind: str) -> None:
    path = folder / "other"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "zeros":
            path.write_bytes(bytes(100_000))
        case "key file":
            path.write_bytes(paths.keys.read_bytes())
    with pytest.raises(StoreError) as refused:
        await verify(paths, path)
    assert refused.value.hint


MOMENT = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
times = st.lists(st.integers(0, 400 * 86_400_000).map(lambda ms: MOMENT - ms), max_size=60)
keeps = st.builds(Keep, st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))


@given(times, keeps, st.randoms(use_true_random=False))
def test_what_is_kept(made: list[int], keep: Keep, chance: random.Random) -> None:
    gone = expendable(made, keep)
    left = sorted(set(made) - gone, reverse=True)
    assert gone <= set(made)
    assert not made or max(made) in left
    assert left[: keep.last] == sorted(set(made), reverse=True)[: keep.last]
    assert len(left) <= max(1, keep.last) + keep.days + keep.weeks
    assert expendable(left, keep) == set()
    shuffled = list(made)
    chance.shuffle(shuffled)
    assert expendable(shuffled, keep) == gone
    more = Keep(keep.last + 1, keep.days + 1, keep.weeks + 1)
    assert expendable(made, more) <= gone
    later = MOMENT + 86_400_000
    assert gone <= expendable([*made, later], keep), "what may go now may go tomorrow"
    periods: list[tuple[Callable[[datetime], object], int]] = [
        (lambda day: day.date(), keep.days),
        (lambda day: day.isocalendar()[:2], keep.weeks),
    ]
    for period, count in periods:
        days = [period(datetime.fromtimestamp(at / 1000, UTC)) for at in sorted(set(made), reverse=True)]
        kept = {period(datetime.fromtimestamp(at / 1000, UTC)) for at in left}
        assert set(list(dict.fromkeys(days))[:count]) <= kept


def test_a_week_of_nights_keeps_one_a_day_and_one_a_week() -> None:
    nights = [MOMENT - int(timedelta(hours=12 * n).total_seconds() * 1000) for n in range(60)]
    left = sorted(set(nights) - expendable(nights, Keep(2, 3, 2)), reverse=True)
    assert len(left) == 4
    assert left[:2] == nights[:2]


async def test_only_backups_of_ours_are_ever_deleted(
    opening: OpenStore, paths: StorePaths, folder: Path, tmp_path: Path
) -> None:
    store = await opening()
    other = await opening(at=StorePaths(tmp_path / "other", tmp_path / "other-device"))
    mine = [(await store.backups.make(folder)).path for _ in range(4)]
    named = (await store.backups.make(folder / "mine.sophia-backup")).path
    theirs = (await other.backups.make(folder)).path
    disguised = folder / f"sophia-{store._keys.store_id[:8]}-20200101T000000Z.sophia-backup"
    disguised.write_bytes(theirs.read_bytes())
    junk = folder / f"sophia-{store._keys.store_id[:8]}-20200102T000000Z.sophia-backup"
    junk.write_text("my own notes")
    link = folder / f"sophia-{store._keys.store_id[:8]}-20200103T000000Z.sophia-backup"
    link.symlink_to(mine[0])
    gone = await store.backups.prune(folder, Keep(1))
    assert set(gone) == set(mine[:3])
    assert set(folder.iterdir()) == {mine[3], named, theirs, disguised, junk, link}


async def test_before_the_schema_changes_there_is_a_backup(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    for _ in range(4):
        await write_v1(opening, paths)
        await (await opening()).close()
    found = list_backups(migrations_folder(paths))
    assert len(found) == 3
    assert {(each.schema, each.reason) for each in found if isinstance(each, BackupInfo)} == {(1, "migration")}
    first = found[0]
    assert isinstance(first, BackupInfo)
    assert (await verify(paths, first.path)).info.messages == 4
    elsewhere = StorePaths(tmp_path / "elsewhere" / "store", paths.device_dir)
    await restore(elsewhere, first.path)
    store = await opening(at=elsewhere)
    assert [message.text for message in await store.messages.all("01S")][:2] == ["Where to?", "Portugal"]


async def test_without_room_for_a_backup_the_schema_stays(opening: OpenStore, paths: StorePaths) -> None:
    await write_v1(opening, paths)
    migrations_folder(paths).write_bytes(b"a file in the way")
    with pytest.raises(StoreError):
        await opening()
    migrations_folder(paths).unlink()
    assert len(await (await opening()).messages.all("01S")) == 4


async def test_too_little_room_is_said_before_any_work(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(StoreFull, match="needs"):
        await store.backups.make(folder)
    assert list(folder.iterdir()) == []


async def test_scratch_of_a_killed_verification_is_removed(store: Store, paths: StorePaths, folder: Path) -> None:
    left = paths.root.parent / ".sophia-verify-gone"
    left.mkdir()
    (left / "sophia.db").touch()
    made = await store.backups.make(folder)
    await verify(paths, made.path)
    assert not left.exists()


def test_a_lock_on_a_folder_holds_for_the_folder_of_that_name(tmp_path: Path) -> None:
    import fcntl

    with (
        files.hold_folder(tmp_path, fcntl.LOCK_EX, "busy"),
        pytest.raises(StoreBusy, match="busy"),
        files.hold_folder(tmp_path, fcntl.LOCK_SH, "busy", timeout=0.0),
    ):
        pass
