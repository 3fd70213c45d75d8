"""Reading what a server says went wrong: any of the error shapes in the wild becomes one BackendError. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from backend_client.errors import (
    AuthenticationFailed,
    BackendError,
    ContentRefused,
    ContextTooLong,
    InvalidRequest,
    NotFound,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    TimedOut,
    excerpt,
)

RETRYABLE_STATUSES: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

_BY_STATUS: Final[Mapping[int, type[BackendError]]] = {
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    408: TimedOut,
    409: ServerFailed,
    425: ServerFailed,
    429: RateLimited,
    501: InvalidRequest,
    503: Overloaded,
    504: ServerFailed,
    524: TimedOut,
    529: Overloaded,
}

_BY_TYPE: Final[Mapping[str, type[BackendError]]] = {
    "authentication": AuthenticationFailed,
    "permission_denied": PermissionDenied,
    "payment_required": PaymentRequired,
    "not_found": NotFound,
    "rate_limit_exceeded": RateLimited,
    "provider_overloaded": Overloaded,
    "provider_unavailable": ServerFailed,
    "server": ServerFailed,
    "timeout": TimedOut,
    "context_length_exceeded": ContextTooLong,
    "token_limit_exceeded": ContextTooLong,
    "string_too_long": ContextTooLong,
    "max_tokens_exceeded": InvalidRequest,
    "invalid_request": InvalidRequest,
    "invalid_prompt": InvalidRequest,
    "precondition_failed": InvalidRequest,
    "payload_too_large": InvalidRequest,
    "unprocessable": InvalidRequest,
    "content_policy_violation": ContentRefused,
    "refusal": ContentRefused,
}

# Words that servers put into `code` or `type` in place of a stable name.
_ALIASES: Final[Mapping[str, str]] = {
    "server_error": "server",
    "internal_error": "server",
    "internalservererror": "server",
    "internal_server_error": "server",
    "serviceunavailableerror": "provider_overloaded",
    "service unavailable": "provider_overloaded",
    "overloaded_error": "provider_overloaded",
    "unavailable_error": "provider_overloaded",
    "insufficient_quota": "payment_required",
    "invalid_api_key": "authentication",
    "authentication_error": "authentication",
    "permission_error": "permission_denied",
    "model_not_found": "not_found",
    "notfounderror": "not_found",
    "not_found_error": "not_found",
    "exceed_context_size_error": "context_length_exceeded",
    "content_filter": "content_policy_violation",
    "invalid_request_error": "invalid_request",
    "badrequesterror": "invalid_request",
    "rate_limit_error": "rate_limit_exceeded",
    "ratelimiterror": "rate_limit_exceeded",
}

_LONGEST_S: Final = 1e9
"""Seconds of a Retry-After; more says no more."""
_DATE_MAX: Final = 64
_TYPE_OF_STATUS: Final[Mapping[int, str]] = {413: "payload_too_large", 422: "unprocessable"}

_TOO_LONG: Final = re.compile(
    r"maximum context length|context (?:length|window|size)[^.]{0,40}exceed|exceeds?[^.]{0,60}context"
    r"|prompt is too long",
    re.IGNORECASE,
)


# What llama.cpp answers with HTTP 500 although the request is at fault.
_OUR_FAULT: Final = re.compile(
    r"image input is not supported|failed to parse tool call arguments|too large to process", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Report:
    """The parts of an error that we understand."""

    message: str
    code: int | None = None
    error_type: str | None = None
    param: str = ""


def error_from_body(
    status: int, body: bytes, headers: Mapping[str, str], redact: Callable[[str], str] = str
) -> BackendError:
    """Return the error for an HTTP answer with `status`, with its Retry-After in seconds where it names one."""
    try:
        payload: object = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        payload = None
    report = _report(payload, redact)
    if report is None:
        shown = "" if _looks_like_html(body) else excerpt(body, redact)
        report = _Report(shown)
    return _build(report, status, retry_after(headers))


def error_from_event(event: Mapping[str, object], redact: Callable[[str], str] = str) -> BackendError:
    """Return the error for a stream event that carries one; its status is the code named in it."""
    report = _report(event, redact) or _Report("the server reported an error without saying which")
    return _build(report, report.code, None)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the wait that the headers ask for in seconds, or None. Dates need `now`, or the answer's own Date."""
    if (ms := _seconds(headers.get("retry-after-ms", ""))) is not None:
        return ms / 1000
    value = headers.get("retry-after", "").strip()
    if (seconds := _seconds(value)) is not None:
        return seconds
    until = _instant(value)
    base = now if now is not None else _instant(headers.get("date", ""))
    return None if until is None or base is None else min(max(0.0, until - base), _LONGEST_S)


def _seconds(value: str) -> float | None:
    if not re.fullmatch(r"\s*\d{1,300}(?:\.\d{1,30})?\s*", value, re.ASCII):
        return None
    return min(float(value), _LONGEST_S)


def _instant(value: str) -> float | None:
    if not value:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(value[:_DATE_MAX])
        # HTTP knows no other zone; one that is missing does not mean ours.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _report(payload: object, redact: Callable[[str], str]) -> _Report | None:
    """Find the error in a body: `{"error": str | object}`, a bare error object, or `{"detail": …}`."""
    if not isinstance(payload, dict):
        return None
    error = payload.get("error")
    if isinstance(error, str):
        code = payload.get("code", payload.get("status"))
        return _Report(excerpt(error, redact), _code(code), _known_type(None, code))
    if not isinstance(error, dict):
        if "message" in payload and "choices" not in payload:
            error = payload
        elif "detail" in payload:
            return _Report(excerpt(_text(payload["detail"]), redact))
        else:
            return None
    metadata = error.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    message = _text(error.get("message")) or _text(metadata.get("raw"))
    named = _known_type(metadata.get("error_type"), error.get("error_type"), error.get("code"), error.get("type"))
    return _Report(excerpt(message, redact), _code(error.get("code")), named, _text(error.get("param")))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _code(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value, re.ASCII):
        value = int(value)
    return value if isinstance(value, int) and 300 <= value <= 599 else None


def _known_type(*candidates: object) -> str | None:
    for candidate in candidates:
        if isinstance(candidate, str):
            name = candidate.strip().lower()
            name = _ALIASES.get(name, name)
            if name in _BY_TYPE:
                return name
    return None


def _build(report: _Report, status: int | None, wait: float | None) -> BackendError:
    kind = _class_of(report, status)
    error_type = _name_for(kind, report, status)
    retryable = kind.default_retryable if status is None else status in RETRYABLE_STATUSES
    if status is None and error_type in ("server", "provider_unavailable"):
        retryable = True
    if kind in (PaymentRequired, ContentRefused, ContextTooLong, InvalidRequest):
        retryable = False
    return kind(
        report.message or _bare(status),
        error_type=error_type,
        retryable=retryable,
        status=status,
        retry_after=wait,
    )


def _class_of(report: _Report, status: int | None) -> type[BackendError]:
    if status in (None, 400, 413, 422) and (
        report.param in ("input_tokens", "input_text") or _TOO_LONG.search(report.message)
    ):
        return ContextTooLong
    if status == 500 and _OUR_FAULT.search(report.message):
        return ContextTooLong if "too large" in report.message else InvalidRequest
    by_type = _BY_TYPE.get(report.error_type or "")
    # A general "invalid request" says less than the status does; the other names say more.
    if by_type is not None and not (by_type is InvalidRequest and status in _BY_STATUS):
        return by_type
    if status is None:
        return ServerFailed
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return InvalidRequest if status < 500 else ServerFailed


def _name_for(kind: type[BackendError], report: _Report, status: int | None) -> str:
    if report.error_type is not None and _BY_TYPE[report.error_type] is kind:
        return report.error_type
    if status is None and kind is ServerFailed:
        return "unmapped"
    return _TYPE_OF_STATUS.get(status or 0, kind.default_type)


def _bare(status: int | None) -> str:
    return (
        "the server reported an error without saying which" if status is None else f"the server answered HTTP {status}"
    )


def _looks_like_html(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"
