"""A full disk: the last words go into room that was kept for them, and all goes on when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_store import Store, StoreError, StoreFull, StorePaths, StoreReadOnly, ballast
from local_store.ballast import PAUSE_S, SPARE, Ballast

from .conftest import OpenStore

MIB = 1 << 20
PIECE = "x" * 60_000

needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux" or shutil.which("mount") is None, reason="mounts a small disk"
)


class Disk:
    """A small disk in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.filler = place / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (MIB, 4096, 512):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        self.filler.unlink()

    def mount_again(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    options = getattr(request, "param", "size=48m")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "sophia-test", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this system lets nobody mount a disk")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def small(disk: Disk, tmp_path: Path) -> StorePaths:
    return StorePaths(disk.place / "store", tmp_path / "device")


def test_it_is_made_where_there_is_plenty_of_room_and_given_up_once(tmp_path: Path) -> None:
    now, room = [0.0], [ballast.SIZE + SPARE - 1]
    kept = Ballast(tmp_path / "b", clock=lambda: now[0], free=lambda _: room[0])
    kept.ensure()
    assert not kept.there and not kept.release() and not kept.spent and kept.refill()
    room[0] += 1
    kept.ensure()
    assert kept.there and (tmp_path / "b").stat().st_blocks * 512 >= ballast.SIZE
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert kept.release() and kept.spent and not kept.there and not kept.release()


def test_it_is_made_again_when_there_is_room_and_asks_only_now_and_then(tmp_path: Path) -> None:
    now, room, asked = [0.0], [1 << 40], []

    def free(folder: Path) -> int:
        asked.append(folder)
        return room[0]

    kept = Ballast(tmp_path / "b", size=4096, clock=lambda: now[0], free=free)
    kept.ensure()
    kept.release()
    asked.clear()
    room[0] = 0
    for _ in range(5):
        assert not kept.refill()
    assert not asked
    now[0] += PAUSE_S
    assert not kept.refill() and not kept.refill() and len(asked) == 1
    room[0], now[0] = 1 << 40, now[0] + PAUSE_S
    assert kept.refill() and kept.there and not kept.spent


def test_one_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").touch()
    kept = Ballast(tmp_path / "b")
    kept._make()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["b"]


async def begin(store: Store, session: str) -> str:
    return (await store.turns.begin(session, None, PIECE, request_id="r")).answer.id


@needs_mount
async def test_a_full_disk_takes_the_answer_and_the_audit_entry_and_refuses_the_rest(
    opening: OpenStore, disk: Disk, small: StorePaths
) -> None:
    store = await opening(at=small)
    session = (await store.sessions.create()).id
    store._opened.ballast.ensure()
    answer = await begin(store, session)
    disk.fill()
    with pytest.raises(StoreFull) as refused:
        for _ in range(1000):
            await begin(store, session)
    assert "full" in refused.value.message and refused.value.hint
    assert not store.on_reserve
    await store.turns.journal(answer, text=PIECE)
    assert store.on_reserve
    await store.turns.finish(answer, text=PIECE * 5, status="complete")
    await store.audit.append("store.full")
    with pytest.raises(StoreFull, match="only answers that are arriving"):
        await begin(store, session)
    disk.empty()
    store._opened.ballast._looked = float("-inf")
    await begin(store, session)
    assert not store.on_reserve and small.ballast.exists()
    assert (await store.messages.get(answer)).text == PIECE * 5
    assert [each.name for each in await store.check(full=True) if not each.ok] == ["recovery key", "key slots"]


@needs_mount
async def test_a_store_on_a_full_disk_is_read_and_written_again_when_there_is_room(
    opening: OpenStore, disk: Disk, small: StorePaths
) -> None:
    store = await opening(at=small)
    session = await store.sessions.create("kept")
    await store.close()
    disk.fill()
    store = await opening(at=small)
    assert store.read_only and "full" in store.read_only
    assert [each.id for each in await store.sessions.list()] == [session.id]
    with pytest.raises(StoreReadOnly):
        await store.sessions.create()
    assert not await store.retry_writing()
    disk.empty()
    assert await store.retry_writing() and store.read_only is None
    assert await begin(store, session.id)
    await store.close()
    assert (await opening(at=small)).rolled_back is None


@needs_mount
async def test_a_full_disk_opens_for_writing_on_its_reserve(opening: OpenStore, disk: Disk, small: StorePaths) -> None:
    store = await opening(at=small)
    session = await store.sessions.create()
    answer = await begin(store, session.id)
    store._opened.ballast.ensure()
    await store.close()
    disk.fill()
    store = await opening(at=small)
    assert store.read_only is None and store.on_reserve
    await store.turns.finish(answer, text=PIECE, status="complete")
    with pytest.raises(StoreFull):
        await store.sessions.create()


@needs_mount
@pytest.mark.parametrize("disk", ["size=48m,nr_inodes=24"], indirect=True)
async def test_a_disk_that_can_hold_no_more_files_says_so(opening: OpenStore, disk: Disk, small: StorePaths) -> None:
    await (await opening(at=small)).close()
    for number in range(40):
        try:
            (disk.place / str(number)).touch()
        except OSError:
            break
    store = await opening(at=small)
    assert store.read_only and "no more files" in store.read_only


@needs_mount
async def test_a_disk_that_becomes_read_only_is_read_and_written_again_afterwards(
    opening: OpenStore, disk: Disk, small: StorePaths
) -> None:
    store = await opening(at=small)
    session = await store.sessions.create("kept")
    await store.close()
    disk.mount_again("ro")
    store = await opening(at=small)
    assert store.read_only and "read-only" in store.read_only and store.read_only_hint
    assert [each.title for each in await store.sessions.list()] == ["kept"]
    with pytest.raises(StoreReadOnly):
        await store.drafts.save("k", "text")
    assert not [each for each in await store.check() if each.name == "database" and not each.ok]
    disk.mount_again("rw")
    assert await store.retry_writing()
    await begin(store, session.id)
    assert store._instance.alive(store._instance.id) and len(list(small.run.glob("*.lock"))) >= 2


@needs_mount
async def test_a_log_that_cannot_be_brought_in_is_not_passed_over(
    opening: OpenStore, disk: Disk, small: StorePaths, tmp_path: Path
) -> None:
    store = await opening(at=small)
    await store.sessions.create()
    shutil.copytree(small.root, tmp_path / "crashed")
    await store.close()
    shutil.rmtree(small.root)
    shutil.copytree(tmp_path / "crashed", small.root, ignore=lambda *_: ["sophia.db-shm"])
    disk.mount_again("ro")
    with pytest.raises(StoreError) as refused:
        await opening(at=small)
    assert isinstance(refused.value, StoreReadOnly) and "log" in refused.value.message and refused.value.hint
