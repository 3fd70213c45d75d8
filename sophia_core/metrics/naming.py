"""Writing targets down and taking them out again: the commands, and what the wizard offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend_client.address import path_under
from backend_client.errors import BackendError
from sophia_core.commands import BadArguments, CommandError, command
from sophia_core.events import Bus, SettingChanged
from sophia_core.metrics.metrics import OFF, Metrics
from sophia_core.metrics.targets import GPUS, Offer, offers, plain
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.connecting import Connecting
    from sophia_core.metrics.settings import MetricsTarget

Kind = Literal["vllm", "llamacpp", "dcgm", "node", "gateway", "other"]


class Naming:
    """Who is asked for numbers, as the config file has it."""

    def __init__(self, metrics: Metrics, connecting: Connecting, config_file: Path, bus: Bus) -> None:
        self._metrics, self._connecting, self._config_file, self._bus = metrics, connecting, config_file, bus

    @command("metrics.find")
    async def find(self) -> list[Offer] | str:
        """Find what tells numbers on this machine and is not asked yet: servers, the GPU's and the host's exporter."""
        found = await self.offered()
        return found or "Nothing else on this machine tells numbers at its usual port."

    async def offered(self) -> list[Offer]:
        """What could be asked, too."""
        servers, exporters = await self._connecting.here()
        return offers(servers, exporters, self._metrics.targets)

    @command("metrics.add", audited=True)
    async def add(self, name: str, url: str, kind: Kind | None = None, key_variable: str = "") -> str:
        """Ask something for its numbers from now on; `key_variable` names the variable that holds the key it wants."""
        values: dict[str, str | int | float | bool | list[str]] = {"name": name, "url": url.strip()}
        values |= {"kind": kind} if kind else {}
        values |= {"api_key_env": key_variable} if key_variable else {}
        each = self._checked(values)
        from sophia_core.config_file import add_table

        await self._written(lambda: add_table(self._config_file, "metrics.targets", values))
        self._metrics.take((*self._metrics.settings.targets, each))
        self._bus.publish(SettingChanged(f"metrics.targets.{name}", None, each.url, "metrics.add"))
        return f"{name} is asked from now on." if self._metrics.settings.enabled else f"{name} is written down. {OFF}"

    def _checked(self, values: Mapping[str, object]) -> MetricsTarget:
        from pydantic import ValidationError

        from sophia_core.metrics.settings import MetricsTarget

        try:
            each = MetricsTarget.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            why = first["msg"].removeprefix("Value error, ")
            raise BadArguments(f"{first['loc'][0]}: {why[:1].lower()}{why[1:]}.", "Nothing was written.") from None
        try:
            path_under(each.url, "")
        except BackendError as error:  # what is behind a ? may be a key, and would be written down in clear
            raise BadArguments(f"url: {error.message}.", "Name the variable with a key as key_variable.") from None
        if each.name == GPUS or any(known.name == each.name for known in self._metrics.settings.targets):
            raise BadArguments(f"A target is called {each.name!r} already.", "Choose another name.")
        if any(known.url == plain(each.url) for known in self._metrics.targets):
            raise BadArguments(f"{each.url} is asked already.", "metrics.targets lists them.")
        return each

    async def _written(self, write: Callable[[], object]) -> object:
        try:
            return await asyncio.to_thread(write)
        except (OSError, ValueError) as error:
            where = str(self._config_file)
            raise CommandError(f"The config could not be written: {one_line(str(error), 160)}", where) from None

    @command("metrics.remove", audited=True)
    async def remove(self, name: str) -> str:
        """Ask a target no more, and take it out of the config; what it told is kept as long as everything."""
        known = [each.name for each in self._metrics.settings.targets]
        if name not in known:
            hint = f"Written down: {', '.join(known) or 'none'}."
            own = any(each.name == name for each in self._metrics.targets)
            hint = "It is a provider's: settings.set metrics.providers false asks none of them." if own else hint
            raise BadArguments(f"No target {one_line(name, 60)!r} is written down.", hint)
        from sophia_core.config_file import remove_table

        gone = await self._written(lambda: remove_table(self._config_file, "metrics.targets", name))
        if not gone:
            raise CommandError(f"{name} is not in {self._config_file}.", "Is it set in the environment?")
        self._metrics.take(tuple(each for each in self._metrics.settings.targets if each.name != name))
        self._bus.publish(SettingChanged(f"metrics.targets.{name}", name, None, "metrics.remove"))
        return f"{name} is not asked any more."
