"""Signing in to providers, and out again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from backend_client.auth import ApiKey, Auth, Bearer, Secret, headers
from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core.commands import BadArguments, CommandError, command
from sophia_core.events import Bus, Notice, TokenRenewed
from sophia_core.sanitize import one_line
from sophia_core.sign_ins import KeptProof, Keys, SignIns
from sophia_core.voice.accounts import voice_account, voice_accounts

if TYPE_CHECKING:
    from backend_client.device import DeviceCode
    from backend_client.happenings import TokenRenewed
    from backend_client.oauth import OAuth
    from backend_client.tokens import OAuthTokens, Tokens
    from backend_client.transport import Transport
    from sophia_core.settings import ProviderSettings, Settings
    from sophia_core.vault import Vault

How = Literal["auto", "device", "browser", "paste"]
NO_PROVIDER_HINT: Final = "Add it as [[providers]] to the config file; docs/settings.md tells how."
HOW_TO_ISSUE: Final = "Set `issuer` in its settings, or give an API key: `sophia login {} --with-token`."


@dataclass(frozen=True, slots=True)
class Account:
    """How a provider is told who we are. Holds no secret."""

    provider: str
    how: str
    """nothing, environment, key, device, browser, paste; `not signed in` where that is needed."""
    who: str = ""
    roles: tuple[str, ...] = ()
    expires_at: int | None = None
    """When the access token ends, in milliseconds since the epoch by our clock; it is renewed before."""
    renewable: bool = False
    kept: str = ""
    """Where the key or the sign-in lies."""


class Guide(Protocol):
    """How a front end leads a person through a sign-in. All texts are printable; addresses are http(s)."""

    async def show_code(self, provider: str, code: DeviceCode) -> None:
        """Shows the address to open and the code to type there. Returns at once."""

    async def open_page(self, provider: str, address: str) -> None:
        """Opens the address in a browser of this machine, and shows it. Returns at once."""

    async def ask_address(self, provider: str, address: str) -> str | None:
        """Shows the address to open anywhere; returns the one that the browser ended at, None to give up."""


class Announcer:
    """A guide for front ends that have none of their own: it says what to do and asks nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def show_code(self, provider: str, code: DeviceCode) -> None:
        self._bus.publish(Notice("info", f"{provider}: type {code.code} at {code.address}", "Waiting for it …"))

    async def open_page(self, provider: str, address: str) -> None:
        self._bus.publish(Notice("info", f"{provider}: sign in at {address}", "Waiting for it …"))
        await open_browser(address)

    async def ask_address(self, provider: str, address: str) -> str | None:
        return None


class Login:
    """The accounts of all providers."""

    def __init__(
        self,
        vault: Vault,
        transport: Transport,
        settings: Settings,
        bus: Bus,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._vault, self._transport, self._settings, self._bus = vault, transport, settings, bus
        self._env = os.environ if env is None else env
        self._sign_ins, self._keys = SignIns(vault), Keys(vault)
        self._proofs: dict[str, KeptProof] = {}
        self.guide: Guide = Announcer(bus)
        self.others: list[Callable[[], list[ProviderSettings]]] = []
        """Who else a key can be kept for, beside providers and voices."""

    def auth_for(self, each: ProviderSettings) -> Auth:
        """How to prove who we are to a provider whose key is not in the environment; looked up when it is needed."""
        return Bearer(self._proof(each))

    def who(self, provider: str) -> str:
        """Whom a provider knows us as, where somebody signed in and was asked for it; at once, from memory."""
        proof = self._proofs.get(provider)
        return one_line(proof.tokens.who, 80) if proof and proof.tokens else ""

    def knows(self, settings: Settings) -> None:
        """There are more providers now."""
        self._settings = settings

    async def aclose(self) -> None:
        """Waits a little for tokens that are being renewed, so that they are kept."""
        waiting = [proof.tokens.aclose() for proof in self._proofs.values() if proof.tokens]
        await asyncio.gather(*waiting, return_exceptions=True)

    @command("auth.login", slash="login", audited=True)
    async def login(self, provider: str = "", how: How = "auto") -> str:
        """Sign in to a provider: with a code, with a browser here, or by pasting an address."""
        each = self._chosen(provider)
        oauth = self._oauth(each)
        if oauth is None:
            raise CommandError(f"{each.name} names nobody to sign in at.", HOW_TO_ISSUE.format(each.name))
        await self._vault.get()
        try:
            tokens = await self._signed_in(each, oauth, how)
            if tokens is None:
                raise CommandError("Nobody signed in; nothing changed.")
            tokens = await oauth.known_as(tokens)
            async with self._sign_ins.lock(each.name):
                await self._sign_ins.save(each.name, tokens)
        except BackendError as error:
            raise error.placed(each.name, None, str) from None
        self._changed(each)
        self._bus.publish(TokenRenewed(each.name, True, "signed in"))
        await self._drop_key(each)
        return f"Signed in to {each.name}{f' as {tokens.who}' if tokens.who else ''}{_roles(tokens.roles)}."

    @command("auth.logout", slash="logout", audited=True)
    async def logout(self, provider: str = "") -> str:
        """Sign out of a provider, and forget its key."""
        each = self._chosen(provider)
        await self._vault.get()
        try:
            async with self._sign_ins.lock(each.name):
                tokens = await self._sign_ins.load(each.name)
                await self._sign_ins.drop(each.name)
        except BackendError as error:
            raise CommandError(str(error), error.hint) from None
        had_key = await self._drop_key(each)
        self._changed(each)
        if tokens is None:
            return f"The API key of {each.name} is forgotten." if had_key else f"Nobody was signed in to {each.name}."
        return f"Signed out of {each.name}{await self._told(each, tokens)}."

    @command("auth.status")
    async def status(self) -> list[Account]:
        """Show who is signed in where, and with what roles."""
        of_voice = [await self._account(each) for each in voice_accounts(self._settings)]
        of_voice += [await self._account(each) for each in self._others()]
        kept = [each for each in of_voice if each.how in ("key", "environment")]
        return [*[await self._account(each) for each in self._settings.providers], *kept]

    async def keep_key(self, provider: str, key: Secret) -> str:
        """Keeps an API key for a provider; returns what to tell the person. Raises CommandError."""
        each = self._chosen(provider)
        try:
            headers(ApiKey(key))
        except ValueError as error:
            raise BadArguments(f"That is no key: {error}.") from None
        try:
            await self._keys.keep(each.name, each.base_url, Secret(key.reveal().strip()))
            async with self._sign_ins.lock(each.name):
                await self._sign_ins.drop(each.name)
        except (StoreError, BackendError) as error:
            raise CommandError(str(error), error.hint) from None
        self._changed(each)
        shadowed = self._in_environment(each)
        return f"The API key of {each.name} is kept in the encrypted store." + (
            f" {each.api_key_env} is set too, and goes first." if shadowed else ""
        )

    # Ways of signing in

    async def _signed_in(self, each: ProviderSettings, oauth: OAuth, how: How) -> Tokens | None:
        """Raises BackendError."""
        server = await oauth.server()
        if how == "auto":
            here = has_browser(self._env, sys.platform) and server.authorization is not None
            how = "browser" if here else "device" if server.device is not None else "paste"
        from backend_client import device, loopback

        match how:
            case "device":
                code = await device.ask_for_code(oauth)
                await self.guide.show_code(each.name, code)
                return await device.await_person(oauth, code)
            case "browser":
                return await loopback.with_browser(oauth, lambda address: self.guide.open_page(each.name, address))
            case _:
                return await loopback.with_pasted_address(
                    oauth, lambda address: self.guide.ask_address(each.name, address)
                )

    async def _told(self, each: ProviderSettings, tokens: Tokens) -> str:
        """Tells the sign-in server; what to say about that."""
        from backend_client.oauth import OAuth

        try:
            if await OAuth(self._transport, tokens.issuer, tokens.client_id).revoke(tokens):
                return ""
        except BackendError as error:
            return f" here; its server could not be told ({error.message})"
        return " here; its server has no way to be told, so the sign-in ends there by itself"

    # What is kept

    async def _account(self, each: ProviderSettings) -> Account:
        if self._in_environment(each):
            return Account(each.name, "environment", kept=f"${each.api_key_env}")
        await self._vault.get()
        kept = "encrypted store" if self._vault.state == "open" else "memory, until SOPHIA stops"
        if await self._keys.find(each.name, each.base_url):
            return Account(each.name, "key", kept=kept)
        tokens = await self._sign_ins.load(each.name)
        if tokens is None or (tokens.issuer, tokens.client_id) != (each.issuer, each.client_id):
            return Account(each.name, "not signed in" if each.issuer else "nothing")
        ends = None if tokens.expires_at is None else int((tokens.expires_at - tokens.skew) * 1000)
        return Account(each.name, tokens.how, tokens.who, tokens.roles, ends, tokens.refresh is not None, kept)

    def _in_environment(self, each: ProviderSettings) -> bool:
        return bool(each.api_key_env and self._env.get(each.api_key_env))

    async def _drop_key(self, each: ProviderSettings) -> bool:
        try:
            had = await self._keys.find(each.name, each.base_url) is not None
            await self._keys.drop(each.name)
        except StoreError as error:
            raise CommandError(str(error), error.hint) from None
        return had

    def _changed(self, each: ProviderSettings) -> None:
        if proof := self._proofs.get(each.name):
            proof.forget()

    # Which provider

    def _chosen(self, name: str) -> ProviderSettings:
        """The provider of this name; without one the only one to sign in at, else the one used first."""
        known = self._settings.providers
        if name:
            for each in known:
                if each.name == name:
                    return each
            if (voice := voice_account(self._settings, name)) is not None:
                return voice
            if (other := next((each for each in self._others() if each.name == name), None)) is not None:
                return other
            raise BadArguments(f"There is no provider {name!r} in the settings.", self._names() or NO_PROVIDER_HINT)
        if not known:
            raise BadArguments("The settings name no provider to sign in to.", NO_PROVIDER_HINT)
        first = [each for each in known if each.name == self._settings.provider]
        return next(iter([*first, *(each for each in known if each.issuer), *known]))

    def _others(self) -> list[ProviderSettings]:
        return [each for others in self.others for each in others()]

    def _names(self) -> str:
        names = ", ".join(each.name for each in self._settings.providers)
        return f"There is: {names}." if names else ""

    def _oauth(self, each: ProviderSettings) -> OAuth | None:
        if each.issuer is None:
            return None
        from backend_client.oauth import OAuth

        return OAuth(self._transport, each.issuer, each.client_id, each.scopes)

    def _proof(self, each: ProviderSettings) -> KeptProof:
        if each.name not in self._proofs:
            self._proofs[each.name] = KeptProof(self._vault, self._keys, each.name, each.base_url, self._tokens(each))
        return self._proofs[each.name]

    def _tokens(self, each: ProviderSettings) -> OAuthTokens | None:
        if each.issuer is None or (oauth := self._oauth(each)) is None:
            return None
        from backend_client.tokens import OAuthTokens

        return OAuthTokens(
            each.name, self._sign_ins, oauth.renew, issuer=each.issuer, client_id=each.client_id, hook=self._happened
        )

    def _happened(self, told: TokenRenewed) -> None:
        self._bus.publish(TokenRenewed(told.provider, told.ok, told.detail))


def has_browser(env: Mapping[str, str], platform: str) -> bool:
    """Whether a browser that opens here would open before the person's eyes."""
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


async def open_browser(address: str) -> bool:
    """Opens an address in the browser of this machine, if there is one."""
    import webbrowser

    try:
        return await asyncio.to_thread(webbrowser.open, address)
    except (webbrowser.Error, OSError):
        return False


def _roles(roles: tuple[str, ...]) -> str:
    return f" ({', '.join(roles)})" if roles else ""
