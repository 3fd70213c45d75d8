"""The OS keyring slot: with keyrings of every character, and with a real one where the machine has it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from local_store import KeyPolicy, Locked, NeedsPassphrase, StorePaths
from local_store.os_keyring import KeyringUnavailable, OsKeyring

from .conftest import CHEAP, OpenStore

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
TRUSTED = KeyPolicy(argon2=CHEAP.argon2, keyring_modules=frozenset({__name__}), keyring_timeout=10.0)


class Memory(KeyringBackend):
    """A keyring that keeps its promises."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("Failed to unlock the collection!")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("not found")


class Forgetful(Memory):
    """Takes everything and gives nothing back."""

    def get_password(self, service: str, username: str) -> str | None:
        return None


class Silent(Memory):
    """Shows a dialog that nobody answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.answer.wait()
        return None


@pytest.fixture
def session_keyring() -> Iterator[Memory]:
    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


async def test_a_keyring_slot_opens_the_store_without_a_person(
    opening: OpenStore, paths: StorePaths, session_keyring: Memory
) -> None:
    store = await opening(allow_keyring=True, policy=TRUSTED)
    assert (store.unlocked_by, store.keys.standing()) == ("keyring", "strong")
    assert not list(paths.device_dir.glob("device*"))
    header_id = json.loads(paths.keys.read_text())["id"]
    ((service, account),) = session_keyring.entries
    assert (service, account) == ("sophia", f"{header_id}/{store.keys.slots()[0].id}")
    await store.close()
    again = await opening(allow_keyring=True, policy=TRUSTED)
    assert (again.unlocked_by, again.created) == ("keyring", False)


async def test_a_passphrase_is_added_beside_a_keyring_slot(opening: OpenStore, session_keyring: Memory) -> None:
    store = await opening(allow_keyring=True, policy=TRUSTED)
    await store.keys.add_passphrase("p")
    assert [slot.kind for slot in store.keys.slots()] == ["keyring", "passphrase"]
    await store.close()
    session_keyring.locked = True
    with pytest.raises(NeedsPassphrase, match="Failed to unlock"):
        await opening(allow_keyring=True, policy=TRUSTED)
    assert (await opening(allow_keyring=True, policy=TRUSTED, passphrase="p")).unlocked_by == "passphrase"


async def test_a_keyring_that_lost_the_entry_is_said(opening: OpenStore, session_keyring: Memory) -> None:
    await (await opening(allow_keyring=True, policy=TRUSTED)).close()
    with pytest.raises(Locked, match="not to be used"):
        await opening(allow_keyring=False, policy=TRUSTED)
    session_keyring.entries.clear()
    with pytest.raises(Locked, match="no entry"):
        await opening(allow_keyring=True, policy=TRUSTED)


async def test_a_keyring_outside_the_allow_list_is_never_used(opening: OpenStore, session_keyring: Memory) -> None:
    store = await opening(allow_keyring=True, policy=CHEAP)
    assert store.unlocked_by == "device"
    assert session_keyring.entries == {}


async def test_a_keyring_that_does_not_give_back_is_not_trusted(opening: OpenStore, session_keyring: Memory) -> None:
    keyring.set_keyring(Forgetful())
    assert (await opening(allow_keyring=True, policy=TRUSTED)).unlocked_by == "device"


def test_a_real_keyring_is_found_behind_others(session_keyring: Memory) -> None:
    class Chain(ChainerBackend):
        priority = 1.0
        backends = (Chained(), session_keyring)

    keyring.set_keyring(Chain())  # type: ignore[no-untyped-call]
    real = OsKeyring(frozenset({__name__}), 10.0)
    real.put("account", "secret")
    assert session_keyring.entries == {("sophia", "account"): "secret"}
    assert real.get("account") == "secret"
    real.delete("account")
    with pytest.raises(KeyringUnavailable, match="not found"):
        real.delete("account")


class Chained(Memory):
    __module__ = "keyrings.alt.file"

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError("a plain-text keyring was used")


def test_a_keyring_that_does_not_answer_is_given_up(session_keyring: Memory) -> None:
    silent = Silent()
    keyring.set_keyring(silent)
    with pytest.raises(KeyringUnavailable, match="did not answer"):
        OsKeyring(frozenset({__name__}), 0.05).get("account")
    silent.answer.set()


REAL_KEYRING = shutil.which("gnome-keyring-daemon") and shutil.which("dbus-run-session")
UNLOCKED_SESSION = 'printf x | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 && exec "$@"'


@pytest.mark.skipif(not REAL_KEYRING, reason="needs gnome-keyring-daemon and dbus-run-session")
async def test_with_a_real_keyring(paths: StorePaths, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = os.environ | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PYTHONPATH": str(REPOSITORY)}
    task = [sys.executable, str(HERE / "child.py"), "with_keyring", str(paths.root), str(paths.device_dir)]
    command = ["dbus-run-session", "--", "sh", "-c", UNLOCKED_SESSION, "sh", *task]
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
    said, complaints = await asyncio.wait_for(child.communicate(), 60)
    assert said.decode().split() == ["keyring", "keyring", "Locked"], complaints.decode()


@pytest.mark.skipif(bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS")), reason="this session may have a keyring")
async def test_without_a_session_bus_the_device_slot_is_made(opening: OpenStore) -> None:
    assert (await opening(allow_keyring=True)).unlocked_by == "device"
