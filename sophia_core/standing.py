"""What a person must know of a store that opened: that it was put back to an earlier state, or can only be read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError
from sophia_core.events import Bus, Notice
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store import RolledBack, Store

LOOKED_AT: Final = 200
"""How many of the newest audit entries may already tell of it."""
KIND: Final = "store.rolled_back"


class Standing:
    """Tells what is wrong with an open store, and whether that has ended."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def tell(self, store: Store) -> None:
        """Says what is not as it should be; an earlier state goes into the audit log too, once."""
        store.sides.on_renewed = self._made_anew
        found = store.rolled_back
        if found is None:
            return
        self._bus.publish(Notice("error", f"{found.detail[:1].upper()}{found.detail[1:]}.", found.hint))
        try:
            await self._note(store, found)
        except StoreError:
            return  # the next opening tries again: what was put back stays so until somebody accepts it

    def _made_anew(self, name: str, reason: str) -> None:
        text = f"The {name} file could not be read and was begun anew ({one_line(reason, 200)})."
        self._bus.publish(Notice("warning", text, f"No conversation is affected; the old one is {name}.db.damaged."))

    async def _note(self, store: Store, found: RolledBack) -> None:
        entries = await store.audit.entries(LOOKED_AT)
        if not any(each.kind == KIND and each.detail.get("found") == found.detail for each in entries):
            await store.audit.append(KIND, found.kind, {"found": found.detail})

    async def until_writable(self, store: Store, seconds: float) -> None:
        """Looks every so many seconds whether a store that is only read can be written."""
        while True:
            with contextlib.suppress(StoreError):
                if await store.retry_writing():
                    return
            await asyncio.sleep(seconds)
