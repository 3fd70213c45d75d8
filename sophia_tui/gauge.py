"""How much a conversation has taken, and how full the model's window is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sophia_core.chat.history import CHARS_PER_TOKEN

if TYPE_CHECKING:
    from local_store import Message
    from sophia_core.events import TurnFinished
    from sophia_tui.app import SophiaApp


@dataclass(frozen=True, slots=True)
class Taken:
    """What the shown branch of a session took."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    context: int = 0
    """Tokens that the next question takes with it."""


def taken(messages: Sequence[Message], first: str | None = None) -> Taken:
    """Sums over the answers, and what would be sent from message `first` on (None: from the beginning)."""
    usages = [message.usage for message in messages if message.usage]
    costs = [usage.cost_usd for usage in usages if usage.cost_usd is not None]
    return Taken(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(costs) if costs else None,
        _context(messages, first),
    )


def _context(messages: Sequence[Message], first: str | None) -> int:
    """What the server counted for the last answer, and an estimate for what came after it."""
    start = next((number for number, each in enumerate(messages) if each.id == first), 0)
    sent = messages[start:]
    counted, since = 0, 0
    for number, message in enumerate(sent):
        if message.usage and not (start and number < 2):
            counted, since = message.usage.prompt_tokens + message.usage.completion_tokens, number + 1
    if start:  # what the server counted may still hold what is left out by now
        counted = since = 0
    return counted + _estimate(sent[since:])


def _estimate(messages: Sequence[Message]) -> int:
    return int(sum(len(each.text) for each in messages) / CHARS_PER_TOKEN)


class Gauge:
    """Keeps the figures of the status bar true to the session on the screen."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self.ended_turns = 0
        """How many answers of sessions on the screen have ended."""
        self._first: str | None = None
        self._unbounded = False
        """What comes before the messages seen so far would be sent, too, and nobody has counted it."""

    def show(self, messages: Sequence[Message], first: str | None) -> None:
        """Another session, or another branch of it, is on the screen."""
        self._first, ids = first, {message.id for message in messages}
        beyond = first is not None and first not in ids
        found, values = taken(messages, first), self._app.status.values
        if beyond:  # the cut is further up: what the server counted may still hold what is left out by now
            found = replace(found, context=_estimate(messages))
        self._unbounded = beyond or (first is None and not any(message.usage for message in messages))
        self._app.status.values = replace(
            values,
            tokens_in=found.tokens_in,
            tokens_out=found.tokens_out,
            cost_usd=found.cost_usd,
            context=found.context,
            window=self._window(),
        )

    def add_earlier(self, messages: Sequence[Message]) -> None:
        """What was said before is known now, too."""
        found, values = taken(messages), self._app.status.values
        costs = [cost for cost in (values.cost_usd, found.cost_usd) if cost is not None]
        self._app.status.values = replace(
            values,
            tokens_in=values.tokens_in + found.tokens_in,
            tokens_out=values.tokens_out + found.tokens_out,
            cost_usd=sum(costs) if costs else None,
            context=(values.context or 0) + self._also_sent(messages, found),
        )

    def _also_sent(self, messages: Sequence[Message], found: Taken) -> int:
        if not self._unbounded:
            return 0
        start = next((number for number, each in enumerate(messages) if each.id == self._first), None)
        if self._first is not None:
            self._unbounded = start is None
            return _estimate(messages[start or 0 :])
        self._unbounded = not any(message.usage for message in messages)
        return found.context

    def ended(self, event: TurnFinished) -> None:
        """An answer of the session on the screen ended: the server has counted."""
        self.ended_turns += 1
        if event.prompt_tokens is not None:
            self._unbounded = False
            context = event.prompt_tokens + (event.completion_tokens or 0)
            self._app.status.values = replace(self._app.status.values, context=context, window=self._window())

    def _window(self) -> int | None:
        return self._app.runtime.provider.context_window
