"""Asking a provider what it is: its models and its health. One attempt each, never tried again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import islice
from typing import Final

from backend_client import auth, dialects
from backend_client.address import health_url, path_under
from backend_client.deltas import clean
from backend_client.errors import BackendError, NotOurProtocol, TimedOut, excerpt
from backend_client.exchange import ERROR_BODY_MAX, out_of_time, read_body, redirected, within
from backend_client.faults import error_from_body
from backend_client.ready import made_ready, proof_of
from backend_client.transport import Call, Reply, Transport
from backend_client.types import Endpoint, Health, Kind, ModelCard, Provider

MODELS_MAX: Final = 8 << 20
"""Bytes of a model list that are read."""
LONG_BODY: Final = 256 << 10
"""Bytes of an answer that is not read on the event loop."""
CARDS_MAX: Final = 10_000
"""Models of a list that are looked at; the longest known is of some hundreds."""
ID_MAX: Final = 256
"""Characters of a model's name; one with a longer name is left out."""
_KNOWS: Final = "supported_parameters"
HEALTH_S: Final = 5.0
"""How long a provider may take to say how it is."""


async def list_models(provider: Provider, transport: Transport) -> list[ModelCard]:
    """Return the models that a provider offers. Raises BackendError."""
    endpoint: Endpoint | None = None
    try:
        endpoint = await _ready(provider)
        seconds = provider.timeouts.idle
        body = await within(seconds, _models_body(provider, endpoint, transport), lambda: _slow(seconds))
        return await _parsed(body)
    except BackendError as error:
        failure = _placed(error, provider, endpoint)
    raise failure


async def check_health(provider: Provider, transport: Transport, clock: Callable[[], float]) -> Health:
    """Return whether a provider answers: by its `/health`, or where it has none by its model list."""
    started = clock()
    endpoint: Endpoint | None = None
    try:
        endpoint = await _ready(provider)
        asking = clock()
        health = await within(HEALTH_S, _health(provider, endpoint, transport), lambda: _slow(HEALTH_S))
        return Health(health.ok, health.detail, (clock() - asking) * 1000)
    except BackendError as error:
        return Health(False, str(_placed(error, provider, endpoint)), (clock() - started) * 1000)


async def _parsed(body: bytes) -> list[ModelCard]:
    """Return the models; off the loop where reading them would hold it up for some frames."""
    return parse_models(body) if len(body) < LONG_BODY else await asyncio.to_thread(parse_models, body)


def parse_models(body: bytes) -> list[ModelCard]:
    """Return the models of a `/models` answer (vLLM, llama.cpp, OpenRouter, OpenAI). Raises NotOurProtocol."""
    try:
        payload = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        payload = None
    entries = payload.get("data") if isinstance(payload, dict) else payload
    if not isinstance(entries, list):
        raise NotOurProtocol("the list of models is not one")
    named = (entry for entry in entries if isinstance(entry, dict) and _is_name(entry.get("id")))
    sights = _sights(payload)
    return [_card(entry, sights) for entry in islice(named, CARDS_MAX)]


def _sights(payload: object) -> dict[str, frozenset[str]]:
    """Return what llama.cpp says of its models beside the list that the protocol asks for."""
    found: dict[str, frozenset[str]] = {}
    beside = _object(payload).get("models")
    for entry in beside[:CARDS_MAX] if isinstance(beside, list) else ():
        can, name = _words(_object(entry).get("capabilities")), _object(entry).get("model")
        if isinstance(name, str) and "completion" in can:
            found[name] = frozenset({"chat", "tools", "vision"} if "multimodal" in can else {"chat", "tools"})
    return found


def _is_name(value: object) -> bool:
    """Whether it can be a model's name: something that can be shown and typed."""
    return isinstance(value, str) and 0 < len(value) <= ID_MAX and clean(value).isprintable()


def _card(entry: dict[str, object], sights: dict[str, frozenset[str]]) -> ModelCard:
    meta, best, looks = (_object(entry.get(name)) for name in ("meta", "top_provider", "architecture"))
    # llama.cpp tells the window that it runs with and the larger one that the model was trained for.
    windows = (entry.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train"))
    window = next(filter(None, map(_tokens, windows)), None)
    if window is None:
        # OpenRouter's own figure is that of any of its providers; the one that it prefers may offer less.
        offered = list(filter(None, map(_tokens, (entry.get("context_length"), best.get("context_length")))))
        window = min(offered, default=None)
    return ModelCard(
        clean(str(entry["id"])), window, _kind(entry), _capabilities(entry, looks) or sights.get(str(entry["id"]))
    )


def _kind(entry: dict[str, object]) -> Kind | None:
    owner = entry.get("owned_by")
    if isinstance(owner, str):
        return dialects.kind_of("", owner)
    return "openrouter" if "top_provider" in entry and "architecture" in entry else None


def _capabilities(entry: dict[str, object], looks: dict[str, object]) -> frozenset[str] | None:
    """Return what the model can do by what it takes and gives; None where the server does not tell both."""
    takes, gives, knows = map(
        _words, (looks.get("input_modalities"), looks.get("output_modalities"), entry.get(_KNOWS))
    )
    if not takes or not gives:
        return None
    found = {"chat"} if "text" in gives else set()
    found |= {"vision"} if "image" in takes else set()
    found |= {"embeddings"} if gives & {"embedding", "embeddings"} else set()
    # Where the server does not list what a model knows, nothing says that it cannot call tools.
    found |= {"tools"} if "text" in gives and (_KNOWS not in entry or "tools" in knows) else set()
    return frozenset(found)


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _words(value: object) -> set[str]:
    return {word for word in value if isinstance(word, str)} if isinstance(value, list) else set()


def _tokens(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 53 else None


async def _models_body(provider: Provider, endpoint: Endpoint, transport: Transport) -> bytes:
    reply = await _get(path_under(endpoint.base_url, "/models"), provider, endpoint, transport)
    try:
        body = await read_body(reply, MODELS_MAX)
        return _success(reply, body, lambda text: auth.redact(endpoint.auth, text))
    finally:
        await reply.aclose()


def _success(reply: Reply, body: bytes, redact: Callable[[str], str]) -> bytes:
    if 300 <= reply.status < 400:
        raise redirected(reply, redact)
    if reply.status != 200:
        raise error_from_body(reply.status, body, reply.headers, redact)
    if "html" in reply.headers.get("content-type", ""):
        raise NotOurProtocol("a web page came back in place of the list of models")
    return body


async def _health(provider: Provider, endpoint: Endpoint, transport: Transport) -> Health:
    reply = await _get(health_url(endpoint.base_url), provider, endpoint, transport)
    try:
        is_page = "html" in reply.headers.get("content-type", "")
        if reply.status == 200 and not is_page:
            return Health(True, "answers", 0.0)
        if reply.status == 503:
            body = await read_body(reply, ERROR_BODY_MAX)
            reason = error_from_body(503, body, reply.headers, lambda text: auth.redact(endpoint.auth, text))
            return Health(False, f"not ready: {excerpt(reason.message, limit=120)}", 0.0)
    finally:
        await reply.aclose()
    models = await _parsed(await _models_body(provider, endpoint, transport))
    return Health(True, f"answers, {len(models)} model{'' if len(models) == 1 else 's'}", 0.0)


async def _get(url: str, provider: Provider, endpoint: Endpoint, transport: Transport) -> Reply:
    headers = {"accept": "application/json", "accept-encoding": "identity", **(await proof_of(endpoint))[0]}
    return await transport.open(Call("GET", url, headers, None, provider.timeouts, provider.name))


async def _ready(provider: Provider) -> Endpoint:
    return await within(provider.timeouts.total, made_ready(provider), lambda: out_of_time(provider.timeouts))


def _slow(seconds: float) -> TimedOut:
    return TimedOut(f"no answer within {seconds:g} s")


def _placed(error: BackendError, provider: Provider, endpoint: Endpoint | None) -> BackendError:
    return error.placed(
        provider.name, None, lambda text: text if endpoint is None else auth.redact(endpoint.auth, text)
    )
