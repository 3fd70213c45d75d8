"""The answer being streamed, and its way onto the transcript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sophia_core.events import ReasoningDelta, TextDelta, ToolCalled, TurnFinished, TurnStarted
from sophia_core.personas.personas import Face
from sophia_core.sanitize import StreamSanitizer, one_line, sanitize
from sophia_tui.faces import NOBODY, last_speaker, mark_of
from sophia_tui.footers import LONGEST_ASIDE, footer_of_turn
from sophia_tui.speed import Speed
from sophia_tui.transcript import Entry, Transcript
from sophia_tui.transcript.entry import Aside

MOST_FOOTERS = 500
"""Answers whose end is remembered in full; under older ones stands what the store has."""


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
    calls: dict[int, Aside] = field(default_factory=dict)
    """The calls of tools, by their number."""
    meanwhile: str = ""
    """What is said in place of the answer until it begins."""
    face: Face = NOBODY
    """Who answers."""
    above: str = ""
    """The mark over the question, where somebody else answers from here on."""

    def entry(self, branch: tuple[int, int] | None = None) -> Entry:
        """The answer as it stands."""
        return Entry(
            id=self.started.answer_id,
            role="assistant",
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            status="streaming",
            label=self.face.title,
            footer=self.meanwhile,
            branch=branch,
            asides=self.asides,
            tint=self.face.colour,
        )

    @property
    def asides(self) -> tuple[Aside, ...]:
        """The calls of tools as they stand, in their order."""
        return tuple(call for _, call in sorted(self.calls.items()))

    def question(self) -> Entry:
        """The question it answers."""
        asides = tuple(
            Aside(each.kind, one_line(each.name, 120), sanitize(each.about), size=each.size, media_type=each.media_type)
            for each in self.started.attached
        )
        text = sanitize(self.started.question)
        return Entry(id=self.started.question_id, role="user", text=text, label="You", asides=asides, above=self.above)


class TurnView:
    """Puts the running turn on the transcript. Text from outside is made safe here, once."""

    def __init__(self, transcript: Transcript, clock: Callable[[], float]) -> None:
        self._transcript, self._clock = transcript, clock
        self.live: LiveTurn | None = None
        self.beside: LiveTurn | None = None
        """The other answer while two are compared; it is shown here where it is the one that is kept."""
        self.faces: Callable[[str | None], Face] = lambda persona: NOBODY
        self.last: TurnFinished | None = None
        """The turn that ended last: the store may have been read just before its end was written."""
        self._footers: dict[str, tuple[str, str]] = {}

    def started(self, event: TurnStarted, *, shown: bool) -> None:
        """A turn begins; `shown` says whether its session is the one on the screen."""
        if event.beside:
            self.beside = LiveTurn(event, Speed(self._clock), face=self.faces(event.persona))
            return
        face, speaker = self.faces(event.persona), last_speaker(self._transcript.entries)
        above = "" if speaker in (None, face.title) else mark_of(face)
        self.live = LiveTurn(event, Speed(self._clock), quiet=event.delivered, face=face, above=above)
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

    def of(self, answer_id: str) -> LiveTurn | None:
        """The running turn of this answer."""
        turns = (self.live, self.beside)
        return next((each for each in turns if each is not None and each.started.answer_id == answer_id), None)

    def text(self, event: TextDelta) -> None:
        if live := self.of(event.answer_id):
            self._begun(live)
            safe = live.text_edge.feed(event.text)
            live.text.append(safe)
            live.speed.add(len(safe))
            if live is self.live or self._transcript.has(event.answer_id):
                self._transcript.feed(event.answer_id, safe)

    def reasoning(self, event: ReasoningDelta) -> None:
        if live := self.of(event.answer_id):
            self._begun(live)
            safe = live.reasoning_edge.feed(event.text)
            live.reasoning.append(safe)
            live.speed.add(len(safe))
            if live is self.live or self._transcript.has(event.answer_id):
                self._transcript.feed_reasoning(event.answer_id, safe)

    def called(self, event: ToolCalled) -> None:
        """A call of a tool, or more of it, on a row of its own that unfolds."""
        if live := self.of(event.answer_id):
            self._begun(live)
            text = sanitize(event.arguments[:LONGEST_ASIDE])
            live.calls[event.index] = Aside("tool_call", one_line(event.name, 120), text, event.status)
            self._transcript.put_asides(event.answer_id, live.asides)

    def finished(self, event: TurnFinished) -> None:
        """The whole text replaces what was fed: it is the same, but for what came after the last delta."""
        self.last = event
        dead = event.status == "failed" and event.saved and self.live is not None and self.live.started.delivered
        status = "dead" if dead else event.status
        footer = footer_of_turn(event, status)
        self._keep(event.answer_id, status, footer)
        self._transcript.finish(
            event.answer_id,
            text=sanitize(event.text),
            status=status,
            footer=footer,
            label=live.face.title if (live := self.of(event.answer_id)) else "",
        )
        if self.beside is not None and self.beside.started.answer_id == event.answer_id:
            self.beside = None
        else:
            self.live = None

    def _keep(self, answer_id: str, status: str, footer: str) -> None:
        self._footers[answer_id] = status, footer
        if len(self._footers) > MOST_FOOTERS:
            del self._footers[next(iter(self._footers))]

    def footer(self, answer_id: str, status: str) -> str | None:
        """What stood under an answer when it ended, while it stands so still: more is known then than is stored."""
        kept = self._footers.get(answer_id)
        return kept[1] if kept and kept[0] == status else None
