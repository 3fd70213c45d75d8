"""Rotation: new keys for everything, whatever cuts it short, and nobody who held the old ones reads on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local_store import (
    Damaged,
    KeysTampered,
    Locked,
    NotFound,
    Store,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StorePaths,
    WrongKey,
    WrongPassphrase,
    WrongState,
    crypto,
    engine,
    files,
    header,
    keyfile,
    slots,
)
from local_store.keys import Credentials, Keys, open_keys

from .conftest import CHEAP, OpenStore

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


def unlocked(paths: StorePaths, **given: Any) -> Keys:
    return open_keys(paths, Credentials(allow_keyring=False, **given), CHEAP, create=False)


async def titles(store: Store) -> list[str]:
    return [session.title for session in await store.sessions.list()]


async def sound(store: Store) -> bool:
    results = await store.check(full=True)
    return all(each.ok for each in results if each.name not in ("recovery key", "key slots"))


async def test_every_slot_goes_on_and_nobody_is_asked(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    shown = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(shown)
    turn = await store.turns.begin((await store.sessions.create("kept")).id, None, "a needle here", request_id="r")
    seen: list[tuple[int, int]] = []
    before, master = unlocked(paths, passphrase="p").database_keys(), unlocked(paths, passphrase="p")._master_key()
    done = await store.keys.rotate(lambda *both: seen.append(both))
    assert done.epoch == 2 and done.bytes == paths.database.stat().st_size
    assert seen and seen[-1][0] == seen[-1][1]
    assert [hit.message_id for hit in await store.search.messages("needle")] == [turn.question.id]
    await store.turns.finish(turn.answer.id, text="written after it", status="complete")
    assert await sound(store) and (await store.audit.verify()).ok
    await store.close()
    for given in ({"passphrase": "p"}, {"recovery_key": shown}, {"passphrase": "p"}, {"recovery_key": shown}):
        again = await opening(**given)
        assert (await again.messages.get(turn.answer.id)).text == "written after it"
        await again.close()
    with pytest.raises(WrongPassphrase):
        await opening(passphrase="q")
    now = unlocked(paths, passphrase="p")
    assert now._master_key() != master and now.database_keys() != before and len(now.database_keys()) == 1


async def test_old_copies_of_the_keys_open_nothing_any_more(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    store = await opening()
    stolen_keys, stolen_device = paths.keys.read_bytes(), (paths.device_dir / "device.key").read_bytes()
    done = await store.keys.add_passphrase("p")
    assert "copied" in done.rotate and store.keys.rotation_due() == done.rotate
    await store.keys.rotate()
    assert store.keys.rotation_due() == ""
    await store.sessions.create("said later")
    await store.close()

    thief = StorePaths(tmp_path / "thief", tmp_path / "thief-device")
    for folder in (thief.root, thief.device_dir):
        files.private_folder(folder)
    files.private_folder(thief.run)
    (thief.device_dir / "device.key").write_bytes(stolen_device)
    thief.database.write_bytes(paths.database.read_bytes())
    thief.keys.write_bytes(stolen_keys)
    with pytest.raises(Damaged):
        await opening(at=thief)
    old = unlocked(thief)
    thief.keys.write_bytes(paths.keys.read_bytes())
    current = keyfile.read(thief)
    assert current is not None
    with pytest.raises(KeysTampered):
        current.unsealed(old._master_key(), current.data[0], thief.keys)


async def test_the_reason_to_rotate_stays_until_it_is_done(opening: OpenStore) -> None:
    store = await opening(passphrase="one")
    assert store.keys.rotation_due() == ""
    shown = store.keys.new_recovery_key()
    assert (await store.keys.confirm_recovery_key(shown)).rotate == ""
    assert (await store.keys.add_passphrase("two")).rotate
    await store.close()
    store = await opening(passphrase="two")
    assert "older copy" in store.keys.rotation_due()
    await store.keys.rotate()
    assert store.keys.rotation_due() == ""
    assert "older copy" in (await store.keys.remove("passphrase")).rotate
    assert [slot.kind for slot in store.keys.slots()] == ["recovery"]


async def test_removing_names_one_slot_and_leaves_a_strong_one(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    with pytest.raises(WrongState, match="nothing strong"):
        await store.keys.remove("device")
    for strange in ("", "nonsense", "\0", "passphrase"):
        with pytest.raises(NotFound, match="no slot"):
            await store.keys.remove(strange)
    await store.keys.confirm_recovery_key(store.keys.new_recovery_key())
    (device,) = [slot for slot in store.keys.slots() if slot.weak]
    done = await store.keys.remove(device.id[:20].lower())
    assert done.removed == (device,) and "copied" in done.rotate and not list(paths.device_dir.glob("device*"))
    with pytest.raises(WrongState, match="nothing strong"):
        await store.keys.remove(store.keys.slots()[0].id)
    entries = [(each.kind, each.subject) for each in await store.audit.entries()]
    assert entries == [("keys.removed", "device"), ("keys.added", "recovery")]


async def test_reads_and_writes_wait_and_none_is_lost(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    await store.drafts.save("d", os.urandom(300_000).hex())
    rotating = asyncio.ensure_future(store.keys.rotate())
    written = [asyncio.ensure_future(store.sessions.create(str(number))) for number in range(20)]
    read = [asyncio.ensure_future(store.sessions.list()) for _ in range(20)]
    await asyncio.gather(rotating, *written, *read)
    assert sorted(await titles(store), key=int) == [str(number) for number in range(20)]
    for _ in range(2):
        await asyncio.gather(store.keys.rotate(), store.sessions.list(), store.sessions.create("more"))
    assert (await store.keys.rotate()).epoch == 5
    assert await sound(store)


async def test_another_process_that_has_the_store_open_is_not_pulled_down(
    opening: OpenStore, paths: StorePaths
) -> None:
    store = await opening()
    other = await opening()
    before = paths.keys.read_bytes()
    for one in (store, other):
        with pytest.raises(StoreBusy, match="another place") as refused:
            await one.keys.rotate()
        assert refused.value.hint and paths.keys.read_bytes() == before
        await one.sessions.create("goes on")
    # What `store` read is older than what `other` wrote: the exchange must not go by it.
    await other.close()
    await store.keys.rotate()
    assert await titles(store) == ["goes on", "goes on"]


async def test_who_opens_while_keys_are_exchanged_waits_or_is_told(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    with pytest.raises(StoreBusy, match="exchanged"), store._presence.alone():
        await opening(passphrase="p", policy=replace(CHEAP, busy_timeout=0.0))
    rotating = asyncio.ensure_future(store.keys.rotate())
    later = asyncio.ensure_future(opening(passphrase="p"))
    await asyncio.wait([rotating])
    await (await later).sessions.create("from the second")
    assert await titles(store) == ["from the second"]


async def test_a_reader_in_the_same_process_is_not_pulled_down(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    reader = store._database.scratch()
    before = paths.keys.read_bytes()
    try:
        with pytest.raises(StoreBusy, match=r"another process|being read"):
            await store.keys.rotate()
        assert reader.execute("SELECT count(*) FROM session").fetchone() == (0,)
    finally:
        reader.close()
    assert paths.keys.read_bytes() == before
    await store.keys.rotate()


async def test_giving_up_half_way_changes_nothing(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    for number in range(8):
        await store.drafts.save(str(number), os.urandom(1_500_000).hex())
    before = paths.keys.read_bytes()
    begun = asyncio.Event()
    rotating = asyncio.ensure_future(store.keys.rotate(lambda *_: begun.set()))
    await asyncio.wait_for(begun.wait(), 30)
    rotating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rotating
    if unlocked(paths, passphrase="p").epoch == 1:
        assert paths.keys.read_bytes() == before
    assert [path.name for path in paths.root.iterdir() if "next" in path.name] == []
    await store.sessions.create("still writable")
    await store.keys.rotate()
    assert await titles(store) == ["still writable"]


async def test_a_disk_without_room_changes_nothing(opening: OpenStore, paths: StorePaths) -> None:
    import resource

    store = await opening(passphrase="p")
    await store.drafts.save("d", os.urandom(1_000_000).hex())
    before, unlimited = paths.keys.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, unlimited[1]))
    try:
        with pytest.raises(StoreFull):
            await store.keys.rotate()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        signal.signal(signal.SIGXFSZ, ignored)
    assert paths.keys.read_bytes() == before
    assert [path.name for path in paths.root.iterdir() if "next" in path.name] == []
    await store.sessions.create("goes on")
    await store.keys.rotate()
    assert await titles(store) == ["goes on"]


async def test_a_damaged_page_stops_it_before_anything_is_exchanged(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    await store.drafts.save("d", os.urandom(400_000).hex())
    await store.sessions.create("kept")
    await store.close()
    with paths.database.open("r+b") as file:
        file.seek(-20 * 4096, os.SEEK_END)
        file.write(os.urandom(64))
    store = await opening(passphrase="p")
    before = paths.keys.read_bytes()
    with pytest.raises(Damaged):
        await store.keys.rotate()
    assert paths.keys.read_bytes() == before
    assert await titles(store) == ["kept"]


async def test_a_closed_store_is_not_rotated(opening: OpenStore) -> None:
    store = await opening(passphrase="p")
    await store.close()
    with pytest.raises(StoreClosed):
        await store.keys.rotate()


@pytest.mark.parametrize("renamed", [False, True])
async def test_an_exchange_that_was_cut_short_is_settled_by_the_next_opening(
    opening: OpenStore, paths: StorePaths, renamed: bool
) -> None:
    store = await opening(passphrase="p")
    await store.sessions.create("kept")
    await store.close()
    keys = unlocked(paths, passphrase="p")
    (old,) = keys.database_keys()
    new = keys.begin_exchange(old)
    if renamed:
        connection = engine.Opener(paths.database, old).writer()
        connection.execute(f"PRAGMA rekey = \"x'{new.hex()}'\"")
        connection.close()
    paths.exchange.write_bytes(b"half a copy")
    assert len(unlocked(paths, passphrase="p").database_keys()) == 2
    for _ in range(2):
        again = await opening(passphrase="p")
        assert await titles(again) == ["kept"]
        await again.close()
    assert unlocked(paths, passphrase="p").database_keys() == [new if renamed else old]
    assert unlocked(paths, passphrase="p").epoch == (2 if renamed else 1)
    assert not paths.exchange.exists()
    again = await opening(passphrase="p")
    await again.keys.rotate()
    assert await titles(again) == ["kept"]


async def test_what_is_derived_for_other_purposes_stays(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    before = unlocked(paths, passphrase="p").derive("something")
    await store.keys.rotate()
    assert unlocked(paths, passphrase="p").derive("something") == before
    assert unlocked(paths, passphrase="p").derive("another") != before


async def test_a_slot_is_wrapped_by_its_secret_again_when_it_is_used(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    await store.keys.rotate()

    def sealed() -> bool:
        current = keyfile.read(paths)
        assert current is not None
        return slots.is_sealed(current.slots[0])

    assert sealed()
    await store.close()
    await (await opening(passphrase="p")).close()
    assert not sealed()
    assert (await opening(passphrase="p")).unlocked_by == "passphrase"


def version_one(paths: StorePaths) -> bytes:
    """Write the key file an earlier version made, with a passphrase and a recovery slot; returns its data key."""
    master, secret, identity = os.urandom(32), os.urandom(32), os.urandom(16).hex()
    salt = identity.encode()
    files.private_folder(paths.root)
    files.private_folder(paths.device_dir)
    files.write_private(paths.device_dir / "device.key", secret.hex().encode())
    stretched = os.urandom(16)

    def slot(name: str, kind: str, key: bytes, params: dict[str, object]) -> dict[str, object]:
        context = header.canonical({"v": 1, "id": identity, "slot": name, "kind": kind, "p": params})
        nonce, sealed = crypto.seal(key, master, context)
        fields: dict[str, object] = {"id": name, "kind": kind, "label": kind, "created_at": 1, "p": params}
        return fields | {"n": base64.b64encode(nonce).decode(), "ct": base64.b64encode(sealed).decode()}

    cost = CHEAP.argon2
    work = {"m": cost.memory_kib, "t": cost.iterations, "l": cost.lanes, "salt": base64.b64encode(stretched).decode()}
    plain = {
        "v": 1,
        "id": identity,
        "db_epoch": 1,
        "db_pending": None,
        "slots": [
            slot("A", "device", crypto.derive(secret, "slot/device", salt), {"file": "device.key"}),
            slot("B", "passphrase", crypto.stretch("p", stretched, cost), work),
        ],
    }
    code = hmac.digest(crypto.derive(master, "header-mac", salt), header.canonical(plain), hashlib.sha256)
    document = plain | {"mac": base64.b64encode(code).decode()}
    files.write_private(paths.keys, json.dumps(document).encode())
    return crypto.derive(master, "db/1", salt)


async def test_the_first_version_of_the_key_file_opens_and_is_brought_up(opening: OpenStore, paths: StorePaths) -> None:
    data = version_one(paths)
    store = await opening()
    await store.sessions.create("kept")
    assert json.loads(paths.keys.read_text())["v"] == 2
    assert unlocked(paths).database_keys() == [data]
    with pytest.raises(WrongState, match="passphrase slot was made by an earlier version"):
        await store.keys.rotate()
    await store.close()
    (paths.device_dir / "device.key").rename(paths.device_dir / "away")
    with pytest.raises(WrongPassphrase):
        await opening(passphrase="q")
    store = await opening(passphrase="p")
    await store.keys.rotate()
    assert await titles(store) == ["kept"] and unlocked(paths, passphrase="p").database_keys() != [data]
    await store.close()
    (paths.device_dir / "away").rename(paths.device_dir / "device.key")
    assert (await opening()).unlocked_by == "device"


async def test_only_what_is_typed_opens_a_store_that_was_locked(opening: OpenStore) -> None:
    store = await opening()
    shown = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(shown)
    await store.close()
    with pytest.raises(Locked):
        await opening(typed_only=True)
    with pytest.raises(WrongKey):
        await opening(typed_only=True, recovery_key="x")
    assert (await opening(typed_only=True, recovery_key=shown)).unlocked_by == "recovery"


async def test_a_sealed_slot_cannot_be_exchanged(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening(passphrase="p")
    await store.keys.rotate()
    await store.close()
    good = json.loads(paths.keys.read_text())
    zero, other = base64.b64encode(bytes(32)).decode(), base64.b64encode(os.urandom(32)).decode()
    for name, value in [("sealed", zero), ("sealed", other), ("sealed", "?"), ("sealed", 7), ("box", other)]:
        document = json.loads(json.dumps(good))
        document["slots"][0]["p"][name] = value
        paths.keys.write_text(json.dumps(document))
        with pytest.raises(WrongKey):
            await opening(passphrase="p")
    paths.keys.write_text(json.dumps(good))
    assert (await opening(passphrase="p")).unlocked_by == "passphrase"


async def test_killed_at_every_step_it_always_opens(paths: StorePaths) -> None:
    rounds = os.environ.get("KILL_ROUNDS", "1")
    command = [sys.executable, "-m", "tests.local_store.rotation_kills", str(paths.root), str(paths.device_dir), rounds]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment, cwd=REPOSITORY)
    said, complaints = await asyncio.wait_for(child.communicate(), 600)
    words = said.decode().split()
    assert child.returncode == 0, complaints.decode()
    assert words[0] == "kills" and int(words[1]) >= 15 * int(rounds)


async def test_a_process_that_is_killed_while_it_copies_leaves_the_old_database(
    opening: OpenStore, paths: StorePaths
) -> None:
    script = (
        "import asyncio, sys, pathlib, os\n"
        "from tests.local_store.rotation_kills import opened, StorePaths\n"
        "async def main():\n"
        "    async with await opened(StorePaths(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))) as store:\n"
        "        for number in range(6):\n"
        "            await store.drafts.save(str(number), os.urandom(2_000_000).hex())\n"
        "        print('filled', flush=True)\n"
        "        await store.keys.rotate(lambda done, total: print(done, total, flush=True))\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, str(paths.root), str(paths.device_dir)]
    child = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
        command, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert child.stdout is not None
    assert (await asyncio.to_thread(child.stdout.readline)).strip() == "filled"
    assert await asyncio.to_thread(child.stdout.readline)
    child.kill()
    await asyncio.to_thread(child.wait)
    child.stdout.close()
    store = await opening(passphrase="p")
    assert await sound(store)
    for number in range(6):
        assert len(await store.drafts.load(str(number)) or "") == 4_000_000
    await store.keys.rotate()
    assert await sound(store)


async def test_what_else_writes_the_database_anew_waits_for_the_new_key(opening: OpenStore) -> None:
    store = await opening(passphrase="one")
    gone, kept = await store.sessions.create("gone"), await store.sessions.create("kept")
    one, purged, other = await asyncio.gather(store.keys.rotate(), store.purge.sessions([gone.id]), store.keys.rotate())
    assert (max(one.epoch, other.epoch), purged.left) == (3, ())
    assert await titles(store) == [kept.title]
    assert await sound(store)
