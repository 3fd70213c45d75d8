"""How the SDK signs in to a server over HTTP (OAuth 2.1 with PKCE): what it keeps and whom it asks is the parent's.

Loaded in the process that speaks to the server, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

if TYPE_CHECKING:
    from pydantic import BaseModel

    Ask = Callable[..., Awaitable[dict[str, Any]]]

Kept = TypeVar("Kept", bound="BaseModel")


class SignInNeeded(Exception):
    """Nobody signed in there yet, and only a person can."""


class KeptByParent:
    """Tokens, and who we are to the server, as the parent keeps them."""

    def __init__(self, ask: Ask, client_id: str, redirect: str) -> None:
        self._ask, self._client_id, self._redirect = ask, client_id, redirect

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens of before."""
        return await self._get("tokens", OAuthToken)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keeps them."""
        await self._ask("keep", name="tokens", text=tokens.model_dump_json(exclude_none=True))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Who we are there: as configured, or as registered before."""
        if self._client_id:
            redirects: Any = [self._redirect]
            return OAuthClientInformationFull(client_id=self._client_id, redirect_uris=redirects)
        return await self._get("client", OAuthClientInformationFull)

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keeps it."""
        await self._ask("keep", name="client", text=client_info.model_dump_json(exclude_none=True))

    async def _get(self, name: str, kind: type[Kept]) -> Kept | None:
        text = (await self._ask("kept", name=name)).get("text")
        try:
            return kind.model_validate_json(text) if text else None
        except ValueError:
            return None


def provider(url: str, wanted: dict[str, Any], ask: Ask) -> OAuthClientProvider:
    """What signs in there, renews, and asks a person only where `wanted` has a `redirect` to come back to."""
    redirect = wanted.get("redirect") or ""

    async def show(address: str) -> None:
        if not redirect:
            raise SignInNeeded("nobody signed in there yet")
        await ask("open", address=address)

    async def come_back() -> AuthorizationCodeResult:
        found = await ask("code")
        return AuthorizationCodeResult(code=found.get("code", ""), state=found.get("state"), iss=found.get("iss"))

    redirects: Any = [redirect or "http://127.0.0.1/callback"]
    about = OAuthClientMetadata(
        client_name="SOPHIA",
        redirect_uris=redirects,
        scope=" ".join(wanted.get("scopes", ())) or None,
        token_endpoint_auth_method="none",  # noqa: S106 - the word for having no secret
    )
    storage = KeptByParent(ask, wanted.get("client_id", ""), redirect)
    return OAuthClientProvider(url, about, storage, show, come_back)
