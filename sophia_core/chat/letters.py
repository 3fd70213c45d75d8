"""Questions that wait: which of them may, and how one is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend_client.errors import (
    AllUnavailable,
    BackendError,
    CostCapReached,
    EndpointUnavailable,
    LoginNeeded,
    TimedOut,
    Unreachable,
)
from local_store.errors import NotFound, WrongState
from sophia_core.commands import CommandError

if TYPE_CHECKING:
    from local_store import Letter, Store

NOBODY = (AllUnavailable, Unreachable, EndpointUnavailable, TimedOut)
NOT_YET = (*NOBODY, CostCapReached, LoginNeeded)
"""A letter that waits already goes on waiting for these: nobody has refused it."""


def nobody_reached(error: BackendError | None) -> bool:
    """Whether the error means that no provider heard the question, as far as we can know."""
    return isinstance(error, NOBODY)


async def letters_of(store: Store, question_id: str) -> list[Letter]:
    """The letters of one question. Raises CommandError while one of them is being delivered."""
    found = [letter for letter in await store.outbox.list() if letter.question_id == question_id]
    if any(letter.state == "delivering" for letter in found):
        raise CommandError("This question is being delivered from the outbox.", "Wait for its answer.")
    return found


async def take_back(store: Store, letters: list[Letter]) -> None:
    """Takes letters out of the box whose question is asked another way now: nothing is asked twice."""
    for letter in letters:
        try:
            await store.outbox.drop(letter.id)
        except (NotFound, WrongState):
            continue  # gone, or another instance has just begun to deliver it and will end it
