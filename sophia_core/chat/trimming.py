"""Leaving the older part of a conversation out of what a model is sent; it stays in the session, and can come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionChanged
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Message, Store

KEPT_QUESTIONS = 3
"""How many of the last questions are still sent when nobody says from which message on."""
_LIST = "sent from/"


class Trimming:
    """The commands that set and lift the mark from which on a conversation is sent."""

    def __init__(self, vault: Vault, bus: Bus, current: Current) -> None:
        self._vault, self._bus, self._current = vault, bus, current

    def _has_one(self) -> str | None:
        return None if self._current.session_id else "no session is open"

    @command("chat.trim", slash="trim", enabled=_has_one)
    async def trim(self, questions: int = KEPT_QUESTIONS, *, message: str | None = None) -> str:
        """Send only the last questions and answers from now on, or those from a message on; /untrim takes it back."""
        store, session_id = await self._vault.get(), self._current.session_id or ""
        path = await store.messages.path(session_id)
        if message is None:
            asked = [each.id for each in path if each.role == "user"]
            if questions < 1 or len(asked) <= questions:
                raise CommandError(f"There are only {len(asked)} questions here.", "Fewer can be kept: /trim 1.")
            message = asked[-questions]
        if message not in [each.id for each in path]:
            raise CommandError(f"There is no message {message!r} in this conversation.")
        left = [each.id for each in path].index(message)
        if not left:
            return await self.untrim()
        await store.recent.used(_LIST + session_id, [message])
        self._bus.publish(SessionChanged(session_id))
        return f"The {left} older messages are not sent any more; /untrim brings them back."

    @command("chat.untrim", slash="untrim", enabled=_has_one)
    async def untrim(self) -> str:
        """Send the whole conversation again."""
        store, session_id = await self._vault.get(), self._current.session_id or ""
        if await sent_from(store, session_id) is None:
            raise CommandError("Nothing is left out of this conversation.", "/trim leaves its older part out.")
        await store.recent.used(_LIST + session_id, [""])
        self._bus.publish(SessionChanged(session_id))
        return "The whole conversation is sent again."

    async def first(self, session_id: str | None) -> str | None:
        """The first message of a session that is sent; None: all are, or nothing can be read."""
        store = self._vault.store
        return await sent_from(store, session_id) if store is not None and session_id else None


async def sent_from(store: Store, session_id: str) -> str | None:
    """The first message that is sent; None: all are."""
    marks = await store.recent.get(_LIST + session_id)
    return (marks[0] or None) if marks else None


async def kept(store: Store, session_id: str | None, path: Sequence[Message]) -> list[Message]:
    """What of a branch is sent: everything, where its mark is not in it."""
    mark = await sent_from(store, session_id) if session_id else None
    start = next((number for number, each in enumerate(path) if each.id == mark), 0)
    return list(path[start:])
