"""The head beside the database shows a log that was cut short, and takes no crash for an attack."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from local_store import Store, StoreError, StoreFull, StorePaths, files

from .conftest import OpenStore
from .test_audit import ten


async def test_the_anchor_is_private_and_small(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    assert stat.S_IMODE(paths.audit_head.stat().st_mode) == 0o600
    assert paths.audit_head.stat().st_size < 400
    assert sorted(path.name for path in paths.root.iterdir() if "audit" in path.name) == ["audit.head"]


async def test_a_crash_between_entry_and_anchor_is_no_tampering(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await store.audit.append("x", "1")
    early = paths.audit_head.read_bytes()
    await store.audit.append("x", "2")
    await store.audit.append("x", "3")
    await store.close()
    paths.audit_head.write_bytes(early)
    store = await opening()
    report = await store.audit.verify()
    assert (report.ok, report.entries, report.behind) == (True, 3, 2)
    await store.audit.append("x", "4")
    assert (await store.audit.verify()).behind == 0


async def test_a_crash_before_the_first_anchor_is_no_tampering(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await store.audit._begin()
    await store.close()
    assert (await (await opening()).audit.verify()).ok


async def test_what_a_killed_writer_left_is_cleared(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    (paths.root / ".audit.head.1.ff").write_bytes(b"{")
    store = await opening()
    await store.audit.append("x")
    assert not [*paths.root.glob(".audit*")]


async def test_an_earlier_state_of_the_database_is_told(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    copy = paths.database.read_bytes()
    store = await opening()
    for number in range(5):
        await store.audit.append("x", str(number))
    await store.close()
    paths.database.write_bytes(copy)
    store = await opening()
    report = await store.audit.verify()
    assert (report.fault, report.first, report.entries) == ("truncated", 11, 10)
    for number in range(4):
        await store.audit.append("x", str(number))
    assert (await store.audit.verify()).fault == "truncated"
    for number in range(4):
        await store.audit.append("y", str(number))
    report = await store.audit.verify()
    assert (report.fault, report.first, report.entries) == ("rolled back", 15, 18)


async def test_a_store_that_was_put_back_on_purpose_goes_on(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    copy = paths.database.read_bytes()
    store = await opening()
    await store.audit.append("x")
    await store.close()
    paths.database.write_bytes(copy)
    store = await opening()
    report = await store.audit.accept("restored from a backup")
    assert (report.ok, report.entries, report.behind) == (True, 11, 0)
    (entry,) = await store.audit.entries(limit=1)
    assert entry.kind == "audit.accepted"
    assert (entry.detail["fault"], entry.detail["reason"]) == ("truncated", "restored from a backup")
    await store.audit.append("x")
    assert (await store.audit.verify()).behind == 0
    assert (await store.audit.accept("again")).entries == 12


async def test_an_anchor_that_was_taken_away_stays_away(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    paths.audit_head.unlink()
    store = await opening()
    await store.audit.append("x")
    report = await store.audit.verify()
    assert (report.ok, report.fault, report.first, report.behind) == (False, "no anchor", None, 11)
    assert (await store.audit.accept("lost")).ok


def bent(text: bytes) -> bytes:
    fields = json.loads(text)
    return json.dumps(fields | {"seq": fields["seq"] - 1}).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"",
        lambda text: text[:-9],
        lambda text: b"[]",
        lambda text: b"7",
        lambda text: b"\xff\x00",
        lambda text: b"[" * 100_000,
        lambda text: text.replace(b'"seq":10', b'"seq":"10"'),
        lambda text: text.replace(b'"seq":10', b'"seq":' + b"9" * 1000),
        lambda text: text.replace(b'"v":1', b'"v":2'),
        bent,
    ],
)
async def test_an_anchor_that_is_not_ours_is_told_and_left_alone(
    opening: OpenStore, paths: StorePaths, spoil: Callable[[bytes], bytes]
) -> None:
    await ten(opening, paths)
    spoilt = spoil(paths.audit_head.read_bytes())
    paths.audit_head.write_bytes(spoilt)
    store = await opening()
    await store.audit.append("x")
    report = await store.audit.verify()
    assert (report.ok, report.fault, report.entries) == (False, "bad anchor", 11)
    assert paths.audit_head.read_bytes() == spoilt


async def test_an_anchor_of_another_store_is_told(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    other = StorePaths(tmp_path / "other", tmp_path / "other-device")
    await ten(opening, paths)
    await ten(opening, other)
    paths.audit_head.write_bytes(other.audit_head.read_bytes())
    assert (await (await opening()).audit.verify()).fault == "bad anchor"


async def test_a_link_in_place_of_the_anchor_is_not_followed(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    await ten(opening, paths)
    target = tmp_path / "elsewhere"
    os.replace(paths.audit_head, target)
    paths.audit_head.symlink_to(target)
    store = await opening()
    with pytest.raises(StoreError, match="symbolic link"):
        await store.audit.verify()


async def test_an_anchor_that_cannot_be_written_only_lags(
    opening: OpenStore, paths: StorePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ten(opening, paths)
    store = await opening()

    def full(path: Path, content: bytes) -> None:
        raise StoreFull("no space", path=path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_private", full)
        assert (await store.audit.append("x")).seq == 11
    report = await store.audit.verify()
    assert (report.ok, report.entries, report.behind) == (True, 11, 1)
    await store.audit.append("x")
    assert (await store.audit.verify()).behind == 0


async def test_no_entry_is_written_before_there_is_an_anchor(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise StoreFull("no space", path=path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_private", full)
        with pytest.raises(StoreFull):
            await store.audit.append("x")
    assert await store.audit.entries() == []
    await store.audit.append("x")
    assert (await store.audit.verify()).ok
