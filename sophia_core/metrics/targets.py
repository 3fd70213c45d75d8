"""Who is asked for numbers: what the settings name, the servers of the providers, and this machine's own GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from backend_client.address import health_url, insecure_transport
from backend_client.auth import ApiKey, Auth, NoAuth, Secret
from backend_client.errors import BackendError
from backend_client.types import Endpoint
from sophia_core.metrics.ports import Target, TargetKind
from sophia_core.providers import EMBEDDED
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.discover import Exporter, Found
    from backend_client.types import Provider
    from sophia_core.metrics.settings import MetricsSettings, MetricsTarget

OWN_KINDS: Final = frozenset({"vllm", "llamacpp"})
"""Kinds of servers that tell numbers at an address of their own."""
EMBEDDED_S: Final = 5.0
"""The least between two looks at the model on this machine: nobody else uses it, and it takes the same processor."""
GPUS: Final = "gpus"
"""What this machine's own GPUs are called as a target."""
SERVES: Final[Mapping[str, TargetKind]] = {"dcgm": "dcgm", "node": "node", "vllm": "vllm", "llamacpp": "llamacpp"}
MOST_TARGETS: Final = 100
OPEN: Final = NoAuth()


@dataclass(frozen=True, slots=True)
class Watched:
    """A target, and how to prove to it who we are."""

    target: Target
    auth: Auth


Problem: TypeAlias = tuple[str, str]
"""What is wrong with a target that was written down, and what to do about it."""


def targets_of(
    settings: MetricsSettings, providers: Iterable[Provider], env: Mapping[str, str], embedded: Endpoint | None = None
) -> tuple[list[Watched], list[Problem]]:
    """Everybody who is asked, those of the settings first; the same name or address is asked once.

    `embedded` is where the model on this machine answers, while it runs.
    """
    found: dict[str, Watched] = {}
    addresses: set[str] = set()
    problems: list[Problem] = []
    for each in settings.targets:
        watched = _written(each, settings, env)
        if each.name in found or each.name == GPUS:
            problems.append((f"Two targets are called {each.name!r}.", "The first is asked; give the other a name."))
        elif watched.target.url in addresses:
            problems.append((f"{each.name}: {each.url} is asked already.", "Take one of the two out."))
        else:
            found[each.name] = watched
            addresses.add(watched.target.url)
        if each.api_key_env and not env.get(each.api_key_env):
            problems.append((f"{each.name}: {each.api_key_env} is not set.", "It is asked without a key."))
        elif insecure_transport(Endpoint(watched.target.url, None, watched.auth)):
            problems.append((f"{each.name}: its key travels unencrypted.", "Write https:// where it speaks that."))
    for provider in providers if settings.providers else ():
        told = _of_provider(provider, settings, embedded)
        if told is not None and told.target.name not in found and told.target.url not in addresses:
            found[told.target.name] = told
            addresses.add(told.target.url)
    if len(found) > MOST_TARGETS:
        problems.append((f"Only the first {MOST_TARGETS} targets are asked.", "Ask the others from another machine."))
    return list(found.values())[:MOST_TARGETS], problems


def _written(each: MetricsTarget, settings: MetricsSettings, env: Mapping[str, str]) -> Watched:
    key = env.get(each.api_key_env, "") if each.api_key_env else ""
    url = plain(each.url)
    kind = each.kind or kind_by_address(url)
    target = Target(each.name, kind, url, each.provider, each.interval_s or settings.interval_s)
    return Watched(target, ApiKey(Secret(key)) if key else NoAuth())


def _of_provider(provider: Provider, settings: MetricsSettings, embedded: Endpoint | None) -> Watched | None:
    own = provider.name == EMBEDDED
    endpoint = embedded if own else getattr(provider.source, "endpoint", None)
    # A server nobody described is known once it was asked for its models.
    spoken = getattr(getattr(provider.source, "card", None), "kind", None) or provider.kind
    if spoken not in OWN_KINDS or provider.paid or not isinstance(endpoint, Endpoint):
        return None
    try:
        url = health_url(endpoint.base_url).removesuffix("/health") + "/metrics"
    except BackendError:  # the provider itself says what is wrong with its address
        return None
    kind: TargetKind = "vllm" if spoken == "vllm" else "llamacpp"
    every = max(EMBEDDED_S, settings.interval_s) if own else settings.interval_s
    return Watched(Target(one_line(provider.name, 64), kind, url, provider.name, every), endpoint.auth)


def plain(url: str) -> str:
    """The address as two targets are compared by it."""
    return url.strip().rstrip("/")


def kind_by_address(url: str) -> TargetKind:
    """What usually listens at a port; `other` where that does not tell."""
    port = url.rpartition(":")[2].partition("/")[0]
    usual: Mapping[str, TargetKind] = {"9400": "dcgm", "9100": "node", "8000": "vllm", "8080": "llamacpp"}
    return usual.get(port, "other")


@dataclass(frozen=True, slots=True)
class Offer:
    """Something on this machine that tells numbers and is not asked yet."""

    name: str
    url: str
    kind: str
    series: int | None = None
    """How many it tells, where that was counted."""


def offers(servers: Sequence[Found], exporters: Sequence[Exporter], known: Iterable[Target]) -> list[Offer]:
    """What was found on this machine, without what is asked already."""
    asked = list(known)
    urls = {each.url.replace("//localhost", "//127.0.0.1") for each in asked}
    found = [Offer(f"{each.name}-exporter", each.url, each.name, each.series) for each in exporters]
    found += [Offer(each.kind or "server", each.metrics_url, each.kind or "") for each in servers if each.metrics_url]
    names = {each.name for each in asked}
    offered = []
    for each in found:
        if each.url not in urls:
            offered.append(Offer(_free(each.name, names), each.url, SERVES.get(each.kind, "other"), each.series))
            names.add(offered[-1].name)
    return offered


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
