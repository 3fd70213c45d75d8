"""Models: which there are, and which one answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend_client.errors import BackendError
from backend_client.types import Endpoint
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, Notice
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing

if TYPE_CHECKING:
    from backend_client import BackendClient
    from backend_client.types import Provider


AUTO = "auto"
ASKING_S = 2.0
"""How long a server may take to say which models it has, when one is named without it."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that can be chosen with `/model`."""

    provider: str
    model: str
    context_window: int | None


class Models:
    """The commands that choose who answers; `changed` is called when somebody else is chosen."""

    def __init__(
        self,
        client: BackendClient,
        providers: Sequence[Provider],
        bus: Bus,
        current: Current,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._providers, self._bus, self._current = client, providers, bus, current
        self._changed = changed
        self.undoing = Undoing()

    @command("model.list", slash="models")
    async def list(self) -> list[OfferedModel]:
        """List the models of every provider that answers."""
        offered: list[OfferedModel] = []
        for provider in self._providers:
            try:
                cards = await self._client.models(provider.name)
            except BackendError as error:
                self._bus.publish(Notice("warning", str(error), error.hint))
            else:
                offered += [OfferedModel(provider.name, card.id, card.context_window) for card in cards]
        return offered

    @command("model.use", slash="model")
    async def use(self, provider: str, model: str | None = None) -> str:
        """Let this provider (and this model of it) answer from now on, and no other; `auto` lets all of them again."""
        if provider == AUTO:
            self._current.preference = (None, None)
            self._choose(None, model)
            return f"The best provider that can be reached answers from now on{f' with {model}' if model else ''}."
        names = [each.name for each in self._providers]
        if provider not in names:
            known = ", ".join(names) + (f", and {AUTO} for all of them" if len(names) > 1 else "")
            raise CommandError(f"There is no provider {provider!r}.", f"Known: {known}.")
        self._choose(provider, model)
        return f"{provider} answers from now on{f' with {model}' if model else ''}."

    async def named(self, name: str) -> tuple[str | None, str | None]:
        """The provider and the model that are meant by `model@provider`, the name of either, or `auto`; None is any.

        Raises CommandError where nobody offers such a model, as far as they say.
        """
        names = [each.name for each in self._providers]
        if name in (AUTO, *names):
            return (None if name == AUTO else name), None
        model, at, provider = name.rpartition("@")
        if at and model and provider in (AUTO, *names):
            return (None if provider == AUTO else provider), model
        offering, silent = await self._who_offers(name)
        if not offering and not silent:
            known = f"Providers: {', '.join(names)}. /models lists their models; MODEL@PROVIDER names one."
            raise CommandError(f"Nobody offers a model {name!r}.", known)
        chosen = self._current.provider
        return (chosen if chosen in offering else offering[0] if offering else None), name

    async def _who_offers(self, model: str) -> tuple[Sequence[str], bool]:
        """The providers that have a model, best first, and whether one did not say. None is started for it."""
        places = [(each.name, getattr(each.source, "endpoint", None)) for each in self._by_tier()]
        there = [(name, place) for name, place in places if isinstance(place, Endpoint)]
        if configured := [name for name, place in there if place.model == model]:
            return configured, False
        offered = await asyncio.gather(*(self._offered_by(name) for name, _ in there))
        able = [name for (name, _), models in zip(there, offered, strict=True) if models and model in models]
        return able, any(models is None for models in offered)

    def _by_tier(self) -> Sequence[Provider]:
        return sorted(self._providers, key=lambda each: each.tier)

    async def _offered_by(self, provider: str) -> frozenset[str] | None:
        """The models of a provider; None where it does not say in time."""
        try:
            async with asyncio.timeout(ASKING_S):
                return frozenset(card.id for card in await self._client.models(provider))
        except (BackendError, TimeoutError):
            return None

    def _choose(self, provider: str | None, model: str | None) -> None:
        before = self._current.provider, self._current.model
        self._set(provider, model)

        async def undo() -> None:
            self._set(*before)

        async def redo() -> None:
            self._set(provider, model)

        if before != (provider, model):
            self.undoing.record(Change(f"{' '.join(filter(None, (provider or AUTO, model)))} answers", undo, redo))

    def _set(self, provider: str | None, model: str | None) -> None:
        self._current.provider, self._current.model = provider, model
        self._changed()
