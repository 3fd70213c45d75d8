"""Short lists of what was used last."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

from local_store.recent import KEY, MOST
from tests.local_store.conftest import OpenStore


async def test_a_list_is_kept_newest_first_without_doubles(opening: OpenStore) -> None:
    store = await opening()
    assert await store.recent.get("commands") == ()
    await store.recent.used("commands", ["a", "b"])
    await store.recent.used("commands", ["c", "a"])
    assert await store.recent.get("other") == ()
    await store.close()
    store = await opening()
    assert await store.recent.get("commands") == ("c", "a", "b")
    await store.recent.used("commands", [str(number) for number in range(MOST * 2)])
    assert len(await store.recent.get("commands")) == MOST


async def test_a_list_that_cannot_be_read_is_empty(opening: OpenStore) -> None:
    store = await opening()
    await store.recent.used("commands", ["a"])
    for broken in ("{", "7", '["x", 3]'):
        await store._database.write(_putting(broken))
        assert await store.recent.get("commands") == (("x",) if "x" in broken else ())


def _putting(text: str) -> Callable[[Connection], object]:
    return lambda db: db.execute("UPDATE meta SET value = ? WHERE key = ?", [text, f"{KEY}commands"])
