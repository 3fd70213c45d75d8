"""Models: which there are, and which one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend_client.errors import BackendError
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, Notice
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing

if TYPE_CHECKING:
    from backend_client import BackendClient
    from backend_client.types import Provider


AUTO = "auto"


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
            self._choose(None, model)
            return f"The best provider that can be reached answers from now on{f' with {model}' if model else ''}."
        names = [each.name for each in self._providers]
        if provider not in names:
            known = ", ".join(names) + (f", and {AUTO} for all of them" if len(names) > 1 else "")
            raise CommandError(f"There is no provider {provider!r}.", f"Known: {known}.")
        self._choose(provider, model)
        return f"{provider} answers from now on{f' with {model}' if model else ''}."

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
