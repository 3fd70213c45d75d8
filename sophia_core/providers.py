"""From settings to providers: who can answer, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from backend_client.auth import ApiKey, Auth, NoAuth, Secret
from backend_client.errors import EndpointUnavailable, NotFound
from backend_client.types import Endpoint, EndpointSource, ModelCard, Provider, StaticEndpoint, Timeouts

if TYPE_CHECKING:
    from sophia_core.settings import ProviderSettings, Settings

EMBEDDED = "embedded"


@dataclass(slots=True)
class FirstModel:
    """An endpoint whose model nobody named: asks the server once and takes the first one it offers."""

    endpoint: Endpoint
    list_models: Callable[[Endpoint], Awaitable[list[ModelCard]]]
    card: ModelCard | None = None

    async def ready(self) -> Endpoint:
        """The endpoint with a model. Raises BackendError when the server cannot be asked or offers none."""
        if self.card is None:
            cards = await self.list_models(self.endpoint)
            if not cards:
                raise NotFound(
                    f"{self.endpoint.base_url} offers no model.",
                    error_type="not_found",
                    hint="Name one with SOPHIA_MODEL or `model` in the config.",
                )
            self.card = cards[0]
        return Endpoint(self.endpoint.base_url, self.card.id, self.endpoint.auth)


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
    list_models: Callable[[Endpoint], Awaitable[list[ModelCard]]],
) -> list[Provider]:
    """The providers in order of preference. `SOPHIA_BASE_URL` stands alone; otherwise the configured ones come
    first and the embedded model, where there is one, comes last."""
    if settings.base_url:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        endpoint = Endpoint(settings.base_url, settings.model, _auth(key))
        return [Provider(name=_host(settings.base_url), source=_source(endpoint, list_models))]
    chosen = sorted(settings.providers, key=lambda each: each.name != settings.provider)
    providers = [_from_settings(each, settings, env, list_models) for each in chosen]
    if embedded is not None:
        own = Provider(
            name=EMBEDDED,
            source=embedded,
            timeouts=Timeouts(first_token=600.0, idle=180.0),
            context_window=settings.embedded.context,
        )
        providers.insert(0 if settings.provider == EMBEDDED else len(providers), own)
    return providers or [Provider(name="none", source=Nowhere())]


def _from_settings(
    each: ProviderSettings,
    settings: Settings,
    env: Mapping[str, str],
    list_models: Callable[[Endpoint], Awaitable[list[ModelCard]]],
) -> Provider:
    first = settings.providers and each.name == (settings.provider or settings.providers[0].name)
    model = settings.model if first and settings.model else each.model
    key = env.get(each.api_key_env, "") if each.api_key_env else ""
    return Provider(
        name=each.name,
        source=_source(Endpoint(each.base_url, model, _auth(key)), list_models),
        timeouts=Timeouts(
            connect=each.connect_timeout,
            first_token=each.first_token_timeout,
            idle=each.idle_timeout,
            total=each.total_timeout,
        ),
        max_attempts=each.max_attempts,
        context_window=each.context_window,
        price_prompt=each.price_prompt,
        price_completion=each.price_completion,
    )


def _source(endpoint: Endpoint, list_models: Callable[[Endpoint], Awaitable[list[ModelCard]]]) -> EndpointSource:
    return StaticEndpoint(endpoint) if endpoint.model else FirstModel(endpoint, list_models)


def _auth(key: str) -> Auth:
    return ApiKey(Secret(key)) if key else NoAuth()


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.hostname if parts.hostname and parts.port is None else parts.netloc.rpartition("@")[2]


def context_window(provider: Provider) -> int | None:
    """How many tokens the provider's model reads, where that is known."""
    if provider.context_window is not None:
        return provider.context_window
    source = provider.source
    return source.card.context_window if isinstance(source, FirstModel) and source.card else None


def missing_keys(settings: Settings, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Providers whose key variable is named in the config but not set: (provider, variable)."""
    return [(p.name, p.api_key_env) for p in settings.providers if p.api_key_env and not env.get(p.api_key_env)]
