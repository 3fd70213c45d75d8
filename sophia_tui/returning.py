"""After a hang-up: the next start goes on in the conversation that was being looked at, with what was half typed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

PLACE: Final = "place"


async def keep_place(app: SophiaApp) -> None:
    """The line was cut: notes where the person was."""
    store, session = app.runtime.vault.store, app.runtime.current.session_id
    with suppress(StoreError):
        if store is not None and session is not None:
            await store.recent.used(PLACE, [session])


async def come_back(app: SophiaApp) -> None:
    """Opens what the line was cut from, once."""
    store = app.runtime.vault.store
    with suppress(StoreError):
        if store is not None and (places := await store.recent.get(PLACE)):
            await store.recent.used(PLACE, [])
            app.dispatcher.start("session.open", places[0])
