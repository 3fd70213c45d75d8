"""Key slots: what opens a store, what does not, and how that is said."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import (
    Argon2Cost,
    KeyPolicy,
    KeysMissing,
    KeysTampered,
    Locked,
    NeedsPassphrase,
    NotFound,
    SchemaTooNew,
    Store,
    StoreError,
    StorePaths,
    WrongKey,
    WrongPassphrase,
    engine,
    recovery,
)
from local_store.ids import ALPHABET
from local_store.keys import Credentials

from .conftest import OpenStore

secrets = st.binary(min_size=32, max_size=32)


def kinds(store: Store) -> list[str]:
    return [slot.kind for slot in store.keys.slots()]


async def test_the_first_start_asks_nothing_and_calls_the_device_slot_weak(
    opening: OpenStore, paths: StorePaths
) -> None:
    store = await opening()
    assert (store.created, store.unlocked_by, kinds(store), store.keys.standing()) == (
        True,
        "device",
        ["device"],
        "weak",
    )
    assert store.keys.slots()[0].weak
    assert not store.keys.recovery_confirmed()
    await store.close()
    again = await opening()
    assert (again.created, again.unlocked_by) == (False, "device")


async def test_a_passphrase_at_default_cost_opens_what_it_made(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="correct horse", policy=KeyPolicy())
    assert (kinds(store), store.keys.standing()) == (["passphrase"], "strong")
    assert not list(paths.device_dir.glob("device*"))
    await store.close()
    params = json.loads(paths.keys.read_text())["slots"][0]["p"]
    assert (params["m"], params["t"], params["l"]) == (64 * 1024, 3, 4)
    assert (await opening(passphrase="correct horse")).unlocked_by == "passphrase"


async def test_without_the_passphrase_a_person_is_asked(opening: OpenStore) -> None:
    await (await opening(passphrase="correct horse")).close()
    with pytest.raises(NeedsPassphrase) as asked:
        await opening()
    assert asked.value.kinds == ("passphrase",)
    with pytest.raises(WrongPassphrase):
        await opening(passphrase="correct horsf")


async def test_a_passphrase_means_the_same_on_every_keyboard(opening: OpenStore) -> None:
    await (await opening(passphrase="caf\u00e9")).close()
    assert (await opening(passphrase="cafe\u0301")).unlocked_by == "passphrase"


async def test_a_passphrase_replaces_the_device_slot_and_its_file(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    session = await store.sessions.create("kept")
    assert (paths.device_dir / "device.key").exists()
    await store.keys.add_passphrase("one")
    assert (kinds(store), store.keys.standing()) == (["passphrase"], "strong")
    assert list(paths.device_dir.glob("device*")) == []
    await store.keys.add_passphrase("two")
    assert kinds(store) == ["passphrase"]
    await store.close()
    with pytest.raises(WrongPassphrase):
        await opening(passphrase="one")
    again = await opening(passphrase="two")
    assert (await again.sessions.get(session.id)).title == "kept"


async def test_an_empty_passphrase_is_refused(opening: OpenStore, paths: StorePaths) -> None:
    with pytest.raises(WrongPassphrase, match="empty"):
        await opening(passphrase="  ")
    assert not paths.keys.exists()
    store = await opening(passphrase="")
    with pytest.raises(WrongPassphrase, match="empty"):
        await store.keys.add_passphrase("")
    assert kinds(store) == ["device"]


async def test_another_stores_device_key_is_left_alone(opening: OpenStore, paths: StorePaths, tmp_path: Path) -> None:
    first = await opening()
    other = StorePaths(tmp_path / "other", paths.device_dir)
    second = await opening(at=other)
    await second.keys.add_passphrase("p")
    await first.close()
    assert (await opening()).unlocked_by == "device"
    assert [path.name for path in paths.device_dir.glob("device*")] == ["device.key"]


async def test_recovery_key_opens_the_store_once_it_is_confirmed(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    shown = store.keys.new_recovery_key()
    assert not store.keys.recovery_confirmed()
    with pytest.raises(WrongKey):
        await store.keys.confirm_recovery_key("0000000-0000000")
    with pytest.raises(WrongKey):
        await store.keys.confirm_recovery_key("\ud800")
    assert not store.keys.recovery_confirmed()
    await store.keys.confirm_recovery_key(" ".join(shown.lower().split("-")[-2:]))
    assert store.keys.recovery_confirmed() and store.keys.standing() == "strong"
    with pytest.raises(StoreError, match="waiting"):
        await store.keys.confirm_recovery_key(shown)
    await store.close()
    with pytest.raises(NeedsPassphrase) as asked:
        await opening()
    assert asked.value.kinds == ("passphrase", "recovery")
    assert (await opening(recovery_key=shown.replace("0", "o").replace("1", "l"))).unlocked_by == "recovery"
    with pytest.raises(WrongKey, match="another store"):
        await opening(recovery_key=recovery.encode(os.urandom(32)))


async def test_an_unconfirmed_recovery_key_opens_nothing(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    shown = store.keys.new_recovery_key()
    await store.close()
    with pytest.raises(NeedsPassphrase):
        await opening(recovery_key=shown)


async def test_a_new_recovery_key_replaces_the_old_one(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    old = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(old)
    new = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(new)
    assert kinds(store) == ["passphrase", "recovery"]
    await store.close()
    assert (await opening(recovery_key=new)).unlocked_by == "recovery"
    with pytest.raises(WrongKey):
        await opening(recovery_key=old)


async def test_two_open_stores_do_not_undo_each_others_slots(opening: OpenStore) -> None:
    one, two = await opening(), await opening()
    shown = one.keys.new_recovery_key()
    await two.keys.add_passphrase("p")
    await one.keys.confirm_recovery_key(shown)
    assert kinds(one) == ["passphrase", "recovery"]


@settings(max_examples=50)
@given(secrets)
def test_recovery_key_codec(secret: bytes) -> None:
    shown = recovery.encode(secret)
    assert [len(group) for group in shown.split("-")] == [7] * 8
    assert recovery.decode(shown) == secret
    assert recovery.decode(shown.lower().replace("-", " ").replace("0", "O").replace("1", "i")) == secret


@settings(max_examples=50)
@given(secrets, st.integers(0, 55), st.sampled_from(ALPHABET + "U?é"))
def test_every_mistyped_character_is_caught(secret: bytes, position: int, character: str) -> None:
    typed = list(recovery.encode(secret).replace("-", ""))
    if typed[position] == character:
        return
    typed[position] = character
    with pytest.raises(WrongKey):
        recovery.decode("".join(typed))


@settings(max_examples=50)
@given(st.text(st.characters(codec=None), max_size=70))
def test_a_recovery_key_that_is_none_is_refused(typed: str) -> None:
    with pytest.raises(WrongKey):
        recovery.decode(typed)


def changed(document: dict[str, Any], name: str) -> None:
    slot = document["slots"][0]
    match name:
        case "v":
            document["v"] = 0
        case "id":
            document["id"] = "0" * 32
        case "epoch":
            document["epoch"] = 2
        case "data":
            document["data"] = [document["root"]]
        case "root":
            document["root"] = document["data"][0]
        case "due":
            document["due"] = "x"
        case "mac":
            document["mac"] = "A" * 43 + "="
        case "slots":
            document["slots"] = [slot, slot]
        case "extra":
            document["extra"] = 1
        case "p":
            slot["p"]["t"] = 2
        case "n" | "ct":
            slot[name] = "A" * len(slot[name].rstrip("=")) + "=" * slot[name].count("=")
        case "kind":
            slot["kind"] = "recovery"
        case "created_at":
            slot["created_at"] += 1
        case _:
            slot[name] = "x"


FIELDS = ["v", "id", "epoch", "data", "root", "due", "mac", "slots", "extra"]
SLOT_FIELDS = ["slot id", "kind", "label", "created_at", "p", "n", "ct"]


@pytest.mark.parametrize("name", FIELDS + SLOT_FIELDS)
async def test_no_field_of_the_key_file_can_be_changed(opening: OpenStore, paths: StorePaths, name: str) -> None:
    await (await opening(passphrase="p")).close()
    document = json.loads(paths.keys.read_text())
    changed(document, name) if name != "slot id" else document["slots"][0].update(id="x")
    paths.keys.write_text(json.dumps(document))
    with pytest.raises((KeysTampered, WrongKey, Locked)) as refused:
        await opening(passphrase="p")
    if name in ("v", "epoch", "data", "root", "due", "mac", "slots", "extra", "label", "created_at"):
        assert isinstance(refused.value, KeysTampered)
        assert refused.value.hint and refused.value.path == paths.keys


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"v":1}', b"\xff\xfe", b"[" * 100_000])
async def test_a_broken_key_file_is_named(opening: OpenStore, paths: StorePaths, content: bytes) -> None:
    await (await opening()).close()
    paths.keys.write_bytes(content)
    with pytest.raises(KeysTampered, match=r"keys\.json"):
        await opening()


async def test_a_newer_key_file_is_not_touched(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    document = json.loads(paths.keys.read_text()) | {"v": 3}
    paths.keys.write_text(json.dumps(document))
    with pytest.raises(SchemaTooNew):
        await opening()
    assert json.loads(paths.keys.read_text()) == document


@pytest.mark.parametrize(
    "cost",
    [
        Argon2Cost(2**31, 1, 1),
        Argon2Cost(64, 10_000, 1),
        Argon2Cost(64, 1, 10**6),
        Argon2Cost(4, 1, 1),
        Argon2Cost(8, 0, 1),
    ],
)
async def test_absurd_passphrase_work_is_refused_before_it_starts(
    opening: OpenStore, paths: StorePaths, cost: Argon2Cost
) -> None:
    await (await opening(passphrase="p")).close()
    document = json.loads(paths.keys.read_text())
    document["slots"][0]["p"].update(m=cost.memory_kib, t=cost.iterations, l=cost.lanes)
    paths.keys.write_text(json.dumps(document))
    with pytest.raises(KeysTampered, match="passphrase work"):
        await opening(passphrase="p")


async def test_a_missing_key_file_is_never_replaced(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    paths.keys.unlink()
    for create in (True, False):
        with pytest.raises(KeysMissing) as missing:
            await opening(create=create)
        assert str(paths.keys) in missing.value.message and str(paths.database) in missing.value.message
    assert not paths.keys.exists()


async def test_a_missing_or_foreign_device_key_is_named(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    key = paths.device_dir / "device.key"
    content = key.read_bytes()
    key.write_bytes(os.urandom(32).hex().encode())
    with pytest.raises(WrongKey, match="device key"):
        await opening()
    key.write_bytes(b"short")
    with pytest.raises(Locked):
        await opening()
    key.unlink()
    with pytest.raises(Locked, match=r"device\.key"):
        await opening()
    elsewhere = paths.device_dir / "elsewhere"
    elsewhere.write_bytes(content)
    key.symlink_to(elsewhere)
    with pytest.raises(Locked, match="symbolic link"):
        await opening()


async def test_the_slot_cannot_point_at_another_file(opening: OpenStore, paths: StorePaths) -> None:
    await (await opening()).close()
    document = json.loads(paths.keys.read_text())
    document["slots"][0]["p"]["file"] = "../../etc/passwd"
    paths.keys.write_text(json.dumps(document))
    with pytest.raises(Locked, match="not one we write"):
        await opening()


async def test_a_store_that_does_not_exist_is_not_made_unasked(opening: OpenStore, paths: StorePaths) -> None:
    with pytest.raises(NotFound):
        await opening(create=False)
    assert not paths.root.exists()


async def test_files_are_private_whatever_the_umask(opening: OpenStore, paths: StorePaths) -> None:
    before = os.umask(0)
    try:
        store = await opening()
        await store.keys.add_passphrase("p")
        fallback = await opening(at=StorePaths(paths.root.parent / "two", paths.device_dir))
    finally:
        os.umask(before)
    for path in [*paths.root.rglob("*"), *paths.device_dir.rglob("*"), paths.root, paths.device_dir]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    await fallback.close()


async def test_the_key_is_forgotten_when_the_store_is_closed(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await store.close()
    with pytest.raises(Locked, match="forgotten"):
        await store.keys.add_passphrase("p")


def test_keys_and_credentials_do_not_show_secrets(paths: StorePaths) -> None:
    shown = repr(Credentials("secret-1", "secret-2")) + repr(engine.Opener(paths.database, b"s" * 32))
    assert "secret" not in shown and "ssss" not in shown
    with pytest.raises(ValueError, match="32 bytes"):
        engine.Opener(paths.database, b"short")
