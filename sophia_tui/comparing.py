"""The two answers of a comparison as they stand, and their way onto the screen where they are beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sophia_core.events import (
    AttemptFailed,
    ComparisonEnded,
    ComparisonStarted,
    Event,
    ReasoningDelta,
    RouteChosen,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from sophia_core.sanitize import one_line, sanitize
from sophia_tui.footers import cost_of
from sophia_tui.transcript.entry import Entry

if TYPE_CHECKING:
    from sophia_core.chat.comparing import Side
    from sophia_tui.app import SophiaApp
    from sophia_tui.screens.compare import CompareScreen
    from sophia_tui.turns import LiveTurn

ENDINGS = {"complete": "done", "cancelled": "stopped", "partial": "cut short", "failed": "failed"}
LONGEST_NAME = 60


@dataclass(slots=True)
class Column:
    """One of the two: who is asked, what has arrived, and how it ended. All text is safe for the screen."""

    side: Side
    answer_id: str
    name: str
    clock: Callable[[], float]
    since: float
    live: LiveTurn | None = None
    request_id: str = ""
    route: str = ""
    """Who answers."""
    trouble: str = ""
    """Why a try failed, while another one is made."""
    finished: TurnFinished | None = None
    said: str = ""
    """The whole text, once it has ended."""

    @property
    def text(self) -> str:
        """What the answer says so far."""
        return self.said if self.finished or self.live is None else "".join(self.live.text)

    def entry(self) -> Entry:
        """The answer as the transcript shows it; how it stands is said below the transcript."""
        status, text = (self.finished.status, self.said) if self.finished else ("streaming", "")
        if self.live is None:
            return Entry(self.answer_id, "assistant", text, status=status, footer=self._mishap())
        return replace(self.live.entry(), text=self.text, status=status, footer=self._mishap())

    def _mishap(self) -> str:
        """What went wrong and what to do, below what was said."""
        ended = self.finished
        if ended is None or not ended.error:
            return ""
        words = (one_line(each, 300).rstrip(".") for each in (ended.error, ended.hint) if each)
        return " · ".join(words)

    def heading(self) -> str:
        """Who was named, and who answers."""
        if self.route.startswith(f"{self.name}@") or self.route.endswith(f"@{self.name}"):
            return self.route
        return self.name if self.route in ("", self.name) else f"{self.name}: {self.route}"

    def figures(self) -> str:
        """How it stands: how it ended, what it took, how long."""
        if self.finished is None:
            return self._meanwhile()
        ended = self.finished
        parts = [ENDINGS.get(ended.status, ended.status)]
        if ended.finish_reason == "length":
            parts = ["reached its length limit"]
        if ended.completion_tokens is not None:
            parts.append(f"{ended.prompt_tokens}+{ended.completion_tokens} tokens")
        parts.append(f"{ended.duration_s:.1f} s")
        parts += [cost_of(ended.cost_usd, ended.cost_known)] if ended.cost_usd else []
        parts += ["from the cache"] if ended.cached_at is not None else []
        parts += [] if ended.saved else ["not saved yet"]
        return " · ".join(parts)

    def _meanwhile(self) -> str:
        waited = f"{max(0.0, self.clock() - self.since):.0f} s"
        if self.live is None or not self.live.begun:
            return " · ".join(filter(None, (self.trouble, f"waiting {waited}")))
        speed = self.live.speed.tokens_per_s
        return " · ".join([*([f"{speed:.0f} tok/s"] if speed else []), f"streaming {waited}"])


class Comparing:
    """Hears what becomes of the two answers. They are on the screen until somebody leaves it, and can be again."""

    def __init__(self, app: SophiaApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self.columns: dict[Side, Column] = {}
        self.question = ""
        self._of: dict[str, Column] = {}
        """By the ids of their answers."""
        self._screen: CompareScreen | None = None

    def attend(self) -> None:
        """What stands in the prompt is what is compared, where no question is given."""
        self._app.runtime.comparing.typed = self._typed

    def _typed(self) -> str:
        draft = self._app.chat.prompt.draft
        return "" if self._app.dispatcher.is_command(draft) else draft

    @property
    def running(self) -> bool:
        """Whether one of them still streams."""
        return any(each.finished is None for each in self.columns.values())

    def is_beside(self, answer_id: str) -> bool:
        """Whether it is the answer that the conversation does not show."""
        return "right" in self.columns and self.columns["right"].answer_id == answer_id

    def heard(self, event: Event) -> None:
        """Whatever happens, but for the words of answers."""
        match event:
            case ComparisonStarted():
                self._begin(event)
            case TurnStarted() if column := self._of.get(event.answer_id):
                column.live = self._app.chat.turns.of(event.answer_id)
                column.request_id = event.request_id
            case RouteChosen() if column := self._of.get(event.answer_id):
                column.route, column.trouble = one_line(f"{event.model}@{event.provider}", LONGEST_NAME), ""
                self._restate(column)
            case AttemptFailed():
                self._failed(event)
            case TurnFinished() if column := self._of.get(event.answer_id):
                column.finished, column.said = event, sanitize(event.text)
                if self._screen:
                    self._screen.finish(column)
            case ComparisonEnded() if self._screen:
                self._screen.ended()

    def delta(self, event: TextDelta | ReasoningDelta) -> None:
        """More of an answer; the conversation has made it safe already."""
        column, screen = self._of.get(event.answer_id), self._screen
        if screen is None or column is None or column.live is None:
            return
        if isinstance(event, TextDelta):
            screen.feed(column.side, column.live.text[-1])
        else:
            screen.feed(column.side, column.live.reasoning[-1], reasoning=True)

    def _begin(self, event: ComparisonStarted) -> None:
        self.question, now = sanitize(event.question), self._clock()
        self.columns = {
            "left": Column("left", event.left_id, one_line(event.left, LONGEST_NAME), self._clock, now),
            "right": Column("right", event.right_id, one_line(event.right, LONGEST_NAME), self._clock, now),
        }
        self._of = {each.answer_id: each for each in self.columns.values()}
        prompt = self._app.chat.prompt
        if prompt.draft.strip() == event.question.strip():
            prompt.load_text("")
        elif self._app.dispatcher.is_command(prompt.draft):
            prompt.accepted()  # the line that asked for this: both answers may take minutes to end
        # A macro goes on by itself, and what is open already was opened by somebody.
        if self._app.runtime.macros.running is None and len(self._app.screen_stack) == 1:
            self._app.call_later(self.show)

    def _failed(self, event: AttemptFailed) -> None:
        for column in self.columns.values():
            if column.request_id == event.request_id and column.finished is None:
                column.trouble = one_line(event.error, 200).rstrip(".")
                self._restate(column)

    def _restate(self, column: Column) -> None:
        if self._screen:
            self._screen.restate(column)

    def show(self) -> None:
        """Puts both on the screen, unless they are there."""
        from sophia_tui.screens.compare import CompareScreen

        if self.columns and self._screen is None and self._app.is_running:
            app = self._app
            fps = 1 / app.chat.transcript.pacer.fastest
            self._screen = CompareScreen(self.question, self.columns, fps=fps, ascii_only=app.ascii_only)
            app.push_screen(self._screen, self._left)

    def _left(self, kept: Side | None) -> None:
        """The screen is gone; both answers stay."""
        self._screen = None
        if kept:
            self._app.dispatcher.start("compare.keep", kept)

    def forget(self) -> None:
        """The store is locked: nothing of what was said stays here."""
        self.columns, self._of, self.question = {}, {}, ""
