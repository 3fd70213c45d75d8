"""Texts become vectors, through the official SDK: what is not a streamed chat needs no codec of ours.

The SDK takes more than a second of processor time and 25 MB to import, so it is imported in a thread at the first call.
It sends one request per call and nothing that it finds in the environment; its answers are read by ourselves, for it
would spend tens of milliseconds of the event loop on each.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from backend_client import auth, dialects
from backend_client.address import path_under
from backend_client.errors import (
    AuthenticationFailed,
    BackendError,
    InvalidRequest,
    NotOurProtocol,
    Redirected,
    TimedOut,
    Unreachable,
    excerpt,
)
from backend_client.exchange import within
from backend_client.faults import error_from_body
from backend_client.types import Endpoint, Provider, Timeouts

TEXTS_MAX: Final = 2048
"""Texts of one call."""
BATCH: Final = 64
"""Texts of one request."""
DIMENSIONS_MAX: Final = 65536
"""Numbers of one vector."""


async def embed(
    provider: Provider, endpoint: Endpoint, texts: Sequence[str], *, model: str | None, http_client: object
) -> list[list[float]]:
    """Return one vector per text, in their order, all of one length.

    `http_client` is what `HttpTransport.http_client` gives. Nothing is tried again, but for a token that the server no
    longer takes. Raises BackendError.
    """
    _check(texts)
    try:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            # Half an emoji (a lone surrogate) cannot travel as UTF-8.
            batch = [text.encode("utf-8", "replace").decode() for text in texts[start : start + BATCH]]
            vectors += await _embed_batch(provider, endpoint, batch, model or endpoint.model or "", http_client)
        if len({len(vector) for vector in vectors}) > 1:
            raise NotOurProtocol("the vectors are not all of one length")
        return vectors
    except BackendError as error:
        failure = error.placed(provider.name, None, lambda text: auth.redact(endpoint.auth, text))
    # Raised outside the handler, so that no traceback leads back to a text that was not yet masked.
    raise failure


def _check(texts: Sequence[str]) -> None:
    if len(texts) > TEXTS_MAX:
        raise InvalidRequest(f"{len(texts)} texts are too many for one call", hint=f"Send at most {TEXTS_MAX}.")
    if not all(text.strip() for text in texts):
        raise InvalidRequest("an empty text has no vector", hint="Leave empty texts out.")


async def _embed_batch(
    provider: Provider, endpoint: Endpoint, texts: list[str], model: str, http_client: object
) -> list[list[float]]:
    headers, token = await auth.proof(endpoint.auth)
    try:
        body = await _ask(provider, endpoint, texts, model, http_client, headers)
    except AuthenticationFailed:
        if token is None or not isinstance(endpoint.auth, auth.Bearer) or not await endpoint.auth.source.refused(token):
            raise
        headers, _ = await auth.proof(endpoint.auth)
        body = await _ask(provider, endpoint, texts, model, http_client, headers)
    return await asyncio.to_thread(read_vectors, body, len(texts))


async def _ask(
    provider: Provider,
    endpoint: Endpoint,
    texts: list[str],
    model: str,
    http_client: object,
    headers: Mapping[str, str],
) -> bytes:
    wait = provider.timeouts
    base_url = path_under(endpoint.base_url, "")
    sdk = await asyncio.to_thread(_sdk)
    client = await asyncio.to_thread(_client, sdk, base_url, wait, http_client)
    kind = provider.kind if provider.kind != "openai" else endpoint.kind or "openai"
    own = {"authorization": sdk.omit, "accept-encoding": "identity", **dialects.headers(kind), **headers}
    failure: BackendError
    try:
        asked = client.embeddings.with_raw_response.create(
            input=texts, model=model, encoding_format="float", extra_headers=own
        )
        answer = await within(wait.first_token, asked, lambda: _too_slow(wait))
        return bytes(answer.content)
    except sdk.APIStatusError as error:
        failure = _refused(error.response, endpoint)
    except sdk.APIConnectionError as error:
        # The transport beneath the SDK has already said in our words what went wrong.
        cause = error.__cause__
        failure = cause if isinstance(cause, BackendError) else Unreachable("no connection")
    except (sdk.OpenAIError, ValueError, TypeError) as error:
        failure = InvalidRequest(f"the request cannot be sent ({type(error).__name__})")
    raise failure


def _sdk() -> Any:
    """Import the SDK, with the part that it would import at its first use."""
    import logging

    root = logging.getLogger()
    before = root.handlers[:]
    sdk = importlib.import_module("openai")
    importlib.import_module("openai.resources.embeddings")
    # Its debug log holds the texts, and OPENAI_LOG would have all logs written over the screen.
    logging.getLogger("openai").setLevel(logging.WARNING)
    for handler in [each for each in root.handlers if each not in before]:
        root.removeHandler(handler)
    return sdk


def _client(sdk: Any, base_url: str, wait: Timeouts, http_client: object) -> Any:
    return sdk.AsyncOpenAI(
        # Empty rather than missing: the SDK would take the person's OpenAI key from the environment.
        api_key="",
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        _enforce_credentials=False,
        base_url=base_url,
        # Named here so that the one that the environment may hold is left out.
        default_headers={"authorization": ""},
        timeout=sdk.Timeout(connect=wait.connect, read=wait.first_token, write=wait.write, pool=wait.connect),
        max_retries=0,
        http_client=http_client,
    )


def _refused(response: Any, endpoint: Endpoint) -> BackendError:
    def redact(text: str) -> str:
        return auth.redact(endpoint.auth, text)

    status = int(response.status_code)
    headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
    if 300 <= status < 400:
        target = excerpt(redact(headers.get("location", "")).partition("?")[0], limit=200)
        return Redirected(f"the server redirects (HTTP {status}) to {target!r}, which is not followed", status=status)
    return error_from_body(status, response.content, headers, redact)


def read_vectors(body: bytes, count: int) -> list[list[float]]:
    """Return the `count` vectors of an `/embeddings` answer in the order of their texts. Raises NotOurProtocol."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        raise NotOurProtocol(f"the server was asked for {count} vectors and sends something else")
    vectors: dict[int, list[float]] = {}
    for place, entry in enumerate(listed):
        entry = entry if isinstance(entry, dict) else {}
        index = entry.get("index", place)
        if type(index) is int:
            vectors[index] = _vector(entry.get("embedding"))
    if vectors.keys() != set(range(count)):
        raise NotOurProtocol("the vectors do not say which text they belong to")
    return [vectors[place] for place in range(count)]


def _vector(numbers: object) -> list[float]:
    if not isinstance(numbers, list) or not 0 < len(numbers) <= DIMENSIONS_MAX:
        raise NotOurProtocol("a vector is not a list of numbers")
    if any(type(number) not in (float, int) for number in numbers):
        raise NotOurProtocol("a vector is not a list of numbers")
    try:
        vector = [float(number) for number in numbers]
    except OverflowError:
        vector = [math.inf]
    if not all(map(math.isfinite, vector)):
        raise NotOurProtocol("a vector holds a number that is none")
    return vector


def _too_slow(wait: Timeouts) -> TimedOut:
    return TimedOut(f"no vectors came within {wait.first_token:g} s")
