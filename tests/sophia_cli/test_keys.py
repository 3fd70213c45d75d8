"""`sophia keys` as a shell runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_cli.exits import Quit
from sophia_cli.keys import _public_line
from sophia_cli.parser import parse
from tests.local_store.agents import needs_ssh, real_agent
from tests.sophia_cli.harness import Program


async def made(sophia: Program, tmp_path: Path, passphrase: str = "") -> str:
    key_file = tmp_path / "recovery.txt"
    assert (
        await sophia.run("init", "--yes", "--recovery-key-file", str(key_file), SOPHIA_PASSPHRASE=passphrase)
    ).code == 0
    return str(key_file)


async def test_slots_are_listed_removed_and_the_keys_exchanged(sophia: Program, tmp_path: Path) -> None:
    await made(sophia, tmp_path)
    listed = (await sophia.run("keys", "--json")).json
    assert {slot["kind"] for slot in listed} == {"device", "recovery"}
    assert (await sophia.run("keys", "list", "--json")).json == listed
    (device,) = [slot["id"] for slot in listed if slot["kind"] == "device"]
    shown = await sophia.run("keys")
    assert device in shown.out and "weak" in shown.err

    rotated = await sophia.run("keys", "rotate")
    assert (rotated.code, rotated.out) == (0, "") and "new keys" in rotated.err
    assert (await sophia.run("keys", "--json")).json == listed

    asked = await sophia.run("keys", "remove", device)
    assert asked.code == 2 and "--yes" in asked.err
    refused = await sophia.run("keys", "remove", "recovery", "--yes")
    assert refused.code == 1 and "nothing strong" in refused.err
    removed = await sophia.run("keys", "remove", device, "--yes")
    assert removed.code == 0 and "Removed: device" in removed.err and "keys rotate" in removed.err
    assert (await sophia.run("keys")).code == 3
    assert (await sophia.run("keys", "remove", "nonsense", "--yes")).code == 3


async def test_without_a_person_nothing_that_must_be_typed_is_made(sophia: Program, tmp_path: Path) -> None:
    key_file = await made(sophia, tmp_path, "p")
    for words in (("add", "passphrase"), ("passphrase",), ("recovery",)):
        end = await sophia.run("keys", *words, SOPHIA_PASSPHRASE="p")
        assert end.code == 1, words
    assert (await sophia.run("keys", "recover")).code == 3
    end = await sophia.run("keys", "recover", "--recovery-key-file", key_file)
    assert end.code == 1 and "No passphrase was given" in end.err
    assert (await sophia.run("keys", "recover", "--recovery-key-file", str(tmp_path / "none"))).code == 2
    end = await sophia.run("keys", "recover", SOPHIA_PASSPHRASE="p")
    assert end.code == 1 and "nothing to recover" in end.err
    end = await sophia.run("keys", "add", "keyring", SOPHIA_PASSPHRASE="p", DBUS_SESSION_BUS_ADDRESS="")
    assert end.code == 1 and "keyring" in end.err
    end = await sophia.run("keys", "add", "ssh-agent", SOPHIA_PASSPHRASE="p")
    assert end.code == 1 and "SSH_AUTH_SOCK" in end.err
    assert (await sophia.run("keys", "--json")).code == 3


@needs_ssh
async def test_an_agent_opens_the_store_from_then_on(sophia: Program, tmp_path: Path) -> None:
    await made(sophia, tmp_path, "p")
    with real_agent() as agent:
        agent.new_key("work")
        public = str(agent.folder / "work.pub")
        sock = agent.socket
        wrong = await sophia.run(
            "keys", "add", "ssh-agent", public.removesuffix(".pub"), SOPHIA_PASSPHRASE="p", SSH_AUTH_SOCK=sock
        )
        assert wrong.code == 2 and ".pub" in wrong.err
        added = await sophia.run("keys", "add", "ssh-agent", public, SOPHIA_PASSPHRASE="p", SSH_AUTH_SOCK=sock)
        assert added.code == 0 and "work SHA256:" in added.err
        assert {slot["kind"] for slot in (await sophia.run("keys", "--json", SSH_AUTH_SOCK=sock)).json} == {
            "passphrase",
            "recovery",
            "ssh-agent",
        }
        assert (await sophia.run("keys", "rotate", SSH_AUTH_SOCK=sock)).code == 0
        assert (await sophia.run("keys", SSH_AUTH_SOCK=sock)).code == 0
    assert (await sophia.run("keys", SSH_AUTH_SOCK=sock)).code == 3


def test_a_key_is_named_by_its_file_or_by_itself(tmp_path: Path) -> None:
    line = "ssh-ed25519 AAAA someone"
    public, private, empty = tmp_path / "id.pub", tmp_path / "id", tmp_path / "empty"
    public.write_text(f"{line}\nmore\n")
    private.write_text("-----BEGIN OPENSSH " + "PRIVATE KEY-----\nsecret\n")
    empty.write_text("")
    assert _public_line(str(public)) == line
    for itself in ("", line, "SHA256:abc", str(tmp_path), "x\0y", "y" * 5000):
        assert _public_line(itself) == itself
    for wrong in (private, empty):
        with pytest.raises(Quit):
            _public_line(str(wrong))


def test_the_words_of_keys() -> None:
    assert parse("keys", [])[1].action == "list"
    assert parse("keys", ["--json", "list"])[1].json
    added = parse("keys", ["add", "ssh-agent", "k"])[1]
    assert (added.action, added.kind, added.key) == ("add", "ssh-agent", "k")
    assert parse("keys", ["remove", "x", "--yes"])[1].yes
    for wrong in (["add"], ["add", "device"], ["remove"], ["steal"]):
        with pytest.raises(Quit):
            parse("keys", wrong)
