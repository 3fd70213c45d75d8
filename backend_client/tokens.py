"""Access tokens that are kept, renewed in time and shared.

`OAuthTokens` renews a token when 80 % of its life is over, or once when a server refuses it. However many requests
wait, in this process or in others, one of them renews and the others use what it got: a refresh token works only once.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from backend_client.auth import Secret
from backend_client.errors import BackendError, LoginNeeded, TimedOut
from backend_client.exchange import within
from backend_client.happenings import TokenRenewed

RENEW_AT: Final = 0.8
"""The part of a token's life after which it is renewed."""
RENEW_S: Final = 15.0
"""How long renewing may take when the old token is no use any more."""
EARLY_RENEW_S: Final = 5.0
"""The same while the old token still works: nobody has to wait long for a new one."""
REST_S: Final = 30.0
"""The least time between two early renewals, whatever came of the first, and however a server's `Date` lies."""
FRESH_S: Final = 60.0
"""A token that is refused so soon after it was issued: another one would not help."""
CLOSE_S: Final = 5.0
"""How long the end of the program waits for a token that is being renewed."""
SKEW_LEAST_S, SKEW_MOST_S = 5.0, 7 * 86400.0
"""A difference between two clocks that is worth heeding, and one that can be meant seriously."""
TOKEN_MAX: Final = 16 << 10
_MASKED: Final = 64
"""Tokens of late that are masked in texts: an answer may be read for half an hour, and outlive many."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in gave. Times are seconds since the epoch by the clock of the server that issued them."""

    access: Secret
    refresh: Secret | None
    issued_at: float
    expires_at: float | None
    """None when the server does not say."""
    skew: float = 0.0
    """How far that clock was ahead of ours."""
    issuer: str = ""
    client_id: str = ""
    scopes: tuple[str, ...] = ()
    who: str = ""
    """The person's name as the server has it; untrusted text."""
    roles: tuple[str, ...] = ()
    how: str = ""
    """device, browser or paste."""

    @property
    def life(self) -> float | None:
        """How long the token lives from its issue, in seconds."""
        return None if self.expires_at is None else max(1.0, self.expires_at - self.issued_at)

    def due(self, now: float) -> bool:
        """Whether it is time to renew the token."""
        # A token from the future means that a clock was set back: its age is not known.
        return self.life is not None and not -FRESH_S <= now - self.issued_at < self.life * RENEW_AT

    def over(self, now: float) -> bool:
        """Whether the token has expired."""
        return self.expires_at is not None and now >= self.expires_at

    def to_text(self) -> str:
        """The tokens in clear, as text for an encrypted store."""
        fields = {name: getattr(self, name) for name in _PLAIN}
        refresh = None if self.refresh is None else self.refresh.reveal()
        return json.dumps({"access": self.access.reveal(), "refresh": refresh, **fields})

    @classmethod
    def from_text(cls, text: str) -> Tokens:
        """Return what `to_text` wrote. Raises ValueError, with nothing of it in the message, when it is not that."""
        try:
            kept: dict[str, Any] = json.loads(text)
            fields: dict[str, Any] = {name: kept[name] for name in _PLAIN}
            fields |= {name: tuple(map(str, fields[name])) for name in ("scopes", "roles")}
            refresh = kept["refresh"]
            return cls(Secret(kept["access"]), None if refresh is None else Secret(refresh), **fields)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ValueError("the kept sign-in cannot be read")


_PLAIN = ("issued_at", "expires_at", "skew", "issuer", "client_id", "scopes", "who", "roles", "how")


class TokenStore(Protocol):
    """Keeps the tokens of each provider, for all processes of one person."""

    async def load(self, provider: str) -> Tokens | None:
        """Return the tokens as they are kept now. Raises LoginNeeded when the store cannot be read."""
        ...

    async def save(self, provider: str, tokens: Tokens) -> None:
        """Keep these in place of the earlier ones. A disk that cannot take them now is tried again, not raised."""
        ...

    async def drop(self, provider: str) -> None:
        """Forget the tokens."""
        ...

    def lock(self, provider: str) -> AbstractAsyncContextManager[None]:
        """Keep all others from changing the tokens meanwhile. Raises TimedOut when somebody else holds on to them."""
        ...


Renew: TypeAlias = Callable[[Tokens], Awaitable[Tokens]]
"""Asks the server for new tokens; the refresh token of the old ones may be spent by it.

Raises LoginNeeded when the server says that it is no longer good, another BackendError when it cannot be asked.
"""


class OAuthTokens:
    """The tokens of one provider's sign-in; a `TokenSource`. Close it, so that none is lost while it is renewed."""

    def __init__(
        self,
        provider: str,
        store: TokenStore,
        renew: Renew,
        *,
        issuer: str = "",
        client_id: str = "",
        hook: Callable[[TokenRenewed], None] | None = None,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._store = store
        self._ask = renew
        self._account = (issuer, client_id)
        self._hook = hook
        self._clock = clock
        self._uptime = uptime
        self._tokens: Tokens | None = None
        self._skew: float | None = None
        self._renewing: asyncio.Task[Tokens] | None = None
        self._renewed_at = self._failed_at = float("-inf")
        self._renewed: Secret | None = None
        self._known: deque[Secret] = deque(maxlen=_MASKED)

    async def token(self) -> Secret:
        """Return an access token that is valid now. Raises LoginNeeded, or why a new one could not be had."""
        tokens = await self._current()
        if not tokens.due(self._now) or self._resting(tokens):
            return tokens.access
        if tokens.refresh is None:
            if tokens.over(self._now):
                raise self._login_needed("the sign-in has expired")
            return tokens.access
        try:
            return (await self._new(tokens)).access
        except LoginNeeded:
            raise
        except BackendError:
            if tokens.over(self._now):
                raise
            return tokens.access

    async def refused(self, token: Secret) -> bool:
        """Renew `token`, which a server has just refused, and return True. Raises LoginNeeded when that is no help."""
        tokens = await self._current()
        if tokens.access != token:
            return True
        if token == self._renewed and self._uptime() - self._renewed_at < FRESH_S:
            raise self._login_needed("the server refuses a token that was issued just now")
        if tokens.refresh is None:
            raise self._login_needed("the server does not accept the sign-in any more")
        await self._new(tokens)
        return True

    def seen_date(self, date: str) -> None:
        """Learn from a `Date` header how far the server's clock is from ours."""
        if (skew := skew_from(date, self._clock())) is not None:
            self._skew = skew

    def redact(self, text: str) -> str:
        """Return `text` with the tokens of late masked."""
        for secret in self._known:
            text = secret.redact(text)
        return text

    def forget(self) -> None:
        """Look into the store again next time: somebody has signed in or out."""
        self._tokens, self._renewed, self._skew = None, None, None

    @property
    def who(self) -> str:
        """Whom the tokens are of, as far as they were read and say so."""
        return self._tokens.who if self._tokens is not None else ""

    async def aclose(self) -> None:
        """Wait a little for a token that is being renewed, so that it is kept."""
        if (task := self._renewing) is not None and not (await asyncio.wait([task], timeout=CLOSE_S))[0]:
            task.cancel()
            await asyncio.wait([task])

    @property
    def _now(self) -> float:
        """The time by the server's clock."""
        learned = self._tokens.skew if self._tokens is not None else 0.0
        return self._clock() + (learned if self._skew is None else self._skew)

    def _resting(self, tokens: Tokens) -> bool:
        """Whether it is too early to ask again: just renewed, or just failed while the old one still works."""
        life = REST_S if tokens.life is None else min(REST_S, tokens.life * RENEW_AT)
        if tokens.access == self._renewed and self._uptime() - self._renewed_at < life:
            return True
        return not tokens.over(self._now) and self._uptime() - self._failed_at < REST_S

    async def _current(self) -> Tokens:
        if self._tokens is None:
            self._take(await self._store.load(self._provider))
        if self._tokens is None:
            raise self._login_needed("nobody is signed in")
        return self._tokens

    def _take(self, tokens: Tokens | None) -> None:
        """Go on with these; those of another server or client are none of ours."""
        if tokens is not None and self._account not in (("", ""), (tokens.issuer, tokens.client_id)):
            tokens = None
        self._tokens = tokens
        if tokens is not None:
            self._known.extend(each for each in (tokens.access, tokens.refresh) if each and each not in self._known)

    async def _new(self, spent: Tokens) -> Tokens:
        """Return tokens other than `spent`, however many ask at once. A caller that is cancelled stops nobody else."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(spent), name=f"renew-{self._provider}")
            self._renewing.add_done_callback(self._over)
        try:
            return await asyncio.shield(self._renewing)
        except BackendError as error:
            # Each caller marks its error with its own request, and must not mark that of another.
            failure = copy.copy(error)
        raise failure

    def _over(self, task: asyncio.Task[Tokens]) -> None:
        self._renewing = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed_at = self._uptime()
            self._tell(ok=False, detail=str(error))

    async def _renew(self, spent: Tokens) -> Tokens:
        async with self._store.lock(self._provider):
            self._take(await self._store.load(self._provider))
            tokens = await self._current()
            if tokens.access != spent.access and not tokens.over(self._now):
                return tokens  # somebody else has just done it
            if tokens.refresh is None:
                raise self._login_needed("the sign-in has expired")
            new = await self._asked(tokens)
            # From here on the old refresh token is spent: nothing may come between this and keeping the new one.
            self._take(new)
            self._renewed, self._renewed_at, self._skew = new.access, self._uptime(), new.skew
            await self._store.save(self._provider, new)
        self._tell(ok=True)
        return new

    async def _asked(self, tokens: Tokens) -> Tokens:
        seconds = RENEW_S if tokens.over(self._now) else EARLY_RENEW_S
        try:
            return await within(seconds, self._ask(tokens), lambda: TimedOut(f"no new token within {seconds:g} s"))
        except LoginNeeded:
            await self._store.drop(self._provider)
            self._tokens = None
            failure = self._login_needed("the sign-in has expired or was withdrawn")
        raise failure

    def _login_needed(self, why: str) -> LoginNeeded:
        return LoginNeeded(why, hint=f"Sign in with `sophia login {self._provider}`.")

    def _tell(self, *, ok: bool, detail: str = "") -> None:
        if self._hook is not None:
            self._hook(TokenRenewed(self._provider, ok, detail))


def skew_from(date: str, ours: float) -> float | None:
    """Return how far the clock that wrote this `Date` header is ahead of `ours`; None when it tells nothing of use."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    if len(date) > 64:
        return None
    try:
        at = parsedate_to_datetime(date)
        # HTTP knows no other zone. The header leaves out the fraction of the second.
        skew = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() + 0.5 - ours
    except (ValueError, TypeError, OverflowError):
        return None
    if abs(skew) > SKEW_MOST_S:
        return None
    return skew if abs(skew) >= SKEW_LEAST_S else 0.0


def granted(payload: Mapping[str, Any], date: str, ours: float, old: Tokens | None = None) -> Tokens | None:
    """Return the tokens in a token response, or None when there are none that could be used.

    `ours` is our clock's time. A server that sends no new refresh token means that the old one stays good.
    """
    access, refresh, kind = payload.get("access_token"), payload.get("refresh_token"), payload.get("token_type")
    if not _sendable(access) or (isinstance(kind, str) and kind.lower() != "bearer"):
        return None
    skew = skew_from(date, ours)
    skew = (old.skew if old is not None else 0.0) if skew is None else skew
    life = payload.get("expires_in")
    seconds = float(life) if isinstance(life, int | float) and not isinstance(life, bool) and 0 < life < 1e9 else None
    kept = old.refresh if old is not None else None
    return Tokens(
        access=Secret(str(access)),
        refresh=Secret(str(refresh)) if _sendable(refresh) else kept,
        issued_at=ours + skew,
        expires_at=None if seconds is None else ours + skew + seconds,
        skew=skew,
    )


def _sendable(token: object) -> bool:
    return (
        isinstance(token, str)
        and 0 < len(token) <= TOKEN_MAX
        and token.isascii()
        and token.isprintable()
        and " " not in token
    )
