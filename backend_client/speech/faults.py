"""Reading what a service of the voice says went wrong. ElevenLabs: `{"detail": {"status", "message"}}`, or a list of
wrong fields. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from backend_client.errors import (
    AuthenticationFailed,
    BackendError,
    InvalidRequest,
    NotFound,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    excerpt,
)
from backend_client.faults import error_from_body, retry_after

_KEY: Final = "Check the ElevenLabs API key: `sophia login elevenlabs --with-token`, or its environment variable."
_QUOTA: Final = "The ElevenLabs quota is used up: raise it there, or let another voice speak until it is renewed."
_BUSY: Final = "Nothing has to be done: another voice speaks until then."


_NO_SUCH_PAGE: Final = frozenset({"", "not found", "not found.", "404 page not found"})
_NO_SPEECH: Final = "Start one that speaks and listens too, or let another voice do it."


class TooManyAtOnce(RateLimited):
    """More at once than the plan takes. That is waited for in our own queue, and says nothing about the service."""


_KNOWN: Final[Mapping[str, tuple[type[BackendError], str, str]]] = {
    "quota_exceeded": (PaymentRequired, "payment_required", _QUOTA),
    "payment_required": (PaymentRequired, "payment_required", _QUOTA),
    "invalid_api_key": (AuthenticationFailed, "authentication", _KEY),
    "missing_api_key": (AuthenticationFailed, "authentication", _KEY),
    "needs_authorization": (AuthenticationFailed, "authentication", _KEY),
    "missing_permissions": (PermissionDenied, "permission_denied", "Give the key the right to speak and to listen."),
    "detected_unusual_activity": (PermissionDenied, "permission_denied", "ElevenLabs says why in your account there."),
    "output_format_not_allowed": (PermissionDenied, "permission_denied", "The plan does not allow this sound format."),
    "voice_not_found": (NotFound, "not_found", "Choose a voice of yours: `voice.elevenlabs_voice`."),
    "model_not_found": (NotFound, "not_found", "Check `voice.elevenlabs_model` and `voice.elevenlabs_ears`."),
    "max_character_limit_exceeded": (InvalidRequest, "string_too_long", "Say it in shorter pieces."),
    "too_many_concurrent_requests": (TooManyAtOnce, "rate_limit_exceeded", _BUSY),
    "rate_limit_exceeded": (RateLimited, "rate_limit_exceeded", _BUSY),
    "system_busy": (Overloaded, "provider_overloaded", _BUSY),
}


def error_from_elevenlabs(
    status: int, body: bytes, headers: Mapping[str, str], redact: Callable[[str], str] = str
) -> BackendError:
    """Return the error; what is said in other words than theirs is read as that of any server."""
    detail = _detail(body)
    if isinstance(detail, list):
        return InvalidRequest(_fields(detail, redact), status=status, error_type="unprocessable")
    named = detail.get("status") or detail.get("code") if isinstance(detail, dict) else None
    message = detail.get("message") if isinstance(detail, dict) else None
    said = excerpt(message, redact) if isinstance(message, str) else ""
    if not isinstance(named, str) or named not in _KNOWN:
        error = error_from_body(status, body, headers, redact)
        error.message = said or error.message
        return error
    kind, error_type, hint = _KNOWN[named]
    return kind(
        said or named.replace("_", " "),
        error_type=error_type,
        hint=hint,
        status=status,
        retry_after=retry_after(headers),
    )


def _detail(body: bytes) -> object:
    try:
        payload = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return payload.get("detail") if isinstance(payload, dict) else None


def _fields(wrong: list[object], redact: Callable[[str], str]) -> str:
    """Return what FastAPI says of wrong fields as one line."""
    told = []
    for each in wrong[:5]:
        if isinstance(each, dict):
            place = each.get("loc")
            where = ".".join(str(part) for part in place[:6]) if isinstance(place, list) else ""
            told.append(f"{where}: {each.get('msg')}")
    return excerpt("; ".join(told), redact) or "the service refuses the request without saying why"


def error_from_openai(
    status: int, body: bytes, headers: Mapping[str, str], redact: Callable[[str], str] = str
) -> BackendError:
    """Return the error for the answer of a server with OpenAI's speech; one that has none of it answers just 404."""
    error = error_from_body(status, body, headers, redact)
    if isinstance(error, NotFound) and error.message.casefold().strip() in _NO_SUCH_PAGE:
        return NotFound("it has no speech", status=status, hint=_NO_SPEECH)
    return error
