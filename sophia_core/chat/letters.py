"""Questions that wait: which of them may, and what is said of one that is under way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from backend_client.errors import (
    AllUnavailable,
    BackendError,
    CostCapReached,
    EndpointUnavailable,
    LoginNeeded,
    TimedOut,
    Unreachable,
)
from local_store.errors import StoreBusy, WrongState
from sophia_core.commands import CommandError
from sophia_core.events import Bus, Notice

if TYPE_CHECKING:
    from local_store.errors import StoreError

T = TypeVar("T")
TRIES = 6
"""The store itself waits ten seconds in each."""
NOBODY = (AllUnavailable, Unreachable, EndpointUnavailable, TimedOut)
NOT_YET = (*NOBODY, CostCapReached, LoginNeeded)
"""A letter that waits already goes on waiting for these: nobody has refused it."""


def nobody_reached(error: BackendError | None) -> bool:
    """Whether the error means that no provider heard the question, as far as we can know.

    A certificate that is not trusted, or a proxy that refuses, will do so again: that is for a person to mend.
    """
    return isinstance(error, NOBODY) and not (isinstance(error, Unreachable) and not error.retryable)


async def patiently(bus: Bus, begin: Callable[[], Awaitable[T]]) -> T:
    """What `begin` returns, however busy other processes keep the store, within a minute. Raises StoreError."""
    for tries_left in reversed(range(TRIES)):
        try:
            return await begin()
        except StoreBusy:
            if not tries_left:
                raise
            if tries_left == TRIES - 1:
                text = "Another SOPHIA is busy with the store: the question is asked as soon as it is done."
                bus.publish(Notice("info", text, "Nothing is lost meanwhile."))
    raise AssertionError("the last try returns or raises")


def not_begun(what: str, error: StoreError) -> CommandError:
    """How it is told that the store would not begin a question or an answer."""
    if isinstance(error, WrongState):
        return CommandError("This question is being delivered from the outbox.", "Wait for its answer.")
    return CommandError(f"The {what} cannot be saved: {error}", error.hint)
