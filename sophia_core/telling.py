"""What the client does, as events of the whole app."""

from __future__ import annotations

from backend_client.errors import LoginNeeded as NobodySignedIn
from backend_client.happenings import (
    BreakerMoved,
    FailedOver,
    Happening,
    Probed,
    Queued,
    SignedIn,
    StreamEnded,
)
from backend_client.types import Attempt
from sophia_core import events
from sophia_core.events import Event


def events_of(happening: Happening) -> list[Event]:
    """The events that tell it; none for what another event tells already."""
    match happening:
        case Attempt():
            return _attempt(happening)
        case FailedOver(request_id, provider, failed, reason, error_type):
            return [events.FailedOver(request_id, provider, failed, reason, error_type)]
        case BreakerMoved(provider, model, state, reason, retry_in_s):
            return [events.BreakerChanged(provider, model, state, reason, retry_in_s)]
        case Queued(request_id, provider, waited_s):
            return [events.QueueWaited(request_id, provider, waited_s)]
        case StreamEnded():
            return [_ended(happening)]
        case Probed(provider, ok, detail, latency_ms):
            return [events.ProviderProbed(provider, ok, detail, latency_ms)]
        case SignedIn(provider, ok, detail):
            return [events.TokenRenewed(provider, ok, detail)]


def _attempt(attempt: Attempt) -> list[Event]:
    error, wait = attempt.error, attempt.retry_in_s
    if error is None:
        return []  # RouteChosen tells of it
    failed = events.AttemptFailed(
        attempt.request_id, attempt.provider, attempt.attempt, str(error), wait is not None, wait or 0.0
    )
    if isinstance(error, NobodySignedIn):
        return [failed, events.LoginNeeded(attempt.provider, error.hint)]
    return [failed]


def _ended(end: StreamEnded) -> Event:
    return events.AnswerEnded(
        end.request_id,
        end.provider,
        end.model,
        end.outcome,
        end.first_token_s,
        end.duration_s,
        end.prompt_tokens,
        end.completion_tokens,
        end.cost_usd,
        end.error_type,
    )
