"""What a run is likely to use, told before it begins: by the models that its personas would ask, and their prices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from backend_client.types import Provider, UsageChunk
from sophia_core.commands import CommandError
from sophia_core.providers import EMBEDDED
from sophia_core.swarm.plan import Plan, Step

if TYPE_CHECKING:
    from sophia_core.server_side import ServerSide
    from sophia_core.swarm.estimating import Estimate, Rate

FREE: Final = "costs nothing here"
DELEGATE: Final = "delegate"
"""The tool by which a step asks for agents under it."""
Wants: TypeAlias = Callable[[str | None], Awaitable[tuple[str | None, str | None]]]
"""The provider and the model that a persona would be answered by, as far as it says."""


class Preview:
    """Estimates plans. Asks no server."""

    def __init__(self, asked: ServerSide) -> None:
        self._asked = asked
        self.wants: Wants | None = None
        self.roles: Callable[[], Awaitable[Collection[str]]] | None = None
        """The names of the personas there are, where somebody knows them."""
        self.speeds: Callable[[], Awaitable[Mapping[str, float]]] | None = None
        """Tokens per second that were measured here, by model and by provider."""

    async def refuse(self, plan: Plan) -> None:
        """Raises CommandError for a plan that names a persona or a tool that there is not: better now than halfway."""
        from sophia_core.swarm.checking import Known, problems_of
        from sophia_core.swarm.tools.hands import NAMES

        roles = await self.roles() if self.roles is not None else None
        if found := problems_of(plan, Known(roles=roles, tools=(*NAMES, DELEGATE))):
            raise CommandError(f"{found[0].where}: {found[0].message}", found[0].fix)

    async def words(self, plan: Plan, values: Mapping[str, str]) -> str:
        """Say it as one line."""
        from sophia_core.swarm.estimating import words

        return words(await self.estimate(plan, values), plan).removesuffix(".")

    async def data(self, plan: Plan, values: Mapping[str, str]) -> dict[str, Any]:
        """Return it as the run keeps it, to be held against what it used."""
        from sophia_core.swarm.estimating import estimate_data

        return estimate_data(await self.estimate(plan, values))

    async def estimate(self, plan: Plan, values: Mapping[str, str]) -> Estimate:
        """Return what a run of the plan is likely to use."""
        from sophia_core.swarm.estimating import estimate

        speeds = await self.speeds() if self.speeds is not None else {}
        return estimate(plan, values, {each.id: await self._rate(each, speeds) for each in plan.steps})

    async def _rate(self, step: Step, speeds: Mapping[str, float]) -> Rate:
        from sophia_core.swarm.estimating import Rate

        name, model = await self.wants(step.role) if self.wants is not None else (None, None)
        provider = self._provider(name)
        model = step.model or model or provider.name
        small = provider.name == EMBEDDED
        price, known = _price(provider, model)
        speed = speeds.get(model) or speeds.get(provider.name)
        return Rate(model, provider.name, price, known, speed, free_tools=not small)

    def _provider(self, name: str | None) -> Provider:
        found = next((each for each in self._asked.providers if each.name == name), None)
        return found or self._asked.provider


def _price(provider: Provider, model: str) -> tuple[Callable[[float, float], float] | None, str]:
    """What so many tokens cost there, and how that is known; None where nobody knows."""
    tried = provider.priced(UsageChunk(1_000_000, 1_000_000), model)
    if tried.cost_usd is None:
        return (None, "") if provider.paid else ((lambda tokens_in, tokens_out: 0.0), FREE)

    def price(tokens_in: float, tokens_out: float) -> float:
        return provider.priced(UsageChunk(round(tokens_in), round(tokens_out)), model).cost_usd or 0.0

    return price, tried.cost_known
