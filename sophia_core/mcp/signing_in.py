"""How the SDK signs in to a server over HTTP (OAuth 2.1 with PKCE): what it keeps and whom it asks is the parent's.

Loaded in the process that speaks to the server, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

if TYPE_CHECKING:
    from pydantic import BaseModel

    Ask = Callable[..., Awaitable[dict[str, Any]]]

Kept = TypeVar("Kept", bound="BaseModel")
NOWHERE: Final = "http://127.0.0.1/callback"
"""Where nobody comes back to: nothing is opened without a landing."""


class SignInNeeded(Exception):
    """Nobody signed in there yet, and only a person can."""


class KeptByParent:
    """Tokens, and who we are to the server, as the parent keeps them."""

    def __init__(self, ask: Ask, client_id: str, secret: str, redirect: str) -> None:
        self._ask, self._client_id, self._secret, self._redirect = ask, client_id, secret, redirect

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens of before."""
        return await self._get("tokens", OAuthToken)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keeps them."""
        await self._ask("keep", name="tokens", text=tokens.model_dump_json(exclude_none=True))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Who we are there: as configured, or as registered before."""
        if self._client_id:
            redirects: Any = [self._redirect or NOWHERE]
            how: Any = "client_secret_basic" if self._secret else "none"
            return OAuthClientInformationFull(
                client_id=self._client_id,
                client_secret=self._secret or None,
                redirect_uris=redirects,
                token_endpoint_auth_method=how,
            )
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
    redirect, scopes, client_id = wanted.get("redirect") or "", wanted.get("scopes", ()), wanted.get("client_id", "")
    if wanted.get("alone"):
        return _alone(url, wanted, KeptByParent(ask, "", "", ""))

    async def show(address: str) -> None:
        answer = await ask("open", address=_asking_for(address, scopes)) if redirect else {"error": "no page"}
        if "error" in answer:  # nobody is signing in now: what is wanted is asked for when somebody does
            await ask("keep", name="scopes", text=" ".join(_scopes_of(address))[:2000])
            raise SignInNeeded("a person has to sign in")

    async def come_back() -> AuthorizationCodeResult:
        found = await ask("code")
        return AuthorizationCodeResult(code=found.get("code", ""), state=found.get("state"), iss=found.get("iss"))

    redirects: Any = [redirect or NOWHERE]
    about = OAuthClientMetadata(
        client_name="SOPHIA",
        redirect_uris=redirects,
        scope=" ".join(scopes) or None,
        token_endpoint_auth_method="none",  # noqa: S106 - the word for having no secret
    )
    described = client_id if client_id.startswith("https://") else ""
    storage = KeptByParent(ask, "" if described else client_id, wanted.get("secret", ""), redirect)
    return OAuthClientProvider(url, about, storage, show, come_back, described or None)


def _alone(url: str, wanted: dict[str, Any], storage: KeptByParent) -> OAuthClientProvider:
    """What signs in as a program that is known there."""
    from mcp.client.auth.extensions import client_credentials as grants

    who, scope = wanted["client_id"], " ".join(wanted.get("scopes", ())) or None
    if not wanted.get("key"):
        return grants.ClientCredentialsOAuthProvider(url, storage, who, wanted["secret"], scope=scope)
    signed = grants.SignedJWTParameters(
        issuer=who, subject=who, signing_key=wanted["key"], signing_algorithm=_algorithm(wanted["key"])
    )
    return grants.PrivateKeyJWTOAuthProvider(url, storage, who, signed.create_assertion_provider(), scope=scope)


def _algorithm(key: str) -> str:
    """How this kind of key signs. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = load_pem_private_key(key.encode(), None)
    return (
        {"secp256r1": "ES256", "secp384r1": "ES384"}[found.curve.name]
        if isinstance(found, EllipticCurvePrivateKey)
        else "RS256"
    )


def _scopes_of(address: str) -> list[str]:
    return parse_qs(urlsplit(address).query).get("scope", [""])[0].split()


def _asking_for(address: str, scopes: list[str]) -> str:
    """The page of a sign-in, which asks for these as well: the SDK takes the server's word for what is needed."""
    more = [each for each in scopes if each not in _scopes_of(address)]
    if not more:
        return address
    parts = urlsplit(address)
    fields = {name: each[-1] for name, each in parse_qs(parts.query).items()}
    fields["scope"] = " ".join(dict.fromkeys((*_scopes_of(address), *more)))
    return parts._replace(query=urlencode(fields)).geturl()
