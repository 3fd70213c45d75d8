"""What answers: the servers and the embedded model as the app sees them, and what they may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backend_client import BackendClient
from backend_client.download import download
from backend_client.fleet import CostCap, Resilience
from backend_client.happenings import Happening
from backend_client.transport import Transport
from backend_client.types import Endpoint, ModelCard, Provider, StaticEndpoint
from sophia_core.connecting import Connecting
from sophia_core.costs.prices import Prices
from sophia_core.degradation import Degradation
from sophia_core.events import Bus, EmbeddedProgressed, Notice
from sophia_core.login import Login
from sophia_core.models import AUTO, Models
from sophia_core.providers import EMBEDDED, build_providers, missing_keys
from sophia_core.routes import Routes, route_of
from sophia_core.spending import Spending
from sophia_core.state import Current
from sophia_core.telling import events_of
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.routing import Ranked
    from sophia_core.embedded import EmbeddedServer, Progress
    from sophia_core.settings import Loaded, ProviderSettings
    from sophia_core.voice.servers import VoiceServers

OWNERS: Final[tuple[type, ...]] = (Models, Routes, Login, Connecting)
"""The classes of this side that have commands."""


class ServerSide:
    """Built without asking any server anything; `attend` begins to."""

    def __init__(
        self, loaded: Loaded, vault: Vault, bus: Bus, current: Current, transport: Transport, env: Mapping[str, str]
    ) -> None:
        settings = loaded.settings
        self._loaded, self._bus, self._current = loaded, bus, current
        self._transport, self._env = transport, env
        self.embedded = None if loaded.server_named or settings.base_url else self._build_embedded()
        self.login = Login(vault, transport, settings, bus, env)
        self.prices = Prices(loaded.paths.config_file.with_name("prices.toml"), shipped=settings.costs.price_table)
        self.providers = build_providers(
            settings, env, self.embedded, self._list_models, self.login.auth_for, self.prices
        )
        self.paid = {each.name for each in self.providers if each.paid}
        """The names of the providers whose answers cost money."""
        self.client = BackendClient(
            self.providers,
            transport=transport,
            policy=Resilience(region=settings.routing.region),
            cap=CostCap(settings.routing.daily_cap_usd),
            hook=self._happened,
        )
        self.degradation = Degradation(bus, self.providers, self._route)
        self.models = Models(self.client, self.providers, bus, current, self.degradation.look)
        self.routes = Routes(self.client, current)
        self.spending = Spending(vault, self.client.cap, self.paid, self.degradation.look)
        self.connecting = Connecting(transport, loaded.paths.config_file, settings, bus, self.adopt, self)
        self._warming: asyncio.Task[None] | None = None

    def costing(self) -> set[str]:
        """The names of the providers whose answers cost anything: a price each, or their share of an hour."""
        hourly = self._loaded.settings.costs.hourly_usd
        return {
            each.name
            for each in self.providers
            if each.paid or each.price_prompt or each.price_completion or each.name in hourly
        }

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (self.models, self.routes, self.login, self.connecting)

    @property
    def provider(self) -> Provider:
        """The provider that the next question goes to, as far as is known now."""
        first = self._route()[0].provider
        return next(each for each in self.providers if each.name == first)

    def adopt(self, each: ProviderSettings) -> bool:
        """Lets a provider answer that was written down just now. False where it has to wait for the next start: one
        server was named for everything, or it costs money, and what may be spent is read at the start."""
        settings = self._loaded.settings
        if self._loaded.server_named or settings.base_url:
            return False
        larger = settings.model_copy(update={"providers": (*settings.providers, each)})
        self.login.knows(larger)
        built = build_providers(larger, self._env, None, self._list_models, self.login.auth_for, self.prices)
        new = next(provider for provider in built if provider.name == each.name)
        if new.paid:
            return False
        self._loaded = replace(self._loaded, settings=larger)
        at = next((at for at, known in enumerate(self.providers) if known.name == EMBEDDED), len(self.providers))
        self.providers.insert(at, new)
        self.client.fleet.add(new)
        self.degradation.knows(self.providers)
        return True

    def voice_servers(self) -> VoiceServers:
        """The services that speak and listen; built with the first use of the voice."""
        from sophia_core.voice.servers import VoiceServers

        return VoiceServers(
            self._loaded.settings,
            self._transport,
            self._env,
            in_use=lambda: self.provider,
            auth_for=self.login.auth_for,
            cap=self.client.cap,
            tell=self._bus.publish,
        )

    def in_use(self, name: str) -> bool:
        """Whether a provider was chosen, just now or in the settings."""
        return name in (self._current.provider, self._loaded.settings.provider)

    async def forget_secrets(self, name: str) -> None:
        """Signs out of a provider and forgets its key."""
        await self.login.logout(name)

    def release(self, name: str, instead: str | None) -> bool:
        """Asks a provider nothing more that was taken out of the settings; `instead` answers where it was chosen. False
        where it goes on until the end of this run: it is the only one."""
        settings, chosen = self._loaded.settings, None if instead == AUTO else instead
        if self._current.provider == name:
            self._current.provider = self._current.model = None
        if instead:
            self._current.provider = chosen
        left = [each for each in self.providers if each.name != name]
        if not left:
            return False
        kept = tuple(each for each in settings.providers if each.name != name)
        smaller = settings.model_copy(update={"providers": kept, "provider": chosen if instead else settings.provider})
        self._loaded = replace(self._loaded, settings=smaller)
        self.login.knows(smaller)
        self.providers[:] = left
        self.client.fleet.remove(name)
        self.degradation.knows(self.providers)
        return True

    async def tell_missing_keys(self) -> None:
        """Says which keys the settings name that neither the environment nor the store has."""
        missing = missing_keys(self._loaded.settings, self._env)
        if not missing:
            return
        kept = {each.provider for each in await self.login.status() if each.how == "key"}
        for name, variable in (each for each in missing if each[0] not in kept):
            hint = f"export {variable}=… and restart, or keep it: sophia login {name} --with-token"
            self._bus.publish(Notice("warning", f"{name}: {variable} is not set.", hint))

    def attend(self) -> None:
        """A person is here: watches over the servers, and loads the embedded model when it will answer."""
        settings = self._loaded.settings
        if settings.routing.probe and len(self.providers) > (self.embedded is not None):
            self.client.start()
        if self.embedded and settings.embedded.prewarm and self.provider.source is self.embedded:
            self._warming = self.embedded.warm(settings.chat.system_prompt)

    async def close(self) -> None:
        """Ends the embedded server and every connection. Before the store is closed, which has what was spent."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.spending.close)
            last_first.push_async_callback(self.client.aclose)
            last_first.push_async_callback(self.login.aclose)
            if self.embedded:
                last_first.push_async_callback(self.embedded.stop)
            last_first.push_async_callback(self._stop_warming)

    async def _stop_warming(self) -> None:
        if self._warming:
            self._warming.cancel()
            await asyncio.wait([self._warming])

    def _build_embedded(self) -> EmbeddedServer:
        from sophia_core.embedded import EmbeddedOptions, EmbeddedServer

        chosen = self._loaded.settings.embedded
        options = EmbeddedOptions(
            model_path=chosen.model_path, context=chosen.context, threads=chosen.threads, download=chosen.download
        )
        return EmbeddedServer(
            options,
            cache_dir=self._loaded.paths.cache_dir,
            on_progress=self._progressed,
            fetch=lambda url, offset: download(self._transport, url, offset),
        )

    def _progressed(self, progress: Progress) -> None:
        self._bus.publish(EmbeddedProgressed(progress.stage, progress.fraction, progress.detail))

    def _happened(self, happening: Happening) -> None:
        for event in events_of(happening):
            self._bus.publish(event)

    def _route(self) -> tuple[Ranked, ...]:
        return route_of(self.client, self._current)

    async def _list_models(self, name: str, endpoint: Endpoint) -> list[ModelCard]:
        from backend_client.probe import list_models

        return await list_models(Provider(name, StaticEndpoint(endpoint)), self._transport)
