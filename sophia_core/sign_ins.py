"""Where sign-ins and API keys are kept: in the encrypted store, one process changing them at a time."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backend_client.address import origin
from backend_client.auth import Secret
from backend_client.errors import LoginNeeded, TimedOut
from local_store.errors import StoreError
from sophia_core.commands import CommandError

if TYPE_CHECKING:
    from backend_client.tokens import OAuthTokens, Tokens
    from local_store import Store
    from sophia_core.vault import Vault

OPEN_S: Final = 10.0
"""How long a request waits for the store to open."""
LOCK_S: Final = 25.0
"""How long to wait for another process that renews the same sign-in; longer than that takes it."""
POLL_S: Final = 0.05
LOOK_AGAIN_S: Final = 30.0
"""How long a look into the store counts, so that not every request takes one."""


class SignIns:
    """The tokens of every provider; a `TokenStore`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def load(self, provider: str) -> Tokens | None:
        """The tokens as they are kept now. Raises LoginNeeded when the store cannot be read."""
        store = await self._open()
        try:
            text = await store.secrets.get(_sign_in(provider))
        except StoreError as error:
            raise LoginNeeded(f"the sign-in cannot be read: {error}", hint=error.hint) from None
        if text is None:
            return None
        from backend_client.tokens import Tokens

        try:
            return Tokens.from_text(text)
        except ValueError:
            return None

    async def save(self, provider: str, tokens: Tokens) -> None:
        """Keeps the tokens; a store that cannot take them now is tried again, as it is for answers."""
        store = await self._open()
        name, text = _sign_in(provider), tokens.to_text()
        try:
            await store.secrets.set(name, text)
        except StoreError:
            self._vault.keep(lambda: store.secrets.set(name, text))

    async def drop(self, provider: str) -> None:
        """Forgets the tokens."""
        store = await self._open()
        name = _sign_in(provider)
        try:
            await store.secrets.delete(name)
        except StoreError:
            self._vault.keep(lambda: store.secrets.delete(name))

    @asynccontextmanager
    async def lock(self, provider: str) -> AsyncIterator[None]:
        """Keeps all other processes from changing the tokens of this provider. Raises TimedOut."""
        store = await self._open()
        short = hashlib.sha256(provider.encode()).hexdigest()[:16]
        descriptor = await asyncio.to_thread(_lock_file, store.paths.run / f"{short}.sign-in")
        try:
            await _locked(descriptor)
            yield
        finally:
            os.close(descriptor)

    async def _open(self) -> Store:
        try:
            async with asyncio.timeout(OPEN_S):
                return await self._vault.get()
        except TimeoutError:
            raise LoginNeeded("the store with the sign-in is not open yet", hint="Try again in a moment.") from None
        except CommandError as error:
            raise LoginNeeded(f"the sign-in cannot be read: {error}", hint=error.hint) from None


class Keys:
    """The API keys that were given with `sophia login --with-token`, each for one address only."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def find(self, provider: str, base_url: str) -> Secret | None:
        """The key for this provider at this address; None also when the store is not open. Raises StoreError."""
        if self._vault.store is None:
            return None
        text = await self._vault.store.secrets.get(_key(provider))
        try:
            kept = json.loads(text) if text else {}
        except ValueError:
            return None
        # A key is never sent to an address that it was not given for, whatever the settings say by now.
        return Secret(kept["key"]) if kept.get("origin") == origin(base_url.strip()) else None

    async def keep(self, provider: str, base_url: str, key: Secret) -> None:
        """Keeps a key. Raises CommandError or StoreError."""
        text = json.dumps({"key": key.reveal(), "origin": origin(base_url.strip())})
        await (await self._vault.get()).secrets.set(_key(provider), text)

    async def drop(self, provider: str) -> None:
        """Forgets a key. Raises CommandError or StoreError."""
        await (await self._vault.get()).secrets.delete(_key(provider))


class KeptProof:
    """How one provider is told who we are: a kept key, else the tokens of a sign-in, else nothing; a `TokenSource`."""

    def __init__(self, vault: Vault, keys: Keys, provider: str, base_url: str, tokens: OAuthTokens | None) -> None:
        self._vault = vault
        self._keys = keys
        self._provider = provider
        self._base_url = base_url
        self.tokens = tokens
        self._key: Secret | None = None
        self._earlier: deque[Secret] = deque(maxlen=8)
        """Keys of before, which the answers that are under way may still quote."""
        self._looked_at = float("-inf")

    async def token(self) -> Secret | None:
        """The key or a valid access token; None when neither is needed. Raises LoginNeeded or another BackendError."""
        return await self._kept() or (await self.tokens.token() if self.tokens else None)

    async def refused(self, token: Secret) -> bool:
        """Renews the tokens of a sign-in; a key is looked for once more, as it may have been changed."""
        if token == self._key:
            self._looked_at = float("-inf")
            return (await self._kept() or token) != token
        return await self.tokens.refused(token) if self.tokens else False

    def seen_date(self, date: str) -> None:
        """Tells the tokens what the server's clock says."""
        if self.tokens:
            self.tokens.seen_date(date)

    def redact(self, text: str) -> str:
        """The text with the key and the tokens masked."""
        for key in (self._key, *self._earlier):
            text = key.redact(text) if key else text
        return self.tokens.redact(text) if self.tokens else text

    def forget(self) -> None:
        """Looks into the store again next time."""
        self._note(None)
        self._looked_at = float("-inf")
        if self.tokens:
            self.tokens.forget()

    def _note(self, key: Secret | None) -> None:
        if self._key and self._key != key:
            self._earlier.append(self._key)
        self._key = key

    async def _kept(self) -> Secret | None:
        now = time.monotonic()
        if now - self._looked_at > LOOK_AGAIN_S:
            try:
                async with asyncio.timeout(OPEN_S):
                    await self._vault.settled()
                    self._note(await self._keys.find(self._provider, self._base_url))
            except (TimeoutError, StoreError):
                return self._key
            self._looked_at = now if self._vault.store is not None else float("-inf")
        return self._key


def _sign_in(provider: str) -> str:
    return f"sign-in:{provider}"


def _key(provider: str) -> str:
    return f"key:{provider}"


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


async def _locked(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimedOut("another SOPHIA has been renewing the sign-in for too long") from None
        await asyncio.sleep(POLL_S)
