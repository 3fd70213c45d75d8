"""Secrets come back as they went in, or are refused without being shown."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import BadValue, Store, StorePaths, open_store
from local_store.secrets import LARGEST_VALUE

from .conftest import OpenStore

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Store]]:
    folder: Path = tmp_path_factory.mktemp("secrets")
    with asyncio.Runner() as runner:
        store = runner.run(open_store(StorePaths(folder / "s", folder / "d"), allow_keyring=False))
        yield runner, store
        runner.run(store.close())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(texts.filter(lambda name: len(name.encode()) <= 256), texts, max_size=4))
def test_any_text_comes_back(bench: tuple[asyncio.Runner, Store], kept: dict[str, str]) -> None:
    runner, store = bench

    async def round_trip() -> None:
        for name, value in kept.items():
            await store.secrets.set(name, value)
        assert {name: await store.secrets.get(name) for name in await store.secrets.names()} == kept
        for name in kept:
            await store.secrets.delete(name)
        assert await store.secrets.names() == []

    runner.run(round_trip())


async def test_a_secret_is_kept_replaced_and_forgotten(opening: OpenStore) -> None:
    store = await opening()
    assert await store.secrets.get("token") is None
    await store.secrets.set("token", "first")
    await store.secrets.set("token", "second")
    await store.secrets.set("other", "")
    await store.close()
    store = await opening()
    assert await store.secrets.names() == ["other", "token"]
    assert (await store.secrets.get("token"), await store.secrets.get("other")) == ("second", "")
    await store.secrets.delete("token")
    await store.secrets.delete("token")
    assert await store.secrets.get("token") is None


@pytest.mark.parametrize("value", ["é" * (LARGEST_VALUE // 2), "x" * LARGEST_VALUE])
async def test_the_largest_value_fits_and_one_byte_more_does_not(store: Store, value: str) -> None:
    await store.secrets.set("token", value)
    assert await store.secrets.get("token") == value
    with pytest.raises(BadValue, match=str(LARGEST_VALUE + 1)):
        await store.secrets.set("token", value + "x")
    assert await store.secrets.get("token") == value


@pytest.mark.parametrize("value", ["hush\ud800", "hush" * LARGEST_VALUE])
async def test_a_refusal_does_not_show_the_value(store: Store, value: str) -> None:
    with pytest.raises(BadValue) as refused:
        await store.secrets.set("token", value)
    shown = "".join(traceback.format_exception(refused.value))
    assert "hush" not in shown
    assert refused.value.__cause__ is None and refused.value.__context__ is None
    assert "hush" not in repr(store.secrets) + repr(vars(store.secrets))
    assert await store.secrets.names() == []


@pytest.mark.parametrize("name", ["n" * 257, "\udfff"])
async def test_a_name_nothing_can_have_is_refused(store: Store, name: str) -> None:
    for attempt in (store.secrets.get(name), store.secrets.set(name, "x"), store.secrets.delete(name)):
        with pytest.raises(BadValue):
            await attempt


async def test_no_file_shows_a_secret(store: Store, paths: StorePaths) -> None:
    needle = "sk-needle-in-a-haystack"
    await store.secrets.set(needle, needle * 40)
    for path in paths.root.rglob("*"):
        assert not path.is_file() or needle.encode() not in path.read_bytes()
