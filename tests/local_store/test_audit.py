"""The audit log tells what happened, and when somebody made it tell something else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import BadValue, Store, StorePaths, open_store
from local_store.audit import LARGEST_ENTRY

from .conftest import OpenStore


async def ten(opening: OpenStore, at: StorePaths) -> None:
    """A store whose log has ten entries."""
    store = await opening(at=at)
    for number in range(1, 11):
        await store.audit.append("session.delete", f"s{number}", {"number": str(number)})
    await store.close()


async def test_an_entry_is_kept_as_it_was_told(opening: OpenStore) -> None:
    store = await opening()
    told = await store.audit.append("session.delete", "01S", {"by": "a person", "why": "é\x00\n"})
    more = await store.audit.append("keys.rotate")
    await store.close()
    store = await opening()
    assert await store.audit.entries() == [more, told]
    assert (told.seq, told.kind, told.subject, told.detail["why"]) == (1, "session.delete", "01S", "é\x00\n")
    report = await store.audit.verify()
    assert (report.ok, report.entries, report.fault, report.behind, report.head) == (True, 2, None, 0, more.mac)


async def test_a_log_without_entries_is_sound(store: Store) -> None:
    assert (await store.audit.verify()).ok
    assert await store.audit.entries() == []
    assert await store.audit.export(pytest.fail) == 0


async def test_entries_are_listed_in_pages(store: Store) -> None:
    for number in range(7):
        await store.audit.append("x", str(number))
    first = await store.audit.entries(limit=3)
    assert [each.seq for each in first] == [7, 6, 5]
    assert [each.seq for each in await store.audit.entries(limit=3, before=5)] == [4, 3, 2]
    assert await store.audit.entries(limit=-1) == []


@pytest.mark.parametrize("kind", ["", "Keys", "keys.", "keys add", "é", "\ud800", "x" * 65])
async def test_a_kind_is_a_dotted_name(store: Store, kind: str) -> None:
    with pytest.raises(BadValue):
        await store.audit.append(kind)
    assert await store.audit.entries() == []


async def test_an_entry_that_is_too_large_is_refused(store: Store) -> None:
    room = LARGEST_ENTRY - len("{}")
    await store.audit.append("x", "s" * room)
    with pytest.raises(BadValue, match=str(LARGEST_ENTRY)):
        await store.audit.append("x", "s" * room, {"": ""})
    assert (await store.audit.verify()).entries == 1


async def test_many_at_once_are_one_chain(opening: OpenStore) -> None:
    stores = [await opening() for _ in range(3)]
    await asyncio.gather(*(store.audit.append("x", str(n)) for n in range(30) for store in stores))
    for store in stores:
        report = await store.audit.verify()
        assert (report.ok, report.entries) == (True, 90)
    last = await stores[0].audit.append("x")
    assert last.seq == 91 and (await stores[1].audit.verify()).behind == 0


async def test_ten_thousand_entries_are_verified_in_less_than_a_second(store: Store) -> None:
    for _ in range(20):
        await asyncio.gather(*(store.audit.append("session.delete", f"s{n}", {"a": "b"}) for n in range(500)))
    seen: list[tuple[int, int]] = []
    started = time.process_time()
    report = await store.audit.verify(progress=lambda done, total: seen.append((done, total)))
    assert time.process_time() - started < 1.0
    assert (report.ok, report.entries) == (True, 10_000)
    assert seen[-1] == (10_000, 10_000) and len(seen) == 5


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Store]]:
    folder: Path = tmp_path_factory.mktemp("audit")
    with asyncio.Runner() as runner:
        store = runner.run(open_store(StorePaths(folder / "s", folder / "d"), allow_keyring=False))
        yield runner, store
        runner.run(store.close())


valid = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=60, deadline=None)
@given(valid, st.dictionaries(valid, valid, max_size=4))
def test_any_text_comes_back(bench: tuple[asyncio.Runner, Store], subject: str, detail: dict[str, str]) -> None:
    runner, store = bench
    told = runner.run(store.audit.append("x", subject, detail))
    assert runner.run(store.audit.entries(limit=1)) == [told]
    assert (told.subject, told.detail) == (subject, detail)
    assert runner.run(store.audit.verify()).ok


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(categories=["Cs", "Lu"]), max_size=20))
def test_half_a_character_is_replaced_and_told_the_same_ever_after(
    bench: tuple[asyncio.Runner, Store], text: str
) -> None:
    runner, store = bench
    told = runner.run(store.audit.append("x", text, {text: text}))
    assert runner.run(store.audit.entries(limit=1)) == [told]
    assert runner.run(store.audit.verify()).ok
    runner.run(store.audit.export(lambda line: json.loads(line)["subject"].encode()))


async def test_the_export_has_every_entry_in_order(store: Store) -> None:
    for number in range(5):
        await store.audit.append("x", "é\n", {"n": str(number)})
    lines: list[str] = []
    seen: list[tuple[int, int]] = []
    assert await store.audit.export(lines.append, progress=lambda done, total: seen.append((done, total))) == 5
    entries = [json.loads(line) for line in lines]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert entries[3]["detail"] == {"n": "3"} and entries[3]["subject"] == "é\n"
    assert entries[-1]["mac"] == (await store.audit.verify()).head
    assert seen == [(5, 5)]


async def test_verifying_may_be_cancelled(opening: OpenStore, paths: StorePaths) -> None:
    await ten(opening, paths)
    store = await opening()
    verifying = asyncio.ensure_future(store.audit.verify())
    await asyncio.sleep(0)
    verifying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await verifying
    assert (await store.audit.verify()).ok
