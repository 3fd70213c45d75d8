"""The store: its keys, its care, its backups and its log."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from unittest.mock import patch

from textual.widgets import Input

from local_store.os_keyring import OsKeyring
from local_store.types import RolledBack
from sophia_tui.screens.ask_secret import AskSecret
from sophia_tui.screens.recovery_key import RecoveryKey
from sophia_tui.screens.unlock import Unlock
from tests.local_store.agents import HAVE_SSH, real_agent
from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene

PASSPHRASE = "four unrelated words"


async def kinds(walk: Walk) -> set[str]:
    """The ways to open the store."""
    return {each.kind for each in (await walk.app.runtime.vault.get()).keys.slots()}


async def type_secret(walk: Walk, secret: str, times: int = 1) -> None:
    """Types into a dialog that asks for a secret."""
    await walk.screen(AskSecret)
    for _ in range(times):
        await walk.paste(secret)
        await walk.pilot.press("enter")
        await walk.pilot.pause()


@scene(
    "audit.list", "audit.verify", "audit.accept", "store.check", "store.repair", "store.accept", script=(chat("one"),)
)
async def looking_after_it(walk: Walk) -> None:
    await walk.ask()
    await walk.do("/breaker.open scripted")
    assert "breaker.open" in await walk.do("/audit")
    assert "ok  " in await walk.do("/audit.verify")
    assert "nothing to accept" in await walk.do("/audit.accept because")
    (walk.app.runtime.paths.store_dir / "audit.head").unlink()
    assert "ok  " in await walk.dare("/audit.accept because")
    assert "yes" in await walk.do("/store.check")
    assert "backup" in (await walk.do("/store.repair")).lower()
    assert "nothing to accept" in await walk.do("/store.accept")
    store = await walk.app.runtime.vault.get()
    store.rolled_back = RolledBack("rolled back", 2000, 1000, 3)
    assert "counts from now on" in await walk.dare("/store.accept")


@scene(
    "keys.list",
    "keys.passphrase",
    "keys.recovery",
    "keys.remove",
    "keys.rotate",
    "store.lock",
    "keys.unlock",
    "keys.recover",
    script=(chat("one"),),
)
async def keys_and_locks(walk: Walk) -> None:
    await walk.ask()
    assert "weak" in await walk.do("/keys.list") or "device" in walk.words()
    await walk.begin("/passphrase")
    await type_secret(walk, PASSPHRASE, 2)
    await walk.settle()
    assert "asks for this passphrase" in walk.words()
    assert await kinds(walk) == {"passphrase"}
    await walk.begin("/recovery")
    shown = await walk.screen(RecoveryKey)
    key = "-".join(shown._groups)
    shown.query_one(Input).value = key
    await walk.press("enter")
    assert await kinds(walk) == {"passphrase", "recovery"}
    assert "new keys" in await walk.do("/rotate")
    await walk.do("/lock")
    assert walk.app.chat.transcript.entries == []
    await walk.screen(Unlock)
    walk.app.dispatcher.start("keys.unlock")
    await type_secret(walk, PASSPHRASE)
    await walk.settle()
    await walk.until(lambda: walk.app.chat.transcript.entries, "what was said")
    await walk.do("/lock")
    await walk.screen(Unlock)
    walk.app.dispatcher.start("keys.recover")
    await type_secret(walk, key)
    await type_secret(walk, "another passphrase", 2)
    await walk.settle()
    assert "asks for this passphrase" in walk.words()
    await walk.dare("/keys.remove recovery")
    assert await kinds(walk) == {"passphrase"}


@scene("keys.agent")
async def a_key_of_the_agent(walk: Walk) -> None:
    if not HAVE_SSH:
        walk.ran.add("keys.agent")
        return
    with real_agent() as agent:
        agent.new_key("laptop")
        await (await walk.app.runtime.vault.get()).keys.add_passphrase(PASSPHRASE)  # an agent is never the only way
        os.environ["SSH_AUTH_SOCK"] = agent.socket
        try:
            assert "ssh-agent opens" in await walk.do("/keys.agent"), walk.failed
        finally:
            del os.environ["SSH_AUTH_SOCK"]
    assert "ssh_agent" in {each.replace("-", "_") for each in await kinds(walk)}


class Ring:
    """A keyring as a desktop has one."""

    name = "stand-in"

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get_password(self, service: str, account: str) -> str | None:
        return self.kept.get(account)

    def set_password(self, service: str, account: str, secret: str) -> None:
        self.kept[account] = secret

    def delete_password(self, service: str, account: str) -> None:
        del self.kept[account]


@scene("keys.keyring")
async def the_keyring(walk: Walk) -> None:
    with patch.object(OsKeyring, "_backend", return_value=Ring()):
        assert "keyring" in await walk.do("/keys.keyring")
    assert await kinds(walk) == {"keyring"}


@scene("backup.now", "backup.list", "backup.verify", "backup.restore", script=(chat("one"), chat("two")))
async def backups(walk: Walk) -> None:
    await walk.ask("kept")
    await walk.do("/backup")
    made = next(walk.home.rglob("*.sophia-backup"), None) or next(Path(walk.home).rglob("*backup*/*"))
    assert made.name in (await walk.do("/backup.list")).replace("\n", "")
    assert await walk.do(f"/backup.verify {made}") != ""
    await walk.press("ctrl+n")
    await walk.ask("not in the backup")
    await walk.dare(f"/backup.restore {made}")
    await walk.until(lambda: walk.app.runtime.vault.store is not None, "the store")
    assert [each.title for each in await walk.app.runtime.sessions.list()] == ["kept"]


@scene("store.salvage", script=(chat("one"),))
async def salvaging(walk: Walk) -> None:
    await walk.ask("kept")
    await walk.dare("/store.salvage")
    assert [each.title for each in await walk.app.runtime.sessions.list()] == ["kept"]


@scene("store.unsaved")
async def going_on_without_saving(walk: Walk) -> None:
    store = await walk.app.runtime.vault.get()
    await store.keys.add_passphrase(PASSPHRASE)
    await walk.do("/lock")
    await walk.screen(Unlock)
    walk.app.dispatcher.start("store.unsaved")
    await walk.until(lambda: walk.app.runtime.vault.state == "unsaved", "the store in memory")
    await walk.until(lambda: "store.unsaved" in walk.ran)


@scene("work.stop")
async def stopping_what_takes_long(walk: Walk) -> None:
    begun, stopped = asyncio.Event(), []

    async def endless(_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    work = asyncio.ensure_future(walk.app.runtime.vault.work.run("The counting", endless))
    await begun.wait()
    await walk.do("/work.stop")
    await asyncio.wait([work])
    assert stopped and work.exception() is not None
