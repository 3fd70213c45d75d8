"""What people agreed to: the words of every tool as they were when its server was first used, or let go on since.

A server that says something else of a tool later is not believed (a "rug pull"): that tool is withheld until somebody
has looked at the new words. Tokens of sign-ins lie beside, each for one address only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backend_client.address import origin

if TYPE_CHECKING:
    from sophia_core.mcp.server_file import Server
    from sophia_core.vault import Vault


class Known:
    """Keeps it in the encrypted store, by server."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def tools(self, server: Server) -> Mapping[str, str] | None:
        """The digests of the tools that were agreed to, by name; None for a server that was never used."""
        text = await (await self._vault.get()).secrets.get(f"mcp-tools:{_which(server)}")
        try:
            return {str(name): str(each) for name, each in json.loads(text).items()} if text else None
        except (ValueError, AttributeError):
            return {}  # what cannot be read agrees to nothing

    async def agree(self, server: Server, digests: Mapping[str, str]) -> None:
        """From now on these are what was agreed to."""
        await (await self._vault.get()).secrets.set(f"mcp-tools:{_which(server)}", json.dumps(dict(digests)))

    async def kept(self, server: Server, name: str) -> str | None:
        """A part of the sign-in there."""
        return await (await self._vault.get()).secrets.get(_sign_in(server, name))

    async def keep(self, server: Server, name: str, text: str) -> None:
        """Keeps a part of the sign-in there."""
        await (await self._vault.get()).secrets.set(_sign_in(server, name), text)

    async def drop(self, server: Server, *, whole: bool = True) -> None:
        """Forgets the sign-in there; what it has to be asked for next time only if `whole`."""
        secrets = (await self._vault.get()).secrets
        for name in ("tokens", "client", *(("scopes",) if whole else ())):
            await secrets.delete(_sign_in(server, name))


def _which(server: Server) -> str:
    """The server by its name and by what it is: another program under the same name was agreed to by nobody."""
    entry = server.entry
    what = json.dumps([entry.command, entry.args, entry.url])
    return f"{server.name}:{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _sign_in(server: Server, name: str) -> str:
    # Never sent to an address that they were not given for, whatever the file says by now.
    return f"mcp-{name}:{server.name}:{hashlib.sha256(origin(server.entry.url or '').encode()).hexdigest()[:16]}"
