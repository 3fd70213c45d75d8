"""Proving who we are. The only place outside the key store where a key is in clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias

from backend_client.errors import AuthenticationFailed

MASK = "•••"


class Secret:
    """A text that no print, log, pickle or debugger's repr shows; `reveal()` is the one way to it."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the text in clear."""
        return self.__value

    def redact(self, text: str) -> str:
        """Return `text` with every copy of the secret masked."""
        for form in _forms(self.__value):
            text = text.replace(form, MASK)
        return text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self.__value.strip())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        mine, theirs = (value.encode("utf-8", "surrogatepass") for value in (self.__value, other.__value))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        # The same for all: a hash of the text would tell something about it.
        return hash(Secret)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled")


@dataclass(frozen=True, slots=True)
class NoAuth:
    """The server asks for nothing."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key sent as `Authorization: Bearer …`."""

    key: Secret


class TokenSource(Protocol):
    """Has a token that is valid now, and may get another when it is not."""

    async def token(self) -> Secret | None:
        """Return the token to send, renewed if its time is nearly up; None when there is none and none is needed.

        Safe to cancel. Raises LoginNeeded when a person has to sign in, another BackendError when it cannot be told.
        """
        ...

    async def refused(self, token: Secret) -> bool:
        """Take note of a 401 for this very token; return whether there is another one to try, once.

        Raises LoginNeeded when renewing it does not help, another BackendError when it could not be renewed.
        """
        ...

    def seen_date(self, date: str) -> None:
        """Learn from a `Date` header how far the server's clock is from ours. Nonsense is ignored."""
        ...

    def redact(self, text: str) -> str:
        """Return `text` without any copy of a token handed out lately."""
        ...


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that changes, sent as `Authorization: Bearer …`."""

    source: TokenSource

    def __repr__(self) -> str:
        return f"Bearer({MASK})"


Auth: TypeAlias = NoAuth | ApiKey | Bearer


def headers(auth: NoAuth | ApiKey) -> dict[str, str]:
    """Return the request headers for `auth`.

    Space around a key is dropped: keys are often read from files that end in a newline.
    Raises ValueError, without the key in it, when the key is empty or cannot stand in a header.
    """
    return {} if isinstance(auth, NoAuth) else _bearer(auth.key)


async def proof(auth: Auth) -> tuple[dict[str, str], Secret | None]:
    """Return the request headers for `auth`, and the token in them if it is one that can be renewed.

    When the server answers 401, hand that token to `refused` of its source. Raises AuthenticationFailed for a key that
    cannot be sent, LoginNeeded when a person has to sign in, and another BackendError when no token could be had.
    """
    token = await auth.source.token() if isinstance(auth, Bearer) else None
    try:
        if not isinstance(auth, Bearer):
            return headers(auth), None
        return ({} if token is None else _bearer(token)), token
    except ValueError as error:
        reason = str(error)
    raise AuthenticationFailed(reason)


def redact(auth: Auth, text: str) -> str:
    """Return `text` without any copy of the key or token."""
    match auth:
        case NoAuth():
            return text
        case ApiKey(key):
            return key.redact(text)
        case Bearer(source):
            return source.redact(text)


def _forms(value: str) -> list[str]:
    """The secret as it is, and as it looks in a form, in JSON and on a web page; the longest first."""
    bare = value.strip()
    forms = {value, bare}
    if not bare.replace("-", "").replace("_", "").replace(".", "").isalnum():
        import json
        from html import escape
        from urllib.parse import quote, quote_plus

        written = json.dumps(bare)[1:-1]
        forms |= {quote(bare), quote(bare, safe=""), quote_plus(bare), escape(bare), escape(bare, quote=False)}
        forms |= {written, written.replace("/", "\\/")}
    return sorted(filter(None, forms), key=len, reverse=True)


def _bearer(secret: Secret) -> dict[str, str]:
    key = secret.reveal().strip()
    if not key:
        raise ValueError("the API key is empty")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(
            "the API key holds characters that no key has, such as a line break or a letter with an accent"
        )
    return {"authorization": f"Bearer {key}"}
