"""The ssh-agent slot: with real agents, and with ones that mean harm."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from local_store import KeyPolicy, KeyUnavailable, Locked, NeedsPassphrase, NotFound, StorePaths, WrongState
from local_store.ssh_agent import AgentUnavailable, SshAgent, blob_of, fingerprint, framed

from .agents import RealAgent, needs_ssh, real_agent, scripted_agent, string
from .conftest import CHEAP, OpenStore


@pytest.fixture
def agent() -> Iterator[RealAgent]:
    with real_agent() as running:
        yield running


def using(path: str, seconds: float = 5.0) -> KeyPolicy:
    return replace(CHEAP, agent_socket=path, agent_timeout=seconds, agent_sign_timeout=seconds)


def kinds(store: object) -> list[str]:
    return [slot.kind for slot in store.keys.slots()]  # type: ignore[attr-defined]


@needs_ssh
async def test_a_real_agent_opens_the_store_and_quickly(opening: OpenStore, agent: RealAgent) -> None:
    agent.new_key("work laptop")
    policy = using(agent.socket)
    store = await opening(passphrase="p", policy=policy)
    session = await store.sessions.create("kept")
    (held,) = await store.keys.agent_keys()
    done = await store.keys.add_ssh_agent()
    assert done.added is not None and done.added.label == f"work laptop {held.fingerprint}"
    assert (done.removed, done.rotate) == ((), "")
    await store.close()
    took = []
    for _ in range(5):
        began = time.perf_counter()
        again = await opening(policy=policy)
        took.append(time.perf_counter() - began)
        assert again.unlocked_by == "ssh-agent"
        assert (await again.sessions.get(session.id)).title == "kept"
        await again.close()
    assert min(took) < 0.1, took


@needs_ssh
async def test_an_agent_replaces_the_device_slot_but_is_never_alone(
    opening: OpenStore, agent: RealAgent, paths: StorePaths
) -> None:
    agent.new_key("key")
    store = await opening(policy=using(agent.socket))
    with pytest.raises(WrongState, match="only strong"):
        await store.keys.add_ssh_agent()
    assert kinds(store) == ["device"]
    await store.keys.confirm_recovery_key(store.keys.new_recovery_key())
    done = await store.keys.add_ssh_agent()
    assert kinds(store) == ["recovery", "ssh-agent"] and not list(paths.device_dir.glob("device*"))
    assert "copied" in done.rotate and store.keys.rotation_due() == done.rotate
    with pytest.raises(WrongState, match="nothing strong"):
        await store.keys.remove("recovery")
    await store.keys.add_passphrase("p")
    await store.keys.remove("recovery")
    with pytest.raises(WrongState, match="nothing strong"):
        await store.keys.remove("passphrase")
    await store.keys.remove("ssh-agent")
    assert kinds(store) == ["passphrase"]


@needs_ssh
async def test_only_ed25519_keys_are_taken(opening: OpenStore, agent: RealAgent) -> None:
    ecdsa = agent.new_key("curve", "ecdsa")
    store = await opening(passphrase="p", policy=using(agent.socket))
    assert await store.keys.agent_keys() == []
    with pytest.raises(KeyUnavailable, match="no Ed25519"):
        await store.keys.add_ssh_agent()
    one, two = agent.new_key("one"), agent.new_key("two")
    with pytest.raises(WrongState, match="several"):
        await store.keys.add_ssh_agent()
    with pytest.raises(NotFound, match="no such"):
        await store.keys.add_ssh_agent(ecdsa)
    assert (await store.keys.add_ssh_agent(two)).added
    assert (await store.keys.add_ssh_agent("one")).added
    blob = blob_of(one)
    assert blob is not None
    with pytest.raises(WrongState, match="already"):
        await store.keys.add_ssh_agent(fingerprint(blob))
    assert kinds(store) == ["passphrase", "ssh-agent", "ssh-agent"]


@needs_ssh
async def test_without_its_key_the_agent_opens_nothing(opening: OpenStore, agent: RealAgent) -> None:
    agent.new_key("first")
    policy = using(agent.socket)
    store = await opening(passphrase="p", policy=policy)
    await store.keys.add_ssh_agent()
    await store.close()
    agent.add("-x", typed="secret")
    with pytest.raises(NeedsPassphrase, match="does not hold"):
        await opening(policy=policy)
    agent.add("-X", typed="secret")
    agent.add("-D")
    agent.new_key("other")
    with pytest.raises(NeedsPassphrase, match="does not hold"):
        await opening(policy=policy)
    for gone in ("/nowhere/agent", "/" + "x" * 200, "a\0b"):
        with pytest.raises(NeedsPassphrase, match="cannot be reached"):
            await opening(policy=using(gone))
    assert (await opening(passphrase="p", policy=policy)).unlocked_by == "passphrase"


@needs_ssh
async def test_rotation_carries_the_agent_slot_over(opening: OpenStore, agent: RealAgent) -> None:
    agent.new_key("key")
    policy = using(agent.socket)
    store = await opening(passphrase="p", policy=policy)
    await store.keys.add_ssh_agent()
    agent.add("-x", typed="secret")
    await store.keys.rotate()
    await store.close()
    agent.add("-X", typed="secret")
    for _ in range(2):
        again = await opening(policy=policy)
        assert again.unlocked_by == "ssh-agent"
        await again.close()


async def test_without_an_agent_that_is_said(opening: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    store = await opening(passphrase="p")
    with pytest.raises(KeyUnavailable, match="SSH_AUTH_SOCK") as refused:
        await store.keys.add_ssh_agent()
    assert "ssh-add" in refused.value.hint


KEY = Ed25519PrivateKey.generate()
BLOB = string(b"ssh-ed25519") + string(KEY.public_key().public_bytes_raw())
ONE_KEY = string(b"\x0c" + struct.pack(">I", 1) + string(BLOB) + string(b"comment"))
MESSAGE = b"message"


def signed(signature: bytes, kind: bytes = b"ssh-ed25519") -> bytes:
    return string(b"\x0e" + string(string(kind) + string(signature)))


HOSTILE = {
    "hangs": None,
    "hangs up": b"",
    "half a length": b"\0\0",
    "nothing": string(b""),
    "huge": struct.pack(">I", 0xFFFFFFFF),
    "promises more": struct.pack(">I", 5000) + b"\x0c",
    "refuses": string(b"\x05"),
    "another kind": string(b"\x63rubbish"),
    "bare kind": string(b"\x0c"),
    "a billion keys": string(b"\x0c" + struct.pack(">I", 10**9)),
    "cut in a key": string(b"\x0c" + struct.pack(">I", 1) + struct.pack(">I", 500) + b"abc"),
    "cut in a comment": string(b"\x0c" + struct.pack(">I", 1) + string(BLOB)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_list_of_keys_is_refused_in_time(name: str) -> None:
    with scripted_agent(lambda _: HOSTILE[name]) as path:
        began = time.monotonic()
        with pytest.raises(AgentUnavailable):
            SshAgent(path, 0.3, 0.3).held()
        assert time.monotonic() - began < 3


BAD_SIGNATURES = {
    "hangs": None,
    "another key's": signed(Ed25519PrivateKey.generate().sign(framed(MESSAGE))),
    "of something else": signed(KEY.sign(b"something else")),
    "of another kind": signed(KEY.sign(framed(MESSAGE)), b"ssh-rsa"),
    "short": signed(b"x"),
    "long": signed(bytes(100_000)),
    "zeros": signed(bytes(64)),
    "cut": string(b"\x0e" + struct.pack(">I", 99)),
    "huge": struct.pack(">I", 1 << 30),
    "refused": string(b"\x05"),
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
def test_a_bad_signature_is_refused_in_time(name: str) -> None:
    with scripted_agent(lambda _: BAD_SIGNATURES[name]) as path, pytest.raises(AgentUnavailable):
        SshAgent(path, 0.3, 0.3).sign(BLOB, MESSAGE)


def test_a_true_signature_is_taken() -> None:
    with scripted_agent(lambda _: signed(KEY.sign(framed(MESSAGE)))) as path:
        assert SshAgent(path, 5, 5).sign(BLOB, MESSAGE) == KEY.sign(framed(MESSAGE))


def test_what_is_listed_is_made_readable_and_other_kinds_are_left_out() -> None:
    comment = b"\x1b[31mred\n\xff" + b"x" * 500
    others = [string(b"ssh-rsa") + string(b"n"), b"", BLOB[:-1], BLOB + b"x"]
    listed = b"".join(string(blob) + string(comment) for blob in [*others, BLOB])
    with scripted_agent(lambda _: string(b"\x0c" + struct.pack(">I", 5) + listed)) as path:
        (found,) = SshAgent(path, 5, 5).held()
    assert found.blob == BLOB and len(found.comment) <= 80 and found.comment.isprintable()


async def test_an_agent_that_signs_differently_each_time_is_refused(opening: OpenStore, paths: StorePaths) -> None:
    count = 0

    def answer(request: bytes) -> bytes:
        nonlocal count
        if request[0] == 11:
            return ONE_KEY
        count += 1
        blob_end = 5 + len(BLOB)
        (length,) = struct.unpack(">I", request[blob_end : blob_end + 4])
        data = request[blob_end + 4 : blob_end + 4 + length]
        return signed(KEY.sign(data) if count == 1 else _other_signature(data))

    with scripted_agent(answer) as path:
        store = await opening(passphrase="p", policy=using(path))
        before = paths.keys.read_bytes()
        with pytest.raises(KeyUnavailable, match="differently"):
            await store.keys.add_ssh_agent()
    assert paths.keys.read_bytes() == before and count == 2


def _other_signature(message: bytes) -> bytes:
    """A valid signature with a random nonce, as a hedged implementation makes it: RFC 8032 with another `r`."""
    import hashlib

    prime, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    seed = hashlib.sha512(KEY.private_bytes_raw()).digest()
    scalar = int.from_bytes(seed[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    nonce_key = Ed25519PrivateKey.from_private_bytes(os.urandom(32))
    half = hashlib.sha512(nonce_key.private_bytes_raw()).digest()[:32]
    nonce = int.from_bytes(half, "little") & ((1 << 254) - 8) | (1 << 254)
    point, public = nonce_key.public_key().public_bytes_raw(), KEY.public_key().public_bytes_raw()
    digest = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little")
    assert prime > order
    return point + ((nonce + digest * scalar) % order).to_bytes(32, "little")


async def test_an_agent_that_hangs_at_unlock_costs_its_deadline_only(opening: OpenStore) -> None:
    def answer(request: bytes) -> bytes:
        if request[0] == 11:
            return ONE_KEY
        (length,) = struct.unpack(">I", request[5 + len(BLOB) : 9 + len(BLOB)])
        return signed(KEY.sign(request[9 + len(BLOB) : 9 + len(BLOB) + length]))

    with scripted_agent(answer) as path:
        store = await opening(passphrase="p", policy=using(path))
        await store.keys.add_ssh_agent("comment")
        await store.close()
        assert (await opening(policy=using(path))).unlocked_by == "ssh-agent"
    with scripted_agent(lambda _: None) as path:
        began = time.monotonic()
        with pytest.raises(NeedsPassphrase, match="did not answer"):
            await opening(policy=using(path, 0.3))
        assert time.monotonic() - began < 3


async def test_a_slot_that_was_tampered_with_asks_nobody_to_sign(opening: OpenStore, paths: StorePaths) -> None:
    import json

    def answer(request: bytes) -> bytes:
        if request[0] == 11:
            return ONE_KEY
        (length,) = struct.unpack(">I", request[5 + len(BLOB) : 9 + len(BLOB)])
        return signed(KEY.sign(request[9 + len(BLOB) : 9 + len(BLOB) + length]))

    with scripted_agent(answer) as path:
        store = await opening(passphrase="p", policy=using(path))
        await store.keys.add_ssh_agent()
        await store.close()
        document = json.loads(paths.keys.read_text())
        document["slots"][1]["p"]["salt"] = "AAAA"
        paths.keys.write_text(json.dumps(document))
        with pytest.raises((NeedsPassphrase, Locked), match="not one we wrote"):
            await opening(policy=using(path))
