"""The one place that builds things, and takes them down in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backend_client import BackendClient
from backend_client.download import download
from backend_client.fleet import CostCap, Resilience
from backend_client.happenings import Happening
from backend_client.transport import HttpTransport, Transport
from backend_client.types import Endpoint, ModelCard, Provider, StaticEndpoint
from local_store import StorePaths
from sophia_core.analytics import Analytics
from sophia_core.auditing import Auditor
from sophia_core.backups import Backups
from sophia_core.care import Care
from sophia_core.chat.branches import Branches
from sophia_core.chat.cache import Cache
from sophia_core.chat.chat import Chat
from sophia_core.chat.drafts import Drafts
from sophia_core.chat.organise import Organise
from sophia_core.chat.sessions import Sessions
from sophia_core.commands import Registry
from sophia_core.control import Control
from sophia_core.degradation import Degradation
from sophia_core.events import Bus, EmbeddedProgressed, Notice
from sophia_core.exchange.exchange import Exchange
from sophia_core.idle_lock import IdleLock
from sophia_core.login import Login
from sophia_core.logs import Log, correlation, new_request_id
from sophia_core.macros.library import Library
from sophia_core.macros.macros import Macros
from sophia_core.memory.memory import Memory
from sophia_core.models import Models
from sophia_core.outbox import Outbox
from sophia_core.providers import build_providers, described, missing_keys, secret_variables
from sophia_core.routes import Routes, route_of
from sophia_core.setting_history import SettingChanges
from sophia_core.spending import Spending
from sophia_core.state import Current
from sophia_core.telling import events_of
from sophia_core.upkeep import Upkeep
from sophia_core.vault import Vault
from sophia_core.watching import Watching

if TYPE_CHECKING:
    from backend_client.routing import Ranked
    from sophia_core.embedded import EmbeddedServer, Progress
    from sophia_core.settings import Loaded

COMMAND_OWNERS: tuple[type, ...] = (
    Chat,
    Branches,
    Cache,
    Outbox,
    Sessions,
    Organise,
    Memory,
    Exchange,
    Models,
    Routes,
    Login,
    Vault,
    Auditor,
    Backups,
    Care,
    Analytics,
    SettingChanges,
    Macros,
    Control,
)
"""The classes whose commands work without a screen."""


class Runtime:
    """Everything that runs, built from settings. Nothing is opened until `start`."""

    def __init__(
        self, loaded: Loaded, *, transport: Transport | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        settings, paths = loaded.settings, loaded.paths
        self._loaded = loaded
        self._transport = transport or HttpTransport()
        self._env = os.environ if env is None else env
        self.settings, self.paths = settings, paths
        self.bus, self.registry, self.current = Bus(), Registry(), Current()
        self.embedded = None if loaded.server_named or settings.base_url else self._build_embedded()
        passphrase = settings.passphrase.get_secret_value() if settings.passphrase else None
        allow_keyring = self._env.get("SOPHIA_NO_KEYRING", "") == ""
        self.vault = Vault(
            StorePaths(paths.store_dir, paths.device_dir),
            self.bus,
            passphrase=passphrase,
            allow_keyring=allow_keyring,
            allow_network_folder=settings.store.allow_network_folder,
        )
        self.login = Login(self.vault, self._transport, settings, self.bus, self._env)
        self.providers = build_providers(settings, self._env, self.embedded, self._list_models, self.login.auth_for)
        self.client = BackendClient(
            self.providers,
            transport=self._transport,
            policy=Resilience(region=settings.routing.region),
            cap=CostCap(settings.routing.daily_cap_usd),
            hook=self._happened,
        )
        self.degradation = Degradation(self.bus, self.providers, self._route)
        among = described(self.providers)
        self.chat = Chat(self.vault, self.client, self.bus, self.current, settings.chat, among=among)
        self.vault.before_lock.append(self.chat.close)
        minutes = settings.store.lock_after_minutes
        self.idle_lock = IdleLock(self.vault, self.bus, minutes, busy=lambda: self.chat.busy)
        self.branches = Branches(self.vault, self.bus, self.current, lambda: self.chat.busy)
        self.outbox = Outbox(self.vault, self.chat, self.bus)
        self.sessions = Sessions(self.vault, self.bus, self.current)
        self.organise = Organise(self.vault, self.bus, self.current)
        self.watching = Watching(self.vault, self.bus, self.current, paths.config_file)
        self.upkeep = Upkeep(self.vault, self.bus)
        self.memory = Memory(self.vault, self.bus, self.current, settings.memory)
        self.vault.before_lock.append(self.memory.forget)
        self.exchange = Exchange(self.vault, self.bus, self.current)
        self.drafts = Drafts(self.vault)
        self.models = Models(self.client, self.providers, self.bus, self.current, self.degradation.look)
        self.routes = Routes(self.client, self.current)
        paid = {each.name for each in self.providers if each.paid}
        self.spending = Spending(self.vault, self.client.cap, paid, self.degradation.look)
        self.auditor = Auditor(self.vault, paid)
        self.analytics = Analytics(self.vault, enabled=settings.analytics.enabled)
        self.macros = Macros(
            Library(paths.macros_dir, Path.cwd(), paths.macros_dir.with_name("trusted-macros")),
            self.registry,
            self.bus,
            self.vault,
            self.current,
            env=self._env,
            secret=secret_variables(settings),
        )
        self.control = Control(paths.control_dir, self.bus, self._obey)
        self.registry.after += [self.auditor.ran, self.analytics.ran, self.macros.done]
        self.setting_changes = SettingChanges(self.vault)
        place = StorePaths(paths.store_dir, paths.device_dir)
        self.backups = Backups(
            self.vault,
            self.bus,
            self.current,
            place,
            passphrase=passphrase,
            allow_keyring=allow_keyring,
            busy=lambda: self.chat.busy,
        )
        self.care = Care(
            self.vault,
            self.bus,
            self.current,
            place,
            self.backups,
            passphrase=passphrase,
            allow_keyring=allow_keyring,
            busy=lambda: self.chat.busy,
            forget=self.memory.forget,
        )
        for owner in self._owners():
            self.registry.collect(owner)
        self.log: Log | None = None
        self._warming: asyncio.Task[None] | None = None

    def _owners(self) -> tuple[object, ...]:
        """Who has commands: one of each of COMMAND_OWNERS."""
        talking = (self.chat, self.branches, self.chat.cache, self.outbox, self.models, self.routes, self.login)
        keeping = (self.sessions, self.organise, self.memory, self.exchange, self.backups, self.care)
        return (
            *talking,
            *keeping,
            self.vault,
            self.auditor,
            self.analytics,
            self.setting_changes,
            self.macros,
            self.control,
        )

    def _build_embedded(self) -> EmbeddedServer:
        from sophia_core.embedded import EmbeddedOptions, EmbeddedServer

        chosen = self.settings.embedded
        options = EmbeddedOptions(
            model_path=chosen.model_path, context=chosen.context, threads=chosen.threads, download=chosen.download
        )
        return EmbeddedServer(
            options,
            cache_dir=self.paths.cache_dir,
            on_progress=self._progressed,
            fetch=lambda url, offset: download(self._transport, url, offset),
        )

    def _progressed(self, progress: Progress) -> None:
        self.bus.publish(EmbeddedProgressed(progress.stage, progress.fraction, progress.detail))

    def _happened(self, happening: Happening) -> None:
        for event in events_of(happening):
            self.bus.publish(event)

    def _route(self) -> tuple[Ranked, ...]:
        return route_of(self.client, self.current)

    @property
    def provider(self) -> Provider:
        """The provider that the next question goes to, as far as is known now."""
        first = self._route()[0].provider
        return next(each for each in self.providers if each.name == first)

    async def _list_models(self, name: str, endpoint: Endpoint) -> list[ModelCard]:
        from backend_client.probe import list_models

        return await list_models(Provider(name, StaticEndpoint(endpoint)), self._transport)

    async def start(self, *, create: bool = True) -> None:
        """Opens the log and the store and tells what was wrong with the settings. Does not raise for any of them."""
        log = await asyncio.to_thread(Log, self.paths.log_file, self.settings.log.level, self.settings.log.max_bytes)
        self.log = log
        self.bus.subscribe(log)
        self.bus.subscribe(self.degradation)
        self.bus.subscribe(self.spending)
        self.bus.subscribe(self.auditor)
        self.bus.subscribe(self.analytics)
        self.bus.subscribe(self.setting_changes)
        if log.problem:
            self.bus.publish(Notice("warning", log.problem, "SOPHIA goes on without a log."))
        for problem in self._loaded.problems:
            self.bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
            self.auditor.note("settings.problem", problem.where)
        await self.vault.open(create=create)
        await self.spending.settled()
        await self._tell_missing_keys()

    async def _tell_missing_keys(self) -> None:
        missing = missing_keys(self.settings, self._env)
        if not missing or self.vault.store is None:
            return
        kept = {each.provider for each in await self.login.status() if each.how == "key"}
        for name, variable in (each for each in missing if each[0] not in kept):
            hint = f"export {variable}=… and restart, or keep it: sophia login {name} --with-token"
            self.bus.publish(Notice("warning", f"{name}: {variable} is not set.", hint))

    def attend(self) -> None:
        """A person is here: what nobody could be reached for waits, and what broke off is offered to be gone on with.

        Watches over the servers from now on, delivers what waits, and loads the embedded model when it will answer.
        """
        self.chat.queue_when_offline = self.chat.offer_continue = True
        self.outbox.start()
        self.idle_lock.start()
        self.watching.start()
        self.memory.start()
        self.upkeep.start()
        if self.settings.control.enabled:
            self.control.start()
        if self.settings.routing.probe and len(self.providers) > (self.embedded is not None):
            self.client.start()
        if self.embedded and self.settings.embedded.prewarm and self.provider.source is self.embedded:
            self._warming = self.embedded.warm(self.settings.chat.system_prompt)

    async def dispatch(self, line: str, *, confirmed: bool = False) -> object:
        """Runs a command line as one user action, under one correlation id. Raises CommandError."""
        self.idle_lock.touch()
        correlation.set(new_request_id())
        return await self.registry.run_line(line, confirmed=confirmed)

    async def _obey(self, line: str, confirmed: bool) -> object:
        """Runs a line that came over the control socket: nobody need be at the keyboard for it."""
        correlation.set(new_request_id())
        return await self.registry.run_line(line, confirmed=confirmed)

    async def run(self, name: str, *args: object, confirmed: bool = False, **kwargs: object) -> object:
        """Runs a command with values as one user action, under one correlation id. Raises CommandError."""
        self.idle_lock.touch()
        correlation.set(new_request_id())
        return await self.registry.run(name, *args, confirmed=confirmed, **kwargs)

    async def close(self) -> None:
        """Stops what runs, keeps what has arrived, and closes everything, whatever any of it raises."""
        async with AsyncExitStack() as last_first:
            if self.log:
                last_first.callback(self.log.close)
            last_first.push_async_callback(self.vault.close)
            last_first.push_async_callback(self.auditor.close)
            last_first.push_async_callback(self.analytics.close)
            last_first.push_async_callback(self.setting_changes.close)
            last_first.push_async_callback(self.spending.close)
            last_first.push_async_callback(self.client.aclose)
            last_first.push_async_callback(self.login.aclose)
            if self.embedded:
                last_first.push_async_callback(self.embedded.stop)
            last_first.push_async_callback(self._stop_warming)
            last_first.push_async_callback(self.chat.close)
            last_first.push_async_callback(self.macros.close)
            last_first.push_async_callback(self.control.close)
            last_first.push_async_callback(self.watching.close)
            last_first.push_async_callback(self.memory.close)
            last_first.push_async_callback(self.upkeep.close)
            last_first.push_async_callback(self.outbox.close)
            last_first.push_async_callback(self.idle_lock.close)

    async def _stop_warming(self) -> None:
        if self._warming:
            self._warming.cancel()
            await asyncio.wait([self._warming])


@asynccontextmanager
async def open_runtime(
    loaded: Loaded, *, transport: Transport | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Runtime]:
    """A started runtime, closed at the end whatever happens."""
    runtime = Runtime(loaded, transport=transport, env=env)
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.close()
