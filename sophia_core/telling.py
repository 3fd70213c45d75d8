"""What the client does, as events of the whole app: most of what it tells is one as it stands."""

from __future__ import annotations

from backend_client.errors import LoginNeeded as NobodySignedIn
from backend_client.happenings import Happening
from backend_client.types import Attempt
from sophia_core.events import AttemptFailed, Event, LoginNeeded


def events_of(happening: Happening) -> list[Event]:
    """The events that tell it; none for what another event tells already."""
    if not isinstance(happening, Attempt):
        return [happening]
    error, wait = happening.error, happening.retry_in_s
    if error is None:
        return []  # RouteChosen tells of it
    failed = AttemptFailed(
        happening.request_id,
        happening.provider,
        happening.attempt,
        str(error),
        wait is not None,
        wait or 0.0,
        error.fault,
        error.error_type,
        error.status,
    )
    if isinstance(error, NobodySignedIn):
        return [failed, LoginNeeded(happening.provider, error.hint)]
    return [failed]
