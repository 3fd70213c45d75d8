"""What is measured, and what follows from it: numbers, traces, objectives, alerts, healing, costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.alerts.alerts import Alerts
from sophia_core.alerts.findings import HERE
from sophia_core.alerts.own_reading import own_reading
from sophia_core.alerts.rule import Spent
from sophia_core.alerts.secrets import variables
from sophia_core.costs.costs import Costs
from sophia_core.costs.metering import Meter
from sophia_core.events import FREQUENT
from sophia_core.healing.healing import Healing, of_providers
from sophia_core.metrics.metrics import Metrics
from sophia_core.metrics.naming import Naming
from sophia_core.metrics.tracing import Traces
from sophia_core.objectives.books import OwnBooks
from sophia_core.objectives.objectives import Objectives

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.events import Bus
    from sophia_core.metrics.otlp_metrics import MetricsExport
    from sophia_core.metrics.ports import Reading
    from sophia_core.server_side import ServerSide
    from sophia_core.settings import Loaded
    from sophia_core.vault import Vault

OWNERS: Final[tuple[type, ...]] = (Objectives, Traces, Metrics, Naming, Alerts, Healing, Costs)
"""The classes of this side that have commands."""


class MeasuringSide:
    """Built without asking or counting anything; `listen` begins to count, `attend` to ask and to tell."""

    def __init__(
        self,
        loaded: Loaded,
        vault: Vault,
        bus: Bus,
        asked: ServerSide,
        transport: Transport,
        env: Mapping[str, str],
    ) -> None:
        self._loaded, self._vault, self._bus, self._asked = loaded, vault, bus, asked
        settings = loaded.settings
        self.metrics = Metrics(loaded, vault, bus, transport, asked.providers, env, embedded=asked.embedded)
        self.targets = Naming(self.metrics, asked.connecting, loaded.paths.config_file, bus)
        self.traces = Traces(vault, bus, settings.traces, env)
        self._told = self._teller(env)
        self.objectives = Objectives(settings.slo, bus, OwnBooks(self.metrics.own, vault))
        self._build_costs()
        self.healing = Healing(settings.healing, asked.client.fleet, bus, self._told_by_providers)
        self.alerts = Alerts(vault, bus, transport, settings.alerts, self._alerts_file, env)
        self._feed_alerts()
        asked.login.others.append(self.alerts.accounts)

    def _teller(self, env: Mapping[str, str]) -> MetricsExport | None:
        """Who tells a collector of the numbers, where one is named."""
        settings, metrics = self._loaded.settings, self.metrics
        if not (endpoint := settings.metrics.otlp_endpoint):
            return None
        from sophia_core.metrics.otlp_metrics import MetricsExport

        return MetricsExport(
            endpoint,
            env.get(settings.metrics.otlp_headers_env or "", ""),
            self._bus,
            metrics.own,
            lambda: (metrics.targets, metrics.readings()),
            every_s=settings.metrics.otlp_interval_s,
            old_names=settings.traces.names == "old",
        )

    def _build_costs(self) -> None:
        """What answers cost, and who stops when too much is spent."""
        asked, measured, settings = self._asked, self.metrics, self._loaded.settings.costs
        self.costs = Costs(
            settings,
            self._vault,
            self._bus,
            asked.client.cap,
            asked.prices,
            asked.costing,
            alerted=lambda: self.alerts.running,
            changed=asked.degradation.look,
        )
        self.meter = Meter(
            settings.hourly_usd,
            measured.readings,
            lambda: {each.name: each.provider for each in measured.targets},
            asked.login.who,
        )

    def _feed_alerts(self) -> None:
        """What alerts are about: everything that is known on this side."""
        measured, sources = self.metrics, self.alerts.sources
        sources.readings = lambda: {**measured.readings(), HERE: own_reading(measured.own, time.time())}
        sources.asked = lambda: {HERE, *(each.name for each in measured.targets)}
        sources.objectives, sources.budgets = self.objectives.states, self._budgets
        sources.interval_s = self._loaded.settings.metrics.interval_s
        sources.anomalies = self.healing.scores

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (self.objectives, self.traces, self.metrics, self.targets, self.alerts, self.healing, self.costs)

    @property
    def secret_variables(self) -> list[str]:
        """The environment variables that hold what alerts are told with."""
        return list(variables(self._alerts_file))

    @property
    def _alerts_file(self) -> Path:
        return self._loaded.paths.config_file.with_name("alerts.toml")

    def _told_by_providers(self) -> list[tuple[str, Reading]]:
        targets = [(each.name, each.provider) for each in self.metrics.targets]
        return of_providers(targets, self.metrics.readings())

    def _budgets(self) -> dict[str, Spent]:
        cap = self._asked.client.cap
        capped = {} if cap.limit_usd is None else {"paid answers today": Spent(cap.spent_usd, cap.limit_usd)}
        return {**capped, **self.costs.budgets()}

    def listen(self) -> None:
        """Count from now on. Before the log subscribes: its lines name the trace they belong to."""
        for each in (self.metrics.own, self.objectives, self.meter, self.costs, self.healing, self.traces):
            self._bus.subscribe(each, without=FREQUENT)
        if self._told is not None:
            self._told.listen()

    def attend(self) -> None:
        """A person is here: ask for numbers, keep them, and tell what is wrong."""
        self.metrics.attend()
        if self._told is not None:
            self._told.attend()
        self.objectives.attend()
        self.alerts.start()

    async def rest(self) -> None:
        """Let go of the store before it is locked. Counting goes on."""
        for each in (self.traces.forget, self.metrics.rest, self.alerts.rest):
            await each()

    async def close(self) -> None:
        """Stop asking and telling, and write what was counted. Before the store is closed."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.traces.close)
            last_first.push_async_callback(self.metrics.close)
            if self._told is not None:
                last_first.push_async_callback(self._told.close)
            last_first.push_async_callback(self.objectives.close)
            last_first.push_async_callback(self.alerts.close)
            last_first.push_async_callback(self.costs.close)
