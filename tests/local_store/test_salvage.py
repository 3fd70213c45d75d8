"""Salvage: from a damaged store comes everything that is not on the damaged page itself."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from local_store import Damaged, NotFound, StoreBusy, StoreError, StorePaths
from local_store.btree import Forest
from local_store.damage import LOST_MESSAGE
from local_store.pages import Pages
from local_store.salvage import Salvaged, salvage_store
from local_store.swap import MARK

from .conftest import CHEAP, OpenStore
from .damage_support import GIVEN, PAGE, contents, copied, fill, flip, keys_of, layout

SAMPLES = 5
WITHOUT_NUMBERS = ("meta", "draft", "secret", "tag", "imported", "analytics")


async def salvaged(paths: StorePaths, to: Path | None = None) -> Salvaged:
    return await salvage_store(paths, GIVEN, CHEAP, to=to)


async def test_every_row_is_found_without_the_engine(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await fill(store)
    await store.close()
    there = contents(paths)
    with Pages(paths.database, keys_of(paths)) as pages:
        forest = Forest(pages)
        for tree in forest.trees():
            count = sum(row.whole for row in forest.rows(tree))
            if tree.kind == "table" and tree.name in there:
                assert count == len(there[tree.name]), tree.name
        free, known = pages.free()
        assert known and forest.seen.isdisjoint(free)
        assert len(forest.seen) + len(free) == pages.count
        assert not any(walk.missing for walk in forest.walks.values())


async def test_one_bad_page_never_takes_more_than_itself(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    store = await opening()
    await fill(store, 12, 10)
    await store.close()
    before, where = contents(paths), layout(paths)
    leading = sorted({where.above[table] for table in ("message", "session") if table in where.above})
    assert leading, "no table is large enough to have a page that only leads to others"
    sampled = {*range(2, where.pages + 1, where.pages // SAMPLES), *leading, max(where.schema)}
    for page in sorted(sampled - {1}):
        flip(paths.database, page)
        done = await salvaged(paths, tmp_path / "new")
        after = contents(StorePaths(tmp_path / "new", paths.device_dir))
        flip(paths.database, page)
        shutil.rmtree(tmp_path / "new")
        assert page in done.damaged
        for table, rows in before.items():
            missing = rows - after[table]
            if table == "meta":
                missing = {row for row in missing if row[0] != "generations"}
            if table == "session":
                ids = {row[1] for row in after[table]}
                assert {row[1] for row in rows} <= ids
            if table in WITHOUT_NUMBERS:
                assert not missing or done.damaged[page] == table
                continue
            elsewhere = {row[0] for row in missing if where.rows[table][row[0]] != page}  # type: ignore[index]
            cut = done.cut if table == "message" else 0
            assert len(elsewhere) <= cut, (page, table, done)


async def test_what_is_lost_is_named_and_leaves_a_stand_in(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    ids = await fill(store)
    before = {each: await store.messages.all(each) for each in ids}
    await store.close()
    where = layout(paths)
    page = sorted(set(where.rows["message"].values()))[2]
    flip(paths.database, page)
    done = await salvaged(paths)
    assert done.damaged == {page: "message"} and done.aside is not None and not done.whole
    assert done.lost == {"message": sum(each.messages for each in done.sessions)}
    store = await opening()
    assert store.rolled_back is None
    lost = 0
    for session_id, said in before.items():
        after = await store.messages.all(session_id)
        assert [(each.id, each.parent_id) for each in after] == [(each.id, each.parent_id) for each in said]
        for old, new in zip(said, after, strict=True):
            assert new.text == old.text or new.text == LOST_MESSAGE
            lost += new.text == LOST_MESSAGE
            assert new.role == old.role
        assert len(await store.messages.path(session_id)) == len(said)
    assert lost == done.lost["message"] > 0
    named = {each.id: each for each in done.sessions}
    assert all(named[each].title.startswith("Conversation") for each in named)
    assert (await store.audit.verify()).ok
    assert [each.name for each in await store.check(full=True) if not each.ok] == ["recovery key", "key slots"]
    assert (done.aside / "sophia.db").exists() and not (paths.root / MARK).exists()


async def test_the_rest_of_a_cut_message_is_kept(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    store = await opening()
    session = await store.sessions.create("Long")
    turn = await store.turns.begin(session.id, None, "abcdefgh" * 2000, request_id="r")
    await store.turns.finish(turn.answer.id, text="well", status="complete")
    await store.close()
    with Pages(paths.database, keys_of(paths)) as pages:
        forest = Forest(pages)
        trees = {tree.name: tree for tree in forest.trees()}
        reached = set(forest.seen)
        list(forest.rows(trees["message"]))
        leaves = {row.page for row in Forest(pages).rows(trees["message"])}
        ends = sorted(forest.seen - reached - leaves)
    flip(paths.database, ends[-1])
    done = await salvaged(paths)
    store = await opening()
    question, answer = await store.messages.path(session.id)
    assert done.cut == 1 and answer.text == "well"
    assert question.text.startswith("abcdefgh" * 1000) and "cannot be read" in question.text
    assert question.created_at <= answer.created_at


async def test_what_came_after_a_damaged_piece_of_the_log_is_read_too(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    store = await opening()
    ids = await fill(store, 2, 3)
    with copied(paths, tmp_path / "copy") as copy:
        log = copy.database.with_name("sophia.db-wal")
        content = bytearray(log.read_bytes())
        frames = (len(content) - 32) // (24 + PAGE)
        assert frames > 20
        content[32 + (frames // 3) * (24 + PAGE) + 24 + 500] ^= 1
        log.write_bytes(content)
        await salvaged(copy, tmp_path / "new")
        there = contents(StorePaths(tmp_path / "new", paths.device_dir))
    assert {row[1] for row in there["session"]} == set(ids)
    assert len(there["message"]) == 12


async def test_a_lost_first_page_is_for_a_backup(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await fill(store, 1, 1)
    await store.close()
    flip(paths.database, 1)
    with pytest.raises(Damaged) as refused:
        await salvaged(paths)
    assert "sophia restore" in refused.value.hint
    assert sorted(each.name for each in paths.root.parent.iterdir() if each.name.startswith(".store")) == []


async def test_it_is_not_done_under_somebody(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await salvaged(paths)
    await opening()
    with pytest.raises(StoreBusy):
        await salvaged(paths)
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="exists"):
        await salvaged(paths, tmp_path / "there")


async def test_a_hostile_page_count_ends_nowhere(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    """Somebody who holds the key can write any pages: what points in circles is read once."""
    await (await opening()).close()
    with Pages(paths.database, keys_of(paths)) as pages:
        forest = Forest(pages)
        tree = next(each for each in forest.trees() if each.name == "message")
        circular = bytearray(pages.page(tree.root) or b"")
        circular[0:12] = struct.pack(">BHHHBI", 5, 0, 0, 0, 0, tree.root)
        pages._kept[tree.root] = bytes(circular)
        assert list(forest.rows(tree)) == []
        assert tree.root in forest.walks["message"].missing
