"""Proving who we are. The only place outside the key store where a key is in clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, TypeAlias

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
        for form in (self.__value, self.__value.strip()):
            if form:
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


Auth: TypeAlias = NoAuth | ApiKey


def headers(auth: Auth) -> dict[str, str]:
    """Return the request headers for `auth`.

    Space around a key is dropped: keys are often read from files that end in a newline.
    Raises ValueError, without the key in it, when the key is empty or cannot stand in a header.
    """
    if isinstance(auth, NoAuth):
        return {}
    key = auth.key.reveal().strip()
    if not key:
        raise ValueError("the API key is empty")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(
            "the API key holds characters that no key has, such as a line break or a letter with an accent"
        )
    return {"authorization": f"Bearer {key}"}


def redact(auth: Auth, text: str) -> str:
    """Return `text` without any copy of the key."""
    return text if isinstance(auth, NoAuth) else auth.key.redact(text)
