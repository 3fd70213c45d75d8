"""`sophia backup` and `sophia restore`, as a shell runs them."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any, cast

import pytest

from local_store import StorePaths
from sophia_core.backups import BackupRow, Backups
from sophia_core.commands import CommandError, NeedsConfirmation, Registry
from sophia_core.events import Bus, Event, SessionChanged, SessionsChanged
from sophia_core.state import Current
from sophia_core.vault import Vault
from tests.contract_server import TEXT
from tests.sophia_cli.harness import Program, ended


async def asked(sophia: Program, *questions: str, passphrase: str = "") -> None:
    for question in questions:
        assert (await sophia.run("ask", question, SOPHIA_PASSPHRASE=passphrase)).code == 0


async def titles(sophia: Program, passphrase: str = "") -> list[Any]:
    return [each["title"] for each in (await sophia.run("sessions", "--json", SOPHIA_PASSPHRASE=passphrase)).json]


async def test_what_was_said_comes_back(sophia: Program) -> None:
    await asked(sophia, "first")
    made = await sophia.run("backup")
    assert made.code == 0
    assert made.out.startswith("Backed up 1 session with 2 messages: ")
    assert "only with the key file of this device" in made.err
    path = Path(made.out.split(": ")[1].strip())
    assert path.parent == sophia.home / "backups" and path.stat().st_mode & 0o777 == 0o600
    await asked(sophia, "second")

    (listed,) = (await sophia.run("backup", "list", "--json")).json
    assert (listed["path"], listed["sessions"], listed["problem"]) == (str(path), 1, "")
    assert "1         2" in (await sophia.run("backup", "list")).out
    verified = await sophia.run("backup", "verify", str(path))
    assert (verified.code, verified.out[:6]) == (0, "Sound:")

    refused = await sophia.run("restore", str(path))
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert await titles(sophia) == ["second", "first"]
    back = await sophia.run("restore", str(path), "--yes", "--json")
    assert (back.code, back.err) == (0, "")
    assert await titles(sophia) == ["first"]
    assert Path(back.json["aside"]).is_dir()
    kinds = [entry["kind"] for entry in await audited(sophia)]
    assert "backup.restored" in kinds


async def audited(sophia: Program) -> list[Any]:
    from local_store import open_store

    paths = StorePaths(sophia.home / "store", sophia.home / "device")
    async with await open_store(paths, allow_keyring=False) as store:
        return [{"kind": entry.kind} for entry in await store.audit.entries()]


async def test_a_lost_home_comes_back_elsewhere(sophia: Program, tmp_path: Path) -> None:
    key = "correct horse"
    await sophia.run("init", "--yes", SOPHIA_PASSPHRASE=key)
    await asked(sophia, "a walrus question", passphrase=key)
    file = tmp_path / "usb" / "sophia.backup"
    file.parent.mkdir()
    made = (await sophia.run("backup", "--to", str(file), "--json", SOPHIA_PASSPHRASE=key)).json
    assert (made["path"], made["portable"], made["opens_with"]) == (str(file), True, ["passphrase"])
    assert (await sophia.run("backup", "--to", str(file), SOPHIA_PASSPHRASE=key)).code == 3

    locked = await sophia.run("backup", "verify", str(file))
    assert (locked.code, "SOPHIA_PASSPHRASE" in locked.err) == (3, True)
    wrong = await sophia.run("backup", "verify", str(file), SOPHIA_PASSPHRASE="wrong")
    assert wrong.code == 3
    new = tmp_path / "new"
    back = await sophia.run("restore", str(file), "--to", str(new), SOPHIA_PASSPHRASE=key)
    assert back.code == 0
    assert "Restored 1 session with 2 messages" in back.out
    there = Program(new, sophia.variables)
    assert await titles(there, key) == ["a walrus question"]
    shown = await there.run("sessions", "search", "walrus", "--json", SOPHIA_PASSPHRASE=key)
    assert len(shown.json) == 1
    assert TEXT not in file.read_bytes().decode("latin-1")


async def test_what_is_no_backup_changes_nothing(sophia: Program, tmp_path: Path) -> None:
    await asked(sophia, "first")
    junk = tmp_path / "junk.sophia-backup"
    junk.write_bytes(b"x" * 30_000)
    for words in (("backup", "verify"), ("restore", "--yes")):
        end = await sophia.run(*words, str(junk))
        assert (end.code, "not a sound backup" in end.err) == (3, True), end
    assert (await sophia.run("backup", "list", str(tmp_path))).err.count("not a sound backup") == 1
    assert (await sophia.run("backup", "verify", str(tmp_path / "missing"))).code == 3
    assert await titles(sophia) == ["first"]
    assert sorted(path.name for path in sophia.home.iterdir() if path.name.startswith((".", "store"))) == ["store"]


async def test_old_backups_go_when_asked_to(sophia: Program) -> None:
    await asked(sophia, "first")
    for _ in range(3):
        assert (await sophia.run("backup")).code == 0
    end = await sophia.run("backup", "--keep", "1")
    assert "Deleted 3 older backups." in end.out + end.err
    assert len((await sophia.run("backup", "list", "--json")).json) == 1
    assert (await sophia.run("backup", "--keep", "0")).code == 2


async def test_an_open_store_is_not_exchanged(sophia: Program) -> None:
    await asked(sophia, "first")
    made = (await sophia.run("backup", "--json")).json
    process = await sophia.start("ask", "stall_mid")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await process.stdout.read(1)
    end = await sophia.run("restore", made["path"], "--yes")
    assert (end.code, "open in another place" in end.err) == (3, True)
    process.send_signal(signal.SIGINT)
    await ended(process)
    assert len(await titles(sophia)) == 2


async def test_without_a_store_there_is_nothing_to_back_up(sophia: Program) -> None:
    end = await sophia.run("backup")
    assert end.code == 3
    assert not (sophia.home / "store").exists()
    assert (await sophia.run("backup", "list", "--json")).json == []


@pytest.mark.parametrize("words", [("backup", "--help"), ("backup", "verify", "--help"), ("restore", "--help")])
async def test_help_is_there(sophia: Program, words: tuple[str, ...]) -> None:
    assert (await sophia.run(*words)).code == 0


async def at_work(home: Path, busy: list[bool]) -> tuple[Vault, Registry, list[Event]]:
    """An open store with the commands about backups, and what the bus says."""
    bus, current, heard = Bus(), Current(), list[Event]()
    paths = StorePaths(home / "store", home / "device")
    vault = Vault(paths, bus, allow_keyring=False)
    await vault.open()
    bus.subscribe(heard.append)
    registry = Registry()
    registry.collect(Backups(vault, bus, current, paths, allow_keyring=False, busy=lambda: bool(busy)))
    return vault, registry, heard


async def test_the_commands_work_in_an_open_app(tmp_path: Path) -> None:
    busy: list[bool] = []
    vault, registry, heard = await at_work(tmp_path, busy)
    await (await vault.get()).sessions.create("before")
    said = str(await registry.run("backup.now"))
    file = said.splitlines()[0].split(": ")[1]
    assert "weak" in said
    await (await vault.get()).sessions.create("after")
    (row,) = cast(list[BackupRow], await registry.run("backup.list"))
    assert (row.path, row.sessions) == (file, 1)
    assert str(await registry.run("backup.verify", file)).startswith("Sound: 1 session")
    with pytest.raises(NeedsConfirmation):
        await registry.run("backup.restore", file)
    busy.append(True)
    with pytest.raises(CommandError, match="arriving"):
        await registry.run("backup.restore", file, confirmed=True)
    busy.clear()
    said = str(await registry.run("backup.restore", file, confirmed=True))
    assert "Restored 1 session" in said and "before-restore" in said
    store = await vault.get()
    assert [session.title for session in await store.sessions.list()] == ["before"]
    assert [entry.kind for entry in await store.audit.entries()][:1] == ["backup.restored"]
    assert {SessionChanged(None), SessionsChanged()} <= set(heard)
    await vault.close()


async def test_a_restore_that_fails_opens_the_store_again(tmp_path: Path) -> None:
    vault, registry, _ = await at_work(tmp_path, [])
    await (await vault.get()).sessions.create("mine")
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(20_000))
    with pytest.raises(CommandError, match="not a sound backup"):
        await registry.run("backup.restore", str(junk), confirmed=True)
    assert [session.title for session in await (await vault.get()).sessions.list()] == ["mine"]
    await vault.close()


class Typing:
    """A person who types these, one after the other."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        return self.words.pop(0) if self.words else None

    async def show_recovery_key(self, key: str) -> str | None:
        return key


async def test_a_person_is_asked_for_what_opens_a_backup(tmp_path: Path) -> None:
    vault, registry, _ = await at_work(tmp_path, [])
    store = await vault.get()
    shown = store.keys.new_recovery_key()
    await store.keys.confirm_recovery_key(shown)
    await store.sessions.create("mine")
    file = tmp_path / "file"
    await registry.run("backup.now", str(file))
    await vault.close()
    there, again, _ = await at_work(tmp_path / "there", [])
    there.asker = Typing("wrong")
    with pytest.raises(CommandError):
        await again.run("backup.restore", str(file), confirmed=True)
    assert there.store is not None
    there.asker = Typing("wrong", shown)
    await again.run("backup.restore", str(file), confirmed=True)
    assert there.state == "open"
    assert [session.title for session in await (await there.get()).sessions.list()] == ["mine"]
    await there.close()
