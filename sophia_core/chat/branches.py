"""Branches: the versions of a message that editing and asking again make, and walking between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from local_store.errors import NotFound
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionChanged
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Message, Store


class Branches:
    """The commands that show another version of what was said."""

    def __init__(self, vault: Vault, bus: Bus, current: Current, busy: Callable[[], bool]) -> None:
        self._vault, self._bus, self._current, self._busy = vault, bus, current, busy

    @command("branch.next", keys=("alt+right",), slash="next")
    async def next_branch(self, message: str | None = None) -> None:
        """Show the next version of a message."""
        await self._step(message, 1)

    @command("branch.previous", keys=("alt+left",), slash="previous")
    async def previous_branch(self, message: str | None = None) -> None:
        """Show the version of a message before this one."""
        await self._step(message, -1)

    @command("branch.show")
    async def show(self, message: str) -> None:
        """Show the branch through a message."""
        if self._busy():
            raise CommandError("An answer is streaming.", "Stop it first, with Esc.")
        store = await self._vault.get()
        found = await find_message(store, message)
        if message not in [each.id for each in await store.messages.path(found.session_id)]:
            await store.messages.activate(message)
        self._current.session_id = found.session_id
        self._bus.publish(SessionChanged(found.session_id))

    async def _step(self, message: str | None, by: int) -> None:
        if self._busy():
            raise CommandError("An answer is streaming.", "Stop it first, with Esc.")
        store = await self._vault.get()
        session = self._current.session_id
        shown = await find_message(store, message) if message else await last_message(store, session, "assistant")
        siblings = await store.messages.siblings(shown.id)
        index = [sibling.id for sibling in siblings].index(shown.id) + by
        if not 0 <= index < len(siblings):
            raise CommandError("There is no other version in that direction.", "Ctrl+R makes a new answer.")
        await store.messages.activate(siblings[index].id)
        self._bus.publish(SessionChanged(shown.session_id))


async def find_message(store: Store, message: str) -> Message:
    """The message of this id. Raises CommandError."""
    try:
        return await store.messages.get(message)
    except NotFound as error:
        raise CommandError(f"There is no message {message!r}.", error.hint) from None


async def last_message(store: Store, session_id: str | None, role: str) -> Message:
    """The last message of a role in the shown branch of a session. Raises CommandError."""
    path = await store.messages.path(session_id) if session_id else []
    if found := next((message for message in reversed(path) if message.role == role), None):
        return found
    raise CommandError("There is nothing here yet.", "Ask something first.")
