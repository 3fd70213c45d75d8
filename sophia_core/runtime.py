"""The one place that builds things, and takes them down in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from backend_client import BackendClient
from backend_client.download import download
from backend_client.transport import HttpTransport, Transport
from backend_client.types import Attempt, Endpoint, ModelCard, Provider, StaticEndpoint
from local_store import StorePaths
from sophia_core.chat.chat import Chat
from sophia_core.chat.drafts import Drafts
from sophia_core.chat.sessions import Sessions
from sophia_core.commands import Registry
from sophia_core.degradation import Degradation
from sophia_core.events import AttemptFailed, Bus, EmbeddedProgressed, Notice
from sophia_core.logs import Log, correlation, new_request_id
from sophia_core.models import Models
from sophia_core.providers import build_providers, context_window, missing_keys
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from sophia_core.embedded import EmbeddedServer, Progress
    from sophia_core.settings import Loaded

COMMAND_OWNERS: tuple[type, ...] = (Chat, Sessions, Models, Vault)
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
        self.providers = build_providers(settings, self._env, self.embedded, self._list_models)
        self.client = BackendClient(self.providers, transport=self._transport, on_attempt=self._attempted)
        self.degradation = Degradation(self.bus, [provider.name for provider in self.providers])
        secret = settings.passphrase
        self.vault = Vault(
            StorePaths(paths.store_dir, paths.device_dir),
            self.bus,
            passphrase=secret.get_secret_value() if secret else None,
            allow_keyring=self._env.get("SOPHIA_NO_KEYRING", "") == "",
        )
        self.chat = Chat(self.vault, self.client, self.bus, self.current, settings.chat, self._window)
        self.sessions = Sessions(self.vault, self.bus, self.current)
        self.drafts = Drafts(self.vault)
        self.models = Models(self.client, self.providers, self.bus, self.current)
        for owner in (self.chat, self.sessions, self.models, self.vault):
            self.registry.collect(owner)
        self.log: Log | None = None
        self._warming: asyncio.Task[None] | None = None

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

    def _attempted(self, attempt: Attempt) -> None:
        if attempt.error is not None:
            wait = attempt.retry_in_s
            event = AttemptFailed(
                attempt.request_id, attempt.provider, attempt.attempt, str(attempt.error), wait is not None, wait or 0.0
            )
            self.bus.publish(event)

    def _window(self) -> int | None:
        return context_window(self.provider)

    @property
    def provider(self) -> Provider:
        """The provider that the next question goes to."""
        chosen = (each for each in self.providers if each.name == self.current.provider)
        return next(chosen, self.providers[0])

    async def _list_models(self, endpoint: Endpoint) -> list[ModelCard]:
        probe = Provider(name=self.providers[0].name, source=StaticEndpoint(endpoint))
        return await BackendClient([probe], transport=self._transport).models(probe.name)

    async def start(self, *, create: bool = True) -> None:
        """Opens the log and the store and tells what was wrong with the settings. Does not raise for any of them."""
        log = await asyncio.to_thread(Log, self.paths.log_file, self.settings.log.level, self.settings.log.max_bytes)
        self.log = log
        self.bus.subscribe(log)
        self.bus.subscribe(self.degradation)
        if log.problem:
            self.bus.publish(Notice("warning", log.problem, "SOPHIA goes on without a log."))
        for problem in self._loaded.problems:
            self.bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
        for name, variable in missing_keys(self.settings, self._env):
            self.bus.publish(Notice("warning", f"{name}: {variable} is not set.", f"export {variable}=… and restart."))
        await self.vault.open(create=create)

    def prewarm(self) -> None:
        """Loads the embedded model in the background when it is the one that will answer."""
        if self.embedded and self.settings.embedded.prewarm and self.provider.source is self.embedded:
            self._warming = self.embedded.warm(self.settings.chat.system_prompt)

    async def dispatch(self, line: str, *, confirmed: bool = False) -> object:
        """Runs a command line as one user action, under one correlation id. Raises CommandError."""
        correlation.set(new_request_id())
        return await self.registry.run_line(line, confirmed=confirmed)

    async def run(self, name: str, *args: object, confirmed: bool = False, **kwargs: object) -> object:
        """Runs a command with values as one user action, under one correlation id. Raises CommandError."""
        correlation.set(new_request_id())
        return await self.registry.run(name, *args, confirmed=confirmed, **kwargs)

    async def close(self) -> None:
        """Stops what runs, keeps what has arrived, and closes everything."""
        await self.chat.close()
        if self._warming:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        if self.embedded:
            await self.embedded.stop()
        await self.client.aclose()
        await self.vault.close()
        if self.log:
            self.log.close()


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
