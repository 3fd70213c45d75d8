"""What can go wrong between us and a model, as one tree.

BackendError
├─ EndpointUnavailable   the endpoint could not be made ready (a server that does not start, a missing file)
├─ AllUnavailable        every provider that could answer is known to be out
├─ CostCapReached        only paid providers are left, and the cap on their cost is reached
├─ Unreachable           no connection, or it broke before the answer began
├─ TimedOut              reached, but too slow: connect, first token, idle or total
├─ Overloaded            busy or out for a moment (503, 529)
├─ RateLimited           too many requests (429)
├─ ServerFailed          the server says it failed (500, 502, 504 …)
├─ AuthenticationFailed  no key or a wrong one (401)
│  └─ LoginNeeded        somebody has to sign in (again)
├─ PermissionDenied      known, but not allowed (403)
├─ PaymentRequired       no credit (402)
├─ NotFound              no such model or path (404)
├─ ContextTooLong        the conversation does not fit the model
├─ InvalidRequest        the server or we ourselves refuse the request (400, 413, 422, a bad base URL)
├─ ContentRefused        a content policy said no
├─ Redirected            the server sends us elsewhere; never followed, since the request carries a key
├─ NotOurProtocol        something answers, but it is not an OpenAI-compatible server (HTML, garbage, an endless line)
├─ StreamTruncated       the stream ended without a finish reason
└─ StreamFailed          the server reported an error after the answer had begun

`error_type` uses the stable names of OpenRouter. `retryable` says whether the same request may be sent again by itself;
it is False once content has reached the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

Fault: TypeAlias = Literal["network", "server", "caller", "account", "model"]

EXCERPT_LIMIT = 300
KEY_MAX = 16 << 10
"""Characters of the longest key or token."""
LOOK_AT = 24 << 10
"""Characters, or bytes, of a stranger's text that are looked at."""


class BackendError(Exception):
    """Why there is no answer, whose fault that is and what the person can do."""

    default_type: ClassVar[str] = "unmapped"
    default_fault: ClassVar[Fault] = "server"
    default_retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        retryable: bool | None = None,
        fault: Fault | None = None,
        hint: str | None = None,
        provider: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type or self.default_type
        self.retryable = self.default_retryable if retryable is None else retryable
        self.fault: Fault = fault or self.default_fault
        self.hint = self.default_hint if hint is None else hint
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.reached = reached
        """False when no connection came about, so that the server cannot have seen the request."""

    def placed(self, provider: str, request_id: str | None, redact: Callable[[str], str]) -> BackendError:
        """Name the provider and the request, mask secrets in all texts, and return the error itself."""
        self.provider = self.provider or provider
        self.request_id = self.request_id or request_id
        self.message = redact(self.message)
        self.hint = redact(self.hint)
        self.error_type = redact(self.error_type)
        self.args = (self.message,)
        return self

    def __str__(self) -> str:
        return f"{self.provider}: {self.message}" if self.provider else self.message

    def __repr__(self) -> str:
        facts = [repr(str(self)), f"error_type={self.error_type!r}"]
        facts += [f"status={self.status}"] if self.status is not None else []
        return f"{type(self).__name__}({', '.join(facts)})"


class EndpointUnavailable(BackendError):
    """The endpoint could not be made ready."""

    default_type = "provider_unavailable"
    default_fault = "network"
    default_hint = "Run `sophia doctor` to see what is missing."


class AllUnavailable(BackendError):
    """Every provider that could answer is known to be out; nothing was sent."""

    default_type = "provider_unavailable"
    default_fault = "network"
    default_hint = "Try again in a moment; `/route` shows what is known of each provider."


BUDGET_HINT = "`cost.override 2h` goes on all the same; `cost.budgets` shows how the budgets stand."


class CostCapReached(BackendError):
    """Only paid providers are left, and the cap on their cost is reached; nothing was sent."""

    default_type = "payment_required"
    default_fault = "account"
    default_hint = "Raise `routing.daily_cap_usd`, or wait until tomorrow."


class Unreachable(BackendError):
    """No connection, or it broke before the answer began."""

    default_type = "provider_unavailable"
    default_fault = "network"
    default_retryable = True
    default_hint = "Is the server running, and is the base URL right?"


class TimedOut(BackendError):
    """Reached, but too slow."""

    default_type = "timeout"
    default_fault = "network"
    default_retryable = True
    default_hint = "The server may be busy or still loading its model: try again, or raise the provider's timeouts."


class Overloaded(BackendError):
    """Busy or out for a moment."""

    default_type = "provider_overloaded"
    default_retryable = True
    default_hint = "The server is busy: try again in a moment, or choose another provider."


class RateLimited(BackendError):
    """Too many requests."""

    default_type = "rate_limit_exceeded"
    default_fault = "account"
    default_retryable = True
    default_hint = "Wait a moment, or choose another provider."


class ServerFailed(BackendError):
    """The server says it failed."""

    default_type = "server"
    default_hint = "Look into the server's log under the request id, or choose another provider."


class AuthenticationFailed(BackendError):
    """No key or a wrong one."""

    default_type = "authentication"
    default_fault = "account"
    default_hint = "Check the provider's API key."


class LoginNeeded(AuthenticationFailed):
    """Somebody has to sign in (again)."""

    default_hint = "Sign in with `sophia login`."


class PermissionDenied(BackendError):
    """Known, but not allowed."""

    default_type = "permission_denied"
    default_fault = "account"
    default_hint = "The key is known but may not do this: ask for access, or choose another model."


class PaymentRequired(BackendError):
    """No credit."""

    default_type = "payment_required"
    default_fault = "account"
    default_hint = "Add credit at the provider, or choose another one."


class NotFound(BackendError):
    """No such model or path."""

    default_type = "not_found"
    default_fault = "caller"
    default_hint = "Check the model's name and the base URL (most servers want it to end in /v1)."


class ContextTooLong(BackendError):
    """The conversation does not fit the model."""

    default_type = "context_length_exceeded"
    default_fault = "caller"
    default_hint = "Start a new session, shorten the conversation, or choose a model with a larger context."


class InvalidRequest(BackendError):
    """The request itself is refused."""

    default_type = "invalid_request"
    default_fault = "caller"
    default_hint = "Check the provider's settings and the extra fields of the request."


class ContentRefused(BackendError):
    """A content policy said no."""

    default_type = "content_policy_violation"
    default_fault = "caller"
    default_hint = "Rephrase the question, or choose another model."


class Redirected(BackendError):
    """The server sends us elsewhere."""

    default_type = "invalid_request"
    default_fault = "caller"
    default_hint = "If you trust that address, set it as the provider's base URL."


class NotOurProtocol(BackendError):
    """Something answers, but it is not an OpenAI-compatible server."""

    default_type = "unmapped"
    default_fault = "caller"
    default_hint = "Check that the base URL points at an OpenAI-compatible API (most end in /v1), not at a web page."


class StreamTruncated(BackendError):
    """The stream ended without a finish reason."""

    default_type = "provider_unavailable"
    default_fault = "network"
    default_hint = "What has arrived is kept: continue it, or ask again."


class StreamFailed(BackendError):
    """The server reported an error after the answer had begun."""

    default_type = "server"
    default_hint = "What has arrived is kept: continue it, or ask again."


def excerpt(raw: bytes | str, redact: Callable[[str], str] = str, limit: int = EXCERPT_LIMIT) -> str:
    """Return at most `limit` printable characters of what a stranger sent, for use in a message."""
    # Masking comes before cutting, so that a cut never leaves most of a key; what may be the part of one that the
    # first cut left is not shown either.
    text = redact(raw[:LOOK_AT].decode("utf-8", "replace") if isinstance(raw, bytes) else raw[:LOOK_AT])
    text = text if len(raw) < LOOK_AT else text[:-KEY_MAX]
    shown = " ".join("".join(char if char.isprintable() else " " for char in text[: LOOK_AT // 2]).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
