"""Where the secrets of receivers are: in the environment, or in the encrypted store for one address only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from backend_client.auth import Secret
from local_store.errors import StoreError
from sophia_core.config_file import Problem
from sophia_core.shelves import content_of
from sophia_core.sign_ins import Keys

if TYPE_CHECKING:
    from sophia_core.alerts.tables import ReceiverTable
    from sophia_core.settings import ProviderSettings
    from sophia_core.vault import Vault

PREFIX: Final = "alert:"
"""So that a provider of the same name keeps a key of its own."""
Place = Literal["environment", "store", "missing", "not needed"]


class KeptSecrets:
    """Looks for them when they are needed, and keeps none."""

    def __init__(self, vault: Vault, env: Mapping[str, str]) -> None:
        self._keys, self._env = Keys(vault), env

    async def secret(self, table: ReceiverTable) -> Secret | None:
        """The key, webhook address or password of a receiver; None where there is none, or the store is locked."""
        if value := self._env.get(table.secret_env, "").strip() if table.secret_env else "":
            return Secret(value)
        try:
            return await self._keys.find(PREFIX + table.name, table.at)
        except StoreError:
            return None

    async def place(self, table: ReceiverTable) -> Place:
        """Where it is."""
        if table.kind == "email" and not table.user:
            return "not needed"
        if table.secret_env and self._env.get(table.secret_env, "").strip():
            return "environment"
        return "missing" if await self.secret(table) is None else "store"


def variables(path: Path) -> list[str]:
    """The variables of the environment that the file names as secrets; no program that is started gets to see them."""
    content = content_of(path, "list of alert rules")
    if isinstance(content, Problem):
        return []
    try:
        receivers = tomllib.loads(content.decode("utf-8", "replace")).get("receiver", [])
    except (ValueError, RecursionError):
        return []
    tables = receivers if isinstance(receivers, list) else []
    named = [each.get("secret_env") for each in tables if isinstance(each, dict)]
    return [each for each in named if isinstance(each, str)]


def accounts(receivers: Sequence[ReceiverTable]) -> list[ProviderSettings]:
    """The receivers as what a key can be kept for: `sophia login alert:NAME --with-token`."""
    from sophia_core.settings import ProviderSettings

    return [
        ProviderSettings(name=PREFIX + each.name, base_url=each.at, api_key_env=each.secret_env or None)
        for each in receivers
        if each.kind != "email" or each.user
    ]
