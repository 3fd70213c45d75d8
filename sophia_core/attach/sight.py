"""Who can look at pictures: what is configured, what servers say of their models, and what showing them one proves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backend_client.errors import BackendError, InvalidRequest
from backend_client.sight import likely_sees
from backend_client.types import ChatMessage, ChatRequest, Chunk, Endpoint, Image, TextChunk
from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from backend_client import BackendClient
    from backend_client.routing import Ranked
    from backend_client.types import Provider
    from sophia_core.state import Current

ASKING_S: Final = 2.0
"""How long servers may take to say what their models can."""
SHOWING_S: Final = 60.0
UNABLE: Final = ("capability", "model")
MOST_MODELS: Final = 20
"""Of one provider that are offered."""
_DOT: Final = ChatMessage("user", "?", images=(Image("image/png", b"?"),))
TAKE_OFF: Final = "/attach.remove takes the picture off again"


@dataclass(frozen=True, slots=True)
class Seer:
    """Somebody who can look at pictures, as far as is known."""

    provider: str
    model: str | None = None
    """None: the model that it answers with anyway."""


class Blind(CommandError):
    """Whoever would answer cannot look at a picture that goes along."""

    def __init__(self, message: str, hint: str, able: Sequence[Seer] = ()) -> None:
        super().__init__(message, hint)
        self.able = tuple(able)
        """Who could be asked instead."""


class Sight:
    """Finds out who can see. `image.probe` settles it where nobody says."""

    def __init__(self, client: BackendClient, providers: Sequence[Provider], current: Current) -> None:
        self._client, self._providers, self._current = client, providers, current

    async def problem(self, *, ask: bool = True, of: Current | None = None) -> Blind | None:
        """Why nobody who may answer now (or `of` those) can look at a picture, and what to do; None when somebody can.

        Servers that have not said what their models can are asked first, unless `ask` is false.
        """
        provider, model = (of or self._current).route
        if self._able(provider, model):
            return None
        if ask:
            await self._ask_servers()
        if self._able(provider, model):
            return None
        who = " ".join(filter(None, (provider or self._first(), model)))
        others = self._able(None, None)
        if others:
            hint = f"/model.use {others[0]} lets {others[0]} answer, which can; {TAKE_OFF}."
        else:
            hint = f"If it can all the same, /image.probe shows it a small one; {TAKE_OFF}."
        mine = of is None or of is self._current
        return Blind(f"{who} cannot look at pictures, as far as is known.", hint, self.seers() if mine else ())

    def seers(self) -> list[Seer]:
        """Everybody who can: providers as they are, and other models that they have told of or are configured for."""
        found = [Seer(name) for name in self._able(None, None)]
        for each in self._providers:
            station = self._client.fleet.stations.get(each.name)
            told = {} if station is None else station.told
            named = [each for each, can in told.items() if (likely_sees(each) if can is None else "vision" in can)]
            models = [*named, *(model for model in sorted(each.models) if model not in told and likely_sees(model))]
            offered = [Seer(each.name, model) for model in models if self._able(each.name, model)]
            found += offered[:MOST_MODELS] if Seer(each.name) not in found else ()
        return found

    def _able(self, provider: str | None, model: str | None) -> list[str]:
        return [each.provider for each in self._route(provider, model) if each.refusal not in UNABLE]

    def _route(self, provider: str | None, model: str | None) -> tuple[Ranked, ...]:
        try:
            return self._client.explain(ChatRequest((_DOT,), model=model), provider)
        except InvalidRequest:
            return ()

    def _first(self) -> str:
        route = self._client.explain(ChatRequest((), model=self._current.model))
        return next((each.provider for each in route if each.refusal is None), route[0].provider if route else "nobody")

    async def _ask_servers(self) -> None:
        """Those that are there already; none is started for it."""
        there = [each for each in self._providers if isinstance(getattr(each.source, "endpoint", None), Endpoint)]
        if there:
            await asyncio.gather(*(self._ask_server(each.name) for each in there))

    async def _ask_server(self, name: str) -> None:
        with contextlib.suppress(BackendError, TimeoutError):
            async with asyncio.timeout(ASKING_S):
                await self._client.models(name)

    @command("image.probe")
    async def probe(self, provider: str | None = None) -> str:
        """Find out whether a provider's model looks at pictures, by showing it a red one; costs some tokens."""
        name = provider or self._current.provider or self._first()
        model = await self._model_of(name)
        self._learn(name, model, sees=True)
        said = ""
        try:
            async with asyncio.timeout(SHOWING_S), contextlib.aclosing(self._show(name)) as answer:
                async for chunk in answer:
                    said += chunk.text if isinstance(chunk, TextChunk) else ""
        except (BackendError, TimeoutError) as error:
            self._learn(name, model, sees=None)
            reason = str(error) or "it took too long"
            raise CommandError(f"{name} did not take the picture: {reason}", "Ask another provider.") from None
        except BaseException:
            self._learn(name, model, sees=None)
            raise
        sees = "red" in said.lower()
        self._learn(name, model, sees=sees)
        if sees:
            return f"{name} sees: {model} named the colour of a picture. It gets pictures from now on."
        return f"{name} took the picture, but {model} did not say what is on it: it gets none."

    def _show(self, name: str) -> AsyncGenerator[Chunk, None]:
        from sophia_core.attach.pictures import plain_png

        picture = Image("image/png", plain_png(64, 64, (220, 20, 20)))
        asked = ChatMessage("user", "Which colour fills this picture? Answer with one word.", images=(picture,))
        request = ChatRequest((asked,), model=self._current.model, max_tokens=200, temperature=0, flow="sight")
        return self._client.stream(request, name)

    def _learn(self, name: str, model: str, *, sees: bool | None) -> None:
        self._client.learn(name, model, sees=sees)

    async def _model_of(self, name: str) -> str:
        """The model that a provider would answer with."""
        known = next((each for each in self._providers if each.name == name), None)
        if known is None:
            raise CommandError(f"There is no provider {name!r}.", "/route lists them.")
        endpoint = getattr(known.source, "endpoint", None)
        model = self._current.model or (endpoint.model if isinstance(endpoint, Endpoint) else None)
        if model is None:
            with contextlib.suppress(BackendError):
                model = next((card.id for card in await self._client.models(name)), None)
        return model or ""
