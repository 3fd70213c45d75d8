"""An earlier state of the store that was put back is found out; a crash, a rotation or a backup is no alarm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from local_store import Damaged, RolledBack, Store, StorePaths
from local_store import head as heads_of
from local_store.head import NEW, Generation, Head, Heads, Pulse, verdict
from local_store.keys import Credentials, open_keys
from local_store.restore import restore_backup

from .conftest import CHEAP, OpenStore


async def ask(store: Store, times: int = 3) -> None:
    session = await store.sessions.create()
    for number in range(times):
        turn = await store.turns.begin(session.id, None, str(number), request_id="r")
        await store.turns.finish(turn.answer.id, text="an answer", status="complete")


async def grown(opening: OpenStore) -> None:
    """Open the store, write, and close it."""
    store = await opening()
    assert store.rolled_back is None
    await ask(store)
    await store.close()


async def two_states(opening: OpenStore, paths: StorePaths, aside: Path) -> None:
    """Leave a newer store in place and the whole folder of an older one in `aside`."""
    await grown(opening)
    shutil.copytree(paths.root, aside)
    await grown(opening)


def put_back(aside: Path, paths: StorePaths, *names: str) -> None:
    for name in names:
        shutil.copy2(aside / name, paths.root / name)


async def alarm(opening: OpenStore) -> RolledBack:
    store = await opening()
    found = store.rolled_back
    await store.close()
    assert found is not None and found.detail and found.hint
    return found


async def test_an_earlier_database_is_found_out_and_opens_all_the_same(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await two_states(opening, paths, tmp_path / "aside")
    put_back(tmp_path / "aside", paths, "sophia.db")
    store = await opening()
    found = store.rolled_back
    assert found is not None and (found.kind, found.messages) == ("rolled back", 6)
    assert found.was_at and found.is_at and found.was_at >= found.is_at
    assert len(await store.sessions.list()) == 1
    state = {each.name: each for each in await store.check()}["state"]
    assert not state.ok and state.fix


async def test_the_whole_folder_put_back_is_found_out_by_the_device(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await two_states(opening, paths, tmp_path / "aside")
    shutil.rmtree(paths.root)
    shutil.copytree(tmp_path / "aside", paths.root)
    assert (await alarm(opening)).kind == "rolled back"


async def test_the_alarm_stays_until_it_is_accepted_also_while_the_store_is_used(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await two_states(opening, paths, tmp_path / "aside")
    put_back(tmp_path / "aside", paths, "sophia.db")
    for _ in range(3):
        store = await opening()
        await ask(store)
        await store.close()
    store = await opening()
    found = store.rolled_back
    assert await store.accept_state("it was me") == found and store.rolled_back is None
    assert await store.accept_state() is None
    entry = next(each for each in await store.audit.entries() if each.kind == "store.accepted")
    assert found is not None and entry.detail == {"found": found.detail, "reason": "it was me"}
    assert (await store.audit.verify()).ok
    await store.close()
    await grown(opening)
    assert (await opening()).rolled_back is None


async def test_a_deleted_log_is_found_out(opening: OpenStore, paths: StorePaths) -> None:
    await grown(opening)
    before = paths.database.read_bytes()
    await grown(opening)
    # As after a crash: what the log had is vouched for, and was in no database yet.
    paths.database.write_bytes(before)
    assert (await alarm(opening)).kind == "rolled back"


@pytest.mark.parametrize("left", [0, 4096])
async def test_a_log_that_was_cut_after_a_crash_is_found_out(
    opening: OpenStore, paths: StorePaths, tmp_path: Path, left: int
) -> None:
    await grown(opening)
    store = await opening()
    await ask(store)
    store._pulse._beaten = float("-inf")
    await ask(store, 1)
    if (vouching := store._pulse._vouching) is not None:
        vouching.join()
    crashed = StorePaths(tmp_path / "crashed", paths.device_dir)
    shutil.copytree(paths.root, crashed.root)
    shutil.copytree(paths.root, tmp_path / "whole")
    os.truncate(crashed.root / "sophia.db-wal", left)
    found = (await opening(at=crashed)).rolled_back
    assert found is not None and (found.kind, found.messages) == ("rolled back", 6)
    assert (await opening(at=StorePaths(tmp_path / "whole", paths.device_dir))).rolled_back is None


async def test_another_history_of_the_same_store_is_found_out(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await two_states(opening, paths, tmp_path / "aside")
    elsewhere = StorePaths(tmp_path / "aside", tmp_path / "other device")
    shutil.copytree(paths.device_dir, elsewhere.device_dir)
    for each in elsewhere.device_dir.glob("*.head"):
        each.unlink()
    for _ in range(3):
        store = await opening(at=elsewhere)
        assert store.rolled_back is None
        await ask(store)
        await store.close()
    put_back(tmp_path / "aside", paths, "sophia.db", "store.head")
    assert (await alarm(opening)).kind == "replaced"


async def test_without_any_head_nothing_vouches_for_the_store(opening: OpenStore, paths: StorePaths) -> None:
    await grown(opening)
    for each in (paths.head, *paths.device_dir.glob("*.head")):
        each.unlink()
    assert (await alarm(opening)).kind == "no head"


@pytest.mark.parametrize("content", [b"", b"{}", b"junk\xff", b'{"code": 3}', b"[]", b"null"])
async def test_one_head_that_vouches_for_nothing_is_written_again(
    opening: OpenStore, paths: StorePaths, content: bytes
) -> None:
    await grown(opening)
    paths.head.write_bytes(content)
    await (await opening()).close()
    assert paths.head.read_bytes() == next(paths.device_dir.glob("*.head")).read_bytes()


async def test_a_head_of_another_key_vouches_for_nothing(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    other = StorePaths(tmp_path / "other", tmp_path / "other-device")
    await grown(opening)
    stranger = await opening(at=other)
    await ask(stranger)
    await stranger.close()
    shutil.copy2(other.head, paths.head)
    next(paths.device_dir.glob("*.head")).unlink()
    assert (await alarm(opening)).kind == "no head"


async def test_a_crash_and_a_change_of_keys_are_no_alarm(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    store = await opening()
    await ask(store)
    shutil.copytree(paths.root, tmp_path / "crashed")
    await store.keys.rotate()
    await ask(store)
    await store.close()
    assert (await opening()).rolled_back is None


async def test_what_was_written_after_the_last_head_is_no_alarm(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await grown(opening)
    store = await opening()
    await ask(store)
    crashed = StorePaths(tmp_path / "crashed", paths.device_dir)
    shutil.copytree(paths.root, crashed.root)
    assert (await opening(at=crashed)).rolled_back is None


async def test_a_restored_backup_is_no_alarm(opening: OpenStore, paths: StorePaths, folder: Path) -> None:
    store = await opening()
    await ask(store)
    made = await store.backups.make(folder)
    await store.close()
    await grown(opening)
    given = Credentials(None, None, allow_keyring=False)
    restored = await restore_backup(made.path, paths, given, CHEAP)
    assert (await opening()).rolled_back is None
    assert restored.aside is not None


async def test_a_database_that_was_cut_short_says_by_how_much(opening: OpenStore, paths: StorePaths) -> None:
    await grown(opening)
    store = await opening()
    await ask(store, 30)
    await store.close()
    pages = paths.database.stat().st_size // 4096
    os.truncate(paths.database, 10 * 4096)
    with pytest.raises(Damaged, match=f"10 pages, where it had {pages}") as refused:
        await opening()
    assert "salvage" in refused.value.hint


async def test_a_database_that_was_emptied_is_no_new_store(opening: OpenStore, paths: StorePaths) -> None:
    await grown(opening)
    os.truncate(paths.database, 0)
    with pytest.raises(Damaged, match="is empty") as refused:
        await opening()
    assert "sophia restore" in refused.value.hint
    assert paths.database.stat().st_size == 0


def generations(*numbers: int, tokens: str = "a") -> list[Generation]:
    return [Generation(number, tokens, number * 10) for number in numbers]


@pytest.mark.parametrize(
    ("vouched", "history", "kind"),
    [
        ([], [], None),
        ([NEW.generation], [], None),
        ([], generations(1), "no head"),
        (generations(3), generations(3, 2, 1), None),
        (generations(3), generations(4, 3, 2), None),
        (generations(3), generations(2, 1), "rolled back"),
        (generations(3), [], "rolled back"),
        (generations(1, 3), generations(2, 1), "rolled back"),
        (generations(3, tokens="b"), generations(4, 3, 2), "replaced"),
        (generations(3), generations(40, 39, 38), None),
        (generations(3), generations(4, 2, 1), None),
    ],
)
def test_what_heads_say_of_a_history(vouched: list[Generation], history: list[Generation], kind: str | None) -> None:
    found = verdict([Head(each, 5, 1) for each in vouched], history, 3)
    assert (found and found.kind) == kind
    assert found is None or found.messages == (2 if vouched else 0)


async def test_the_pulse_beats_by_commits_and_by_time(opening: OpenStore, paths: StorePaths) -> None:
    await grown(opening)
    keys = open_keys(paths, Credentials(None, None, allow_keyring=False), CHEAP, create=False)
    store = await opening()
    now = [0.0]
    pulse = Pulse(Heads(paths, keys), clock=lambda: now[0])

    async def beats() -> bool:
        beaten = await store._database.write(pulse.beat)
        pulse.committed(beaten)
        return beaten is not None

    assert [await beats() for _ in range(heads_of.COMMITS + 2)].count(True) == 1
    assert not await beats()
    now[0] = heads_of.SECONDS
    assert await beats() and not await beats()


async def test_heads_are_written_while_a_store_goes_on(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    seen = paths.head.read_bytes()
    await ask(store, heads_of.COMMITS // 2 + 1)
    if (vouching := store._pulse._vouching) is not None:
        vouching.join()
    assert paths.head.read_bytes() != seen
    assert paths.ballast.exists(), "room is kept once a store is really used"
