"""Drafts: what was typed and not sent is there again after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Store

NEW = "new"
"""The key of the draft that belongs to no session yet."""


class Drafts:
    """Unsent text and the prompts sent before, kept in the store; silent while there is no store."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._kept: dict[str, str] = {}
        """What the store did not take."""

    async def save(self, session_id: str | None, text: str) -> None:
        """Keeps the text, or forgets it when it is empty."""
        store, key = self._open(), session_id or NEW
        if store is None:
            return
        try:
            if text:
                await store.drafts.save(key, text)
            else:
                await store.drafts.clear(key)
        except StoreError:  # the next keystroke tries again, and the state says what is wrong
            self._kept[key] = text
        else:
            self._kept.pop(key, None)

    async def load(self, session_id: str | None) -> str:
        """The unsent text of a session, empty when there is none."""
        store, key = self._open(), session_id or NEW
        if store is None:
            return ""
        return self._kept[key] if key in self._kept else await store.drafts.load(key) or ""

    async def recent_prompts(self, limit: int = 200) -> list[str]:
        """What was asked before in any session, newest first."""
        store = self._open()
        return list(await store.messages.recent_prompts(limit)) if store else []

    def _open(self) -> Store | None:
        return self._vault.store
