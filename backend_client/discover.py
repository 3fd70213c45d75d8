"""Finding out what answers at an address: which server, its models, whether it wants a key, its metrics, how fast.

Every question is asked once and shortly; nothing here raises for what a server does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from backend_client.address import health_url, is_loopback, path_under
from backend_client.auth import ApiKey, Auth, NoAuth, Secret
from backend_client.dialects import kind_of
from backend_client.errors import AuthenticationFailed, BackendError, PermissionDenied
from backend_client.exchange import read_body
from backend_client.probe import check_health, list_models
from backend_client.scrape import MAX_BODY, parse
from backend_client.transport import Call, Transport
from backend_client.types import Endpoint, Health, Kind, ModelCard, Provider, StaticEndpoint, Timeouts

QUICK: Final = Timeouts(connect=2.0, first_token=5.0, idle=5.0, write=5.0, total=8.0)
"""A person waits for it; a server that is still loading can be asked again."""
NEAR: Final = Timeouts(connect=0.5, first_token=1.5, idle=1.5, write=1.5, total=3.0)
"""On this very machine."""
METRICS_S: Final = 1.5

SERVERS_HERE: Final[Mapping[str, int]] = {"vllm": 8000, "llama.cpp": 8080, "ollama": 11434, "lm-studio": 1234}
"""Where servers listen when nobody told them otherwise."""
EXPORTERS_HERE: Final[Mapping[str, int]] = {"dcgm": 9400, "node": 9100}
"""Where what measures the machine listens: the GPU, the host."""
_TELLS: Final[Mapping[str, str]] = {"dcgm": "DCGM_", "node": "node_"}
"""How the names begin that such an exporter measures."""


@dataclass(frozen=True, slots=True)
class Found:
    """What answers at an address, or why nothing does."""

    base_url: str
    models: tuple[ModelCard, ...] = ()
    kind: Kind | None = None
    """None where neither the address nor the models tell."""
    healthy: bool = False
    health: str = ""
    latency_ms: float = 0.0
    """Of one small question, once there is a connection."""
    wants_key: bool = False
    metrics_url: str | None = None
    error: str = ""
    """Why it cannot be used as it is; empty where it can."""
    hint: str = ""

    @property
    def usable(self) -> bool:
        """Whether questions can be sent there now."""
        return not self.error and bool(self.models)


@dataclass(frozen=True, slots=True)
class Exporter:
    """Something on this machine that tells measurements in Prometheus' format."""

    name: str
    url: str
    series: int


async def look_at(
    address: str,
    transport: Transport,
    *,
    key: str = "",
    timeouts: Timeouts = QUICK,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """What answers at an address as a person wrote it: with or without the scheme, with or without `/v1`."""
    best: Found | None = None
    for base_url in candidates(address):
        found = await _at(base_url, transport, ApiKey(Secret(key)) if key else NoAuth(), timeouts, clock)
        if found.usable or found.wants_key:
            return found
        if best is None or found.healthy > best.healthy:
            best = found
    return best or Found(address.strip(), error="that is no address", hint="Write it like http://127.0.0.1:8000/v1.")


async def on_this_machine(
    transport: Transport,
    ports: Mapping[str, int] = SERVERS_HERE,
    exporters: Mapping[str, int] = EXPORTERS_HERE,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Found], list[Exporter]]:
    """The servers and exporters that listen on this machine's loopback address, at their usual ports."""
    asked = [look_at(f"http://127.0.0.1:{port}/v1", transport, timeouts=NEAR, clock=clock) for port in ports.values()]
    told = [_exporter(name, port, transport) for name, port in exporters.items()]
    servers, measures = await asyncio.gather(asyncio.gather(*asked), asyncio.gather(*told))
    return [each for each in servers if each.usable or each.wants_key], [each for each in measures if each]


def candidates(address: str) -> Iterator[str]:
    """The base URLs that an address may mean, likeliest first."""
    written = address.strip()
    if not written or any(char.isspace() for char in written):
        return
    try:
        if "://" not in written:
            local = is_loopback(f"http://{written}") or urlsplit(f"//{written}").port is not None
            written = f"{'http' if local else 'https'}://{written}"
        parts = urlsplit(written)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return
    if not sound or parts.username or parts.password or parts.query or parts.fragment:
        return
    bare = written.rstrip("/")
    if parts.path in ("", "/"):
        yield f"{bare}/v1"
    yield bare


async def _at(base_url: str, transport: Transport, auth: Auth, timeouts: Timeouts, clock: Callable[[], float]) -> Found:
    provider = Provider("it", StaticEndpoint(Endpoint(base_url, None, auth)), timeouts=timeouts)
    started = clock()
    try:
        models = tuple(await list_models(provider, transport))
    except (AuthenticationFailed, PermissionDenied) as error:
        return Found(base_url, kind=kind_of(base_url), healthy=True, wants_key=True, error=_why(error), hint=error.hint)
    except BackendError as error:
        return Found(base_url, error=_why(error), hint=error.hint)
    latency = (clock() - started) * 1000
    health = await check_health(provider, transport, clock)
    kind = next((card.kind for card in models if card.kind), None) or kind_of(base_url)
    # The first answer was also the wait for the connection; the second tells how far away it is.
    latency = health.latency_ms if health.ok else latency
    found = Found(base_url, models, kind, health.ok, health.detail, latency, auth != NoAuth())
    if not models:
        return replace(found, error="it offers no model", hint="Load one there, and look again.")
    return replace(found, metrics_url=await _metrics(base_url, transport))


def _why(error: BackendError) -> str:
    return str(error).removeprefix("it: ")


async def _metrics(base_url: str, transport: Transport) -> str | None:
    """Where it tells its measurements; None where it does not, or not to us."""
    url = health_url(base_url).removesuffix("/health") + "/metrics"
    return url if await _series(url, transport) else None


async def _exporter(name: str, port: int, transport: Transport) -> Exporter | None:
    url = f"http://127.0.0.1:{port}/metrics"
    series = await _series(url, transport, _TELLS.get(name, ""))
    return Exporter(name, url, series) if series else None


async def _series(url: str, transport: Transport, begins: str = "") -> int:
    """How many series are told at this address, whose names begin so; 0 for whatever is wrong."""
    path_under(url, "")
    call = Call("GET", url, {"accept": "text/plain", "accept-encoding": "identity"}, None, NEAR, "metrics")
    try:
        async with asyncio.timeout(METRICS_S):
            reply = await transport.open(call)
            try:
                if reply.status != 200 or "html" in reply.headers.get("content-type", ""):
                    return 0
                samples = parse(await read_body(reply, MAX_BODY))
            finally:
                await reply.aclose()
    except (BackendError, TimeoutError):
        return 0
    return sum(len(found) for name, found in samples.items() if name.startswith(begins))


def summary(found: Found) -> Sequence[str]:
    """What was found, a line each."""
    health = Health(found.healthy, found.health, found.latency_ms)
    lines = [f"{found.base_url}: {found.kind or 'an OpenAI-compatible server'}"]
    if found.error:
        return [*lines, found.error]
    names = ", ".join(card.id for card in found.models[:3])
    more = len(found.models) - 3
    lines.append(f"models: {names}" + (f" and {more} more" if more > 0 else ""))
    lines.append(f"health: {health.detail}, {health.latency_ms:.0f} ms")
    lines.append("key: needed" if found.wants_key else "key: not asked for")
    lines.append(f"metrics: {found.metrics_url}" if found.metrics_url else "metrics: none told")
    return lines
