"""Connecting to servers: find those of this machine, look at an address, and write one down as a provider."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from sophia_core.commands import BadArguments, CommandError, command
from sophia_core.config_file import add_table, remove_table, set_value
from sophia_core.events import Bus, Notice, SettingChanged
from sophia_core.models import AUTO
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.discover import Exporter, Found
    from backend_client.transport import Transport
    from sophia_core.settings import ProviderSettings, Settings

NOT_A_NAME: Final = re.compile(r"[^a-z0-9_.-]+")
NOBODY_HERE: Final = "No server answers at the usual ports of this machine."
HOW_TO: Final = "Start one (vLLM, llama.cpp, Ollama), or name another address: provider.add NAME URL."


@dataclass(frozen=True, slots=True)
class ServerRow:
    """What answers at an address, as a line of a list."""

    address: str
    kind: str
    models: str
    context_window: int | None
    latency_ms: int
    key: str
    metrics: str


class Users(Protocol):
    """Whoever asks the providers."""

    def in_use(self, name: str) -> bool: ...

    async def forget_secrets(self, name: str) -> None: ...

    def release(self, name: str, instead: str | None) -> bool: ...


class Connecting:
    """The commands that find and add providers. `adopt` puts one to use at once, and says whether it could."""

    def __init__(
        self,
        transport: Transport,
        config_file: Path,
        settings: Settings,
        bus: Bus,
        adopt: Callable[[ProviderSettings], bool] = lambda each: False,
        users: Users | None = None,
    ) -> None:
        self._transport, self._config_file, self._bus, self._adopt = transport, config_file, bus, adopt
        self._alone, self._users = settings.base_url, users
        self.names = [each.name for each in settings.providers]

    async def here(self) -> tuple[list[Found], list[Exporter]]:
        """The servers and exporters of this machine."""
        from backend_client.discover import on_this_machine

        return await on_this_machine(self._transport)

    async def look(self, address: str, key: str = "") -> Found:
        """What answers at this address."""
        from backend_client.discover import look_at

        return await look_at(address, self._transport, key=key)

    @command("provider.find")
    async def find(self) -> list[ServerRow]:
        """Find servers on this machine at their usual ports: vLLM, llama.cpp, Ollama, and the GPU's exporter."""
        servers, exporters = await self.here()
        if not servers and not exporters:
            raise CommandError(NOBODY_HERE, HOW_TO)
        measured = [ServerRow(each.url, f"{each.name} exporter", "", None, 0, "", "yes") for each in exporters]
        return [*map(_row, servers), *measured]

    @command("provider.look")
    async def look_at(self, url: str) -> list[str]:
        """Look at an address: its health, models, whether it wants a key, its metrics, how fast it answers."""
        from backend_client.discover import summary

        return [one_line(line, 300) for line in summary(await self.look(url))]

    @command("provider.add", audited=True)
    async def add(self, name: str, url: str, model: str = "", key_variable: str = "") -> str:
        """Write a server down as a provider; `key_variable` names the environment variable that holds its key."""
        values: dict[str, str | int | float | bool | list[str]] = {"name": name, "base_url": url.strip()}
        values |= {"model": model} if model else {}
        values |= {"api_key_env": key_variable} if key_variable else {}
        each = self._checked(values)
        try:
            await asyncio.to_thread(add_table, self._config_file, "providers", values)
        except (OSError, ValueError) as error:
            where = str(self._config_file)
            raise CommandError(f"The config could not be written: {one_line(str(error), 160)}", where) from None
        self.names.append(name)
        self._bus.publish(SettingChanged(f"providers.{name}", None, each.base_url, "provider.add"))
        return self._said(each)

    async def _removable(self, name: str, instead: str | None = None) -> None:
        self._check_removal(name, instead)

    @command("provider.remove", dangerous=True, check=_removable)
    async def remove(self, name: str, *, instead: str | None = None) -> str:
        """Take a provider out of the config, and forget its key; `instead` answers from now on where it was chosen."""
        self._check_removal(name, instead)
        try:
            gone = await asyncio.to_thread(remove_table, self._config_file, "providers", name)
            if gone and instead:
                await asyncio.to_thread(set_value, self._config_file, "provider", None if instead == AUTO else instead)
        except (OSError, ValueError) as error:
            where = str(self._config_file)
            raise CommandError(f"The config could not be written: {one_line(str(error), 160)}", where) from None
        if not gone:
            hint = "Is it set in the environment, as SOPHIA_PROVIDERS__…?"
            raise CommandError(f"{name} is not in {self._config_file}.", hint)
        if self._users is not None:
            await self._users.forget_secrets(name)
        self.names.remove(name)
        self._bus.publish(SettingChanged(f"providers.{name}", name, None, "provider.remove"))
        ended = self._users is not None and self._users.release(name, instead)
        return f"{name} is taken out{'' if ended else '; it is asked until you leave'}."

    def _check_removal(self, name: str, instead: str | None) -> None:
        if name not in self.names:
            known = ", ".join(self.names) or "none"
            alone = not self.names and self._alone
            hint = "base_url names the one in use: /settings says where that is set." if alone else ""
            raise BadArguments(f"No provider {name!r} is written down.", hint or f"Written down: {known}.")
        if instead is not None and (instead == name or instead not in (*self.names, "embedded", AUTO)):
            raise BadArguments(f"{instead!r} cannot take its place.", f"Name another provider, or {AUTO}.")
        if instead is None and self._users is not None and self._users.in_use(name):
            hint = f"Say who answers then: /provider.remove {name} instead=NAME, or instead={AUTO}."
            raise CommandError(f"{name} is the provider that you chose.", hint)

    def _checked(self, values: dict[str, str | int | float | bool | list[str]]) -> ProviderSettings:
        from pydantic import ValidationError

        from sophia_core.settings import RESERVED, ProviderSettings

        name = str(values["name"])
        if name in RESERVED or name in self.names:
            what = "has a meaning of its own" if name in RESERVED else "is there already"
            raise BadArguments(f"The name {name!r} {what}.", "Choose another one.")
        try:
            return ProviderSettings.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            why = first["msg"].removeprefix("Value error, ")
            raise BadArguments(f"{first['loc'][0]}: {why[:1].lower()}{why[1:]}.", "Nothing was written.") from None

    def _said(self, each: ProviderSettings) -> str:
        if self._alone:
            self._bus.publish(Notice("warning", "base_url stands alone: it goes before all providers.", "Unset it."))
            return f"The server {each.name} is written down; it is not asked while base_url is set."
        if self._adopt(each):
            return f"The server {each.name} answers from now on."
        return f"The server {each.name} is written down; it answers from the next start on."


def name_for(address: str, taken: list[str], kind: str | None = None) -> str:
    """A short name for a server, that no other has."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    host = (parts.hostname or "server").lower()
    local = host in ("localhost", "127.0.0.1", "::1")
    stem = NOT_A_NAME.sub("-", (kind or f"port-{parts.port or 80}") if local else host.removeprefix("api.")).strip("-.")
    stem = (stem or "server")[:40]
    from sophia_core.settings import RESERVED

    number, name = 1, stem
    while name in taken or name in RESERVED:
        number += 1
        name = f"{stem}-{number}"
    return name


def open_way(address: str) -> str:
    """A warning where a key would travel unencrypted over a network; empty otherwise."""
    from backend_client.address import is_loopback

    plain = urlsplit(address).scheme == "http" and not is_loopback(address)
    return " (it would travel there unencrypted: the address is http)" if plain else ""


def _row(found: Found) -> ServerRow:
    first = found.models[0] if found.models else None
    return ServerRow(
        found.base_url,
        found.kind or "openai",
        one_line(", ".join(card.id for card in found.models[:3]), 80) or one_line(found.error, 80),
        first.context_window if first else None,
        round(found.latency_ms),
        "needed" if found.wants_key else "",
        "yes" if found.metrics_url else "",
    )
