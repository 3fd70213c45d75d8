"""Making an endpoint ready, and the headers of what is sent to it."""

from __future__ import annotations

import copy
import os
import re
from typing import Final

from backend_client import auth
from backend_client.auth import Secret
from backend_client.errors import AuthenticationFailed, BackendError, EndpointUnavailable, excerpt
from backend_client.types import ChatRequest, Endpoint, Provider

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_IDEMPOTENCY: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ID_LIMIT: Final = 120


def chat_headers(request: ChatRequest, request_id: str, remaining_s: float, span_id: str = "") -> dict[str, str]:
    """Return the headers of a chat request but for those that prove who we are; `span_id` is the attempt's own."""
    headers = {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "x-request-id": request_id,
        "x-sophia-deadline-ms": str(max(1, int(remaining_s * 1000))),
    }
    if request.traceparent and _TRACEPARENT.fullmatch(request.traceparent):
        version, trace_id, parent_id, flags = request.traceparent.split("-")
        headers["traceparent"] = f"{version}-{trace_id}-{span_id or parent_id}-{flags}"
    if _IDEMPOTENCY.fullmatch(request.idempotency_key):
        headers["idempotency-key"] = request.idempotency_key
    return headers


def request_id_from(wanted: str) -> str:
    """Return `wanted` as far as it can stand in a header, or a new id."""
    return re.sub(r"[^A-Za-z0-9._-]", "", wanted)[:_ID_LIMIT] or os.urandom(16).hex()


async def made_ready(provider: Provider) -> Endpoint:
    """Return the provider's endpoint; whatever goes wrong in its source is an EndpointUnavailable."""
    try:
        return await provider.source.ready()
    except BackendError as error:
        # All who wait for one server to start get the same error, and each marks it with its own request.
        failure = copy.copy(error)
    except Exception as error:
        # Sources are written by others and may fail in any way; a turn must still end with one of our errors.
        reason = excerpt(str(error)) or type(error).__name__
        failure = EndpointUnavailable(f"could not be made ready: {reason}")
    raise failure


async def proof_of(endpoint: Endpoint) -> tuple[dict[str, str], Secret | None]:
    """Return the headers that prove who we are, and the access token in them if it is one.

    Raises AuthenticationFailed for a key that cannot be sent, LoginNeeded, and what renewing a token raises.
    """
    try:
        return await auth.proof(endpoint.auth)
    except ValueError as error:
        reason = str(error)
    raise AuthenticationFailed(reason)
