"""A box opens for the key and the context it was sealed with, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from local_store import BadValue, StoreError
from local_store.box import Box
from local_store.errors import WrongKey

from .conftest import OpenStore

KEY = bytes(range(32))


@given(plain=some.binary(max_size=200), context=some.binary(max_size=20), place=some.integers(0, 10_000))
def test_a_box_gives_back_what_was_put_in_and_notices_every_change(plain: bytes, context: bytes, place: int) -> None:
    sealed = Box(KEY).seal(plain, context)
    assert Box(KEY).open(sealed, context) == plain and sealed != Box(KEY).seal(plain, context)
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= 1
    for box, wrong, about in (
        (KEY, bytes(changed), context),
        (KEY, sealed, context + b"x"),
        (bytes(32), sealed, context),
    ):
        with pytest.raises(StoreError):
            Box(box).open(wrong, about)
    with pytest.raises(StoreError):
        Box(KEY).open(sealed[:20], context)


async def test_a_subkey_is_the_same_after_an_exchange_of_the_keys(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    sealed = Box(store.subkey("swarm")).seal(b"said")
    assert store.subkey("swarm") != store.subkey("other")
    await store.keys.rotate()
    await store.close()
    store = await opening(passphrase="p")
    assert Box(store.subkey("swarm")).open(sealed) == b"said"
    with pytest.raises(WrongKey):
        Box(store.subkey("other")).open(sealed)
    for name in ("", "A", "a/b", "x" * 40):
        with pytest.raises(BadValue):
            store.subkey(name)
    with pytest.raises(BadValue):
        Box(b"short")
