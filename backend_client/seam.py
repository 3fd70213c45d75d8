"""The seam to the network: all that the client needs of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from backend_client.types import Timeouts


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request."""

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeouts: Timeouts
    provider: str = ""
    """The name of the provider that is asked, where it is one."""

    def __repr__(self) -> str:
        # The headers hold the key.
        return f"Call({self.method} {self.url!r})"


class Reply(Protocol):
    """An answer whose body is still coming. Close it, whatever happens: that closes the socket."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, names in lower case; the values are untrusted."""
        ...

    @property
    def body(self) -> AsyncIterator[bytes]:
        """The bytes as they arrive, never held back. Raises Unreachable or TimedOut when they stop coming."""
        ...

    async def aclose(self) -> None:
        """Close the connection at once, or return it for reuse if the body was read to its end."""
        ...


class Transport(Protocol):
    """Sends requests."""

    async def open(self, call: Call) -> Reply:
        """Send `call` and return the answer once its headers are there.

        Raises Unreachable, TimedOut, NotOurProtocol or InvalidRequest.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
