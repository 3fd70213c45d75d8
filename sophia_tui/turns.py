"""The answer being streamed, and its way onto the transcript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sophia_core.events import ReasoningDelta, TextDelta, TurnFinished, TurnStarted
from sophia_core.sanitize import StreamSanitizer, one_line, sanitize
from sophia_tui.footers import footer_of_turn
from sophia_tui.speed import Speed
from sophia_tui.transcript import Entry, Transcript
from sophia_tui.transcript.entry import Aside


@dataclass(slots=True)
class LiveTurn:
    """What a running turn has said so far, safe for the screen; kept so that leaving its session loses nothing."""

    started: TurnStarted
    speed: Speed
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    text_edge: StreamSanitizer = field(default_factory=StreamSanitizer)
    reasoning_edge: StreamSanitizer = field(default_factory=StreamSanitizer)
    quiet: bool = False
    """A delivery that nobody has begun to answer: it may wait again, so its entry stays as it is."""
    begun: bool = False
    meanwhile: str = ""
    """What is said in place of the answer until it begins."""

    def entry(self, branch: tuple[int, int] | None = None) -> Entry:
        """The answer as it stands."""
        return Entry(
            id=self.started.answer_id,
            role="assistant",
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            status="streaming",
            label="SOPHIA",
            footer=self.meanwhile,
            branch=branch,
        )

    def question(self) -> Entry:
        """The question it answers."""
        asides = tuple(
            Aside(each.kind, one_line(each.name, 120), sanitize(each.about), size=each.size, media_type=each.media_type)
            for each in self.started.attached
        )
        text = sanitize(self.started.question)
        return Entry(id=self.started.question_id, role="user", text=text, label="You", asides=asides)


class TurnView:
    """Puts the running turn on the transcript. Text from outside is made safe here, once."""

    def __init__(self, transcript: Transcript, clock: Callable[[], float]) -> None:
        self._transcript, self._clock = transcript, clock
        self.live: LiveTurn | None = None
        self.last: TurnFinished | None = None
        """The turn that ended last: the store may have been read just before its end was written."""

    def started(self, event: TurnStarted, *, shown: bool) -> None:
        """A turn begins; `shown` says whether its session is the one on the screen."""
        self.live = LiveTurn(event, Speed(self._clock), quiet=event.delivered)
        if event.prefix:
            self.live.text.append(self.live.text_edge.feed(event.prefix))
        if shown:
            known = {entry.id for entry in self._transcript.entries}
            if event.question_id not in known:
                self._transcript.append(self.live.question())
            if event.answer_id not in known:
                self._transcript.begin(self.live.entry())
            if not event.delivered:
                self._transcript.follow()

    def meanwhile(self, words: str) -> None:
        """Says something in place of an answer that has not begun."""
        if self.live and not self.live.begun:
            self.live.meanwhile = words
            self._transcript.note(self.live.started.answer_id, words)

    def _begun(self, live: LiveTurn) -> None:
        """The first of the answer has come."""
        live.begun, live.meanwhile = True, ""
        if live.quiet:
            live.quiet = False
            if any(entry.id == live.started.answer_id for entry in self._transcript.entries):
                self._transcript.begin(live.entry())

    def text(self, event: TextDelta) -> None:
        if self.live and self.live.started.answer_id == event.answer_id:
            self._begun(self.live)
            safe = self.live.text_edge.feed(event.text)
            self.live.text.append(safe)
            self.live.speed.add(len(safe))
            self._transcript.feed(event.answer_id, safe)

    def reasoning(self, event: ReasoningDelta) -> None:
        if self.live and self.live.started.answer_id == event.answer_id:
            self._begun(self.live)
            safe = self.live.reasoning_edge.feed(event.text)
            self.live.reasoning.append(safe)
            self.live.speed.add(len(safe))
            self._transcript.feed_reasoning(event.answer_id, safe)

    def finished(self, event: TurnFinished) -> None:
        """The whole text replaces what was fed: it is the same, but for what came after the last delta."""
        self.last = event
        dead = event.status == "failed" and event.saved and self.live is not None and self.live.started.delivered
        status = "dead" if dead else event.status
        self._transcript.finish(
            event.answer_id,
            text=sanitize(event.text),
            status=status,
            footer=footer_of_turn(event, status),
            label="SOPHIA",
        )
        self.live = None
