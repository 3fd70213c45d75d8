"""What the tests of backups share: something said in every table, and the short ways to prove and restore."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from local_store import (
    Store,
    StorePaths,
)
from local_store.keys import Credentials
from local_store.restore import Restored, Verified, restore_backup, verify_backup

from .conftest import CHEAP

SAID = "the-quick-brown-needle"
NOTHING = Credentials(None, None, False)
Verify = Callable[..., Awaitable[Verified]]


async def talk(store: Store, title: str = SAID, questions: int = 3) -> list[str]:
    """Say something in every table there is; returns what was asked."""
    session = await store.sessions.create(title)
    asked = [f"{title} {number}" for number in range(questions)]
    for text in asked:
        turn = await store.turns.begin(session.id, None, text, request_id="r")
        await store.turns.journal(turn.answer.id, text="so far")
        await store.turns.finish(turn.answer.id, text=f"{SAID} answered", status="complete")
    await store.drafts.save("k", SAID)
    await store.secrets.set("key:openrouter", f"secret-{SAID}")
    await store.audit.append("test.talked", SAID)
    return asked


async def questions_in(store: Store) -> list[str]:
    sessions = await store.sessions.list()
    messages = [message for each in reversed(sessions) for message in await store.messages.all(each.id)]
    return [message.text for message in messages if message.role == "user"]


def verify(paths: StorePaths, file: Path, passphrase: str | None = None) -> Awaitable[Verified]:
    return verify_backup(file, paths, Credentials(passphrase, None, False), CHEAP)


def restore(
    paths: StorePaths, file: Path, passphrase: str | None = None, recovery_key: str | None = None
) -> Awaitable[Restored]:
    return restore_backup(file, paths, Credentials(passphrase, recovery_key, False), CHEAP)


def leftovers(*folders: Path) -> list[str]:
    return [
        path.name
        for folder in folders
        for path in folder.iterdir()
        if path.name.startswith((".snapshot", ".sophia-", ".store.restore"))
    ]
