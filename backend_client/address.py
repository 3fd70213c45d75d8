"""What a base URL says and where its paths are. Pure."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from backend_client.auth import NoAuth
from backend_client.errors import InvalidRequest
from backend_client.types import Endpoint

_EXAMPLE = "Write it like http://127.0.0.1:8000/v1 or https://openrouter.ai/api/v1."


def path_under(base_url: str, path: str) -> str:
    """Return the address of `path` (like `/models`) under a base URL as a person wrote it.

    Raises InvalidRequest when it is no http(s) address, or holds a password, a query or a fragment.
    """
    _checked(base_url)
    return base_url.strip().rstrip("/") + path


def health_url(base_url: str) -> str:
    """Return where servers tell their health: beside `/v1`, not under it."""
    return path_under(base_url, "").removesuffix("/v1").rstrip("/") + "/health"


def origin(url: str) -> str:
    """Return scheme, host and port of `url`: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_loopback(url: str) -> bool:
    """Return whether `url` names this very machine."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress

    with suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False


def insecure_transport(endpoint: Endpoint) -> bool:
    """Return whether a key would travel unencrypted over a network: allowed, but worth a warning."""
    plain = urlsplit(endpoint.base_url.strip()).scheme == "http"
    return plain and not isinstance(endpoint.auth, NoAuth) and not is_loopback(endpoint.base_url.strip())


def _checked(base_url: str) -> SplitResult:
    base_url = base_url.strip()
    try:
        parts = urlsplit(base_url)
        # Reading the port is what checks it.
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise InvalidRequest("the base URL is not an address", hint=_EXAMPLE) from None
    if parts.scheme not in ("http", "https"):
        raise InvalidRequest("the base URL does not begin with http:// or https://", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise InvalidRequest("the base URL holds a user name or password", hint="Set it as the provider's API key.")
    if not sound or not base_url.isprintable() or any(char in base_url for char in " \\?#"):
        raise InvalidRequest("the base URL is not a plain address", hint=_EXAMPLE)
    return parts
