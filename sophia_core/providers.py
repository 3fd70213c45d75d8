"""From settings to providers: who can answer, in which order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from backend_client.address import is_loopback
from backend_client.auth import ApiKey, Auth, NoAuth, Secret
from backend_client.dialects import kind_of
from backend_client.errors import BackendError, EndpointUnavailable, NotFound
from backend_client.types import Endpoint, EndpointSource, ModelCard, Provider, StaticEndpoint, Timeouts

if TYPE_CHECKING:
    from sophia_core.costs.prices import Prices
    from sophia_core.settings import ProviderSettings, Settings

EMBEDDED = "embedded"
CHOSEN_TIER, PAID_TIER, EMBEDDED_TIER = -1, 1, 2
"""A provider chosen by name goes first; servers that cost money come after the others, the small model here last."""
LOOK_UP_S = 2.0
"""How long a question waits for a server to say what its model can, where that is not needed to ask it."""


ListModels: TypeAlias = Callable[[str, Endpoint], Awaitable[list[ModelCard]]]
"""Asks an endpoint, under its provider's name, for its models."""


@dataclass(slots=True)
class Introduced:
    """An endpoint of which not all is known: its server is asked once for its models, and so for what it is.

    Where no model was named it takes the first that is offered, and has to be told of one. Where one was named a
    server that does not say is asked all the same, as it was described.
    """

    name: str
    endpoint: Endpoint
    list_models: ListModels
    card: ModelCard | None = None
    asked: bool = False

    async def ready(self) -> Endpoint:
        """The endpoint with all that is known of it. Raises BackendError when no model was named and none is told."""
        if self.endpoint.model is None:
            await self._choose()
        elif not self.asked:
            await self._look_up(self.endpoint.model)
        if self.card is None:
            return self.endpoint
        model = self.endpoint.model or self.card.id
        return replace(self.endpoint, model=model, kind=self.card.kind, context_window=self.card.context_window)

    async def _choose(self) -> None:
        if self.card is not None:
            return
        cards = await self.list_models(self.name, self.endpoint)
        if not cards:
            raise NotFound(
                f"{self.endpoint.base_url} offers no model.",
                error_type="not_found",
                hint="Name one with SOPHIA_MODEL or `model` in the config.",
            )
        self.card = cards[0]

    async def _look_up(self, model: str) -> None:
        with contextlib.suppress(BackendError, TimeoutError):
            async with asyncio.timeout(LOOK_UP_S):
                cards = await self.list_models(self.name, self.endpoint)
            self.card = next((card for card in cards if card.id == model), None)
        self.asked = True


@dataclass(frozen=True, slots=True)
class Nowhere:
    """What there is when no server is named rightly and nothing local may be started."""

    async def ready(self) -> Endpoint:
        """Raises EndpointUnavailable, always."""
        raise EndpointUnavailable("no server is configured", hint="Correct SOPHIA_BASE_URL, or unset it.")


def build_providers(
    settings: Settings,
    env: Mapping[str, str],
    embedded: EndpointSource | None,
    list_models: ListModels,
    auth_for: Callable[[ProviderSettings], Auth | None] = lambda each: None,
    prices: Prices | None = None,
) -> list[Provider]:
    """The providers in order of preference. `SOPHIA_BASE_URL` stands alone; otherwise the configured ones come
    first and the embedded model, where there is one, comes last. A provider chosen by name goes before all others.

    `auth_for` finds how to prove who we are where the environment holds no key."""
    if settings.base_url:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        endpoint = Endpoint(settings.base_url, settings.model, _auth(key))
        kind = kind_of(settings.base_url) or "openai"
        name = _host(settings.base_url)
        listed = prices.at(settings.base_url) if prices else None
        return [Provider(name, Introduced(name, endpoint, list_models), kind=kind, listed=listed)]
    chosen = sorted(settings.providers, key=lambda each: each.name != settings.provider)
    providers = [_from_settings(each, settings, env, list_models, auth_for, prices) for each in chosen]
    first = settings.provider == EMBEDDED
    if embedded is not None and (first or not providers or settings.routing.embedded_fallback):
        own = Provider(
            name=EMBEDDED,
            source=embedded,
            timeouts=Timeouts(first_token=600.0, idle=180.0),
            context_window=settings.embedded.context,
            kind="llamacpp",
            capabilities=frozenset({"chat"}),
            tier=CHOSEN_TIER if first else EMBEDDED_TIER,
            max_concurrent=1,
        )
        providers.insert(0 if first else len(providers), own)
    return providers or [Provider(name="none", source=Nowhere())]


def _from_settings(
    each: ProviderSettings,
    settings: Settings,
    env: Mapping[str, str],
    list_models: ListModels,
    auth_for: Callable[[ProviderSettings], Auth | None],
    prices: Prices | None,
) -> Provider:
    first = settings.providers and each.name == (settings.provider or settings.providers[0].name)
    model = settings.model if first and settings.model else each.model
    key = env.get(each.api_key_env, "") if each.api_key_env else ""
    auth = _auth(key) if key else auth_for(each) or NoAuth()
    kind = each.kind or kind_of(each.base_url) or "openai"
    paid = _costs_money(each)
    return Provider(
        name=each.name,
        source=_source(each, Endpoint(each.base_url, model, auth), list_models),
        timeouts=Timeouts(
            connect=each.connect_timeout,
            first_token=each.first_token_timeout,
            idle=each.idle_timeout,
            total=each.total_timeout,
        ),
        max_attempts=each.max_attempts,
        capabilities=frozenset(each.capabilities),
        kind=kind,
        tier=_tier(each, settings, paid=paid),
        models=frozenset(each.models),
        region=each.region,
        paid=paid,
        max_concurrent=each.max_concurrent,
        context_window=each.context_window,
        price_prompt=each.price_prompt,
        price_completion=each.price_completion,
        price_cached=each.price_cached,
        listed=prices.at(each.base_url) if prices else None,
    )


def _source(each: ProviderSettings, endpoint: Endpoint, list_models: ListModels) -> EndpointSource:
    """Nothing has to be asked where everything is said."""
    if endpoint.model and each.context_window and (each.kind or kind_of(each.base_url)):
        return StaticEndpoint(endpoint)
    return Introduced(each.name, endpoint, list_models)


def _tier(each: ProviderSettings, settings: Settings, *, paid: bool) -> int:
    if each.name == settings.provider:
        return CHOSEN_TIER
    return each.tier if each.tier is not None else PAID_TIER if paid else 0


def _costs_money(each: ProviderSettings) -> bool:
    """What was said of it, or else what its prices and its address suggest."""
    if each.paid is not None:
        return each.paid
    if each.price_prompt or each.price_completion:
        return True
    return not is_loopback(each.base_url) and kind_of(each.base_url) in ("openrouter", "openai")


def _auth(key: str) -> Auth:
    return ApiKey(Secret(key)) if key else NoAuth()


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.hostname if parts.hostname and parts.port is None else parts.netloc.rpartition("@")[2]


def described(providers: Sequence[Provider]) -> str:
    """Who can be asked, in words that change when a server or its model does."""
    endpoints = ((each, getattr(each.source, "endpoint", None)) for each in providers)
    return "\n".join(
        f"{each.name} {endpoint.base_url} {endpoint.model}" if isinstance(endpoint, Endpoint) else each.name
        for each, endpoint in endpoints
    )


def secret_variables(settings: Settings) -> list[str]:
    """The variables of the environment that hold keys: no program that is started gets to see them."""
    voice = settings.voice
    named = (*(each.api_key_env for each in settings.providers), voice.elevenlabs_key_env, voice.server_key_env)
    measured = (each.api_key_env for each in settings.metrics.targets)
    told = (settings.traces.otlp_headers_env, settings.metrics.otlp_headers_env)
    return [each for each in (*named, *measured, *told) if each]


def missing_keys(settings: Settings, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Providers whose key variable is named in the config but not set: (provider, variable)."""
    named = ((each.name, each.api_key_env) for each in settings.providers if not each.issuer)
    return [(name, variable) for name, variable in named if variable and not env.get(variable)]
