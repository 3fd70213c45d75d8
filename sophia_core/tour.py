"""A guided tour: short lessons whose steps are done, not read. A step is over when the thing itself has happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sophia_core.commands import Command, CommandError, command
from sophia_core.events import (
    Bus,
    Event,
    MacroFinished,
    SessionChanged,
    TextDelta,
    TourEnded,
    TourStepped,
    TurnFinished,
)

Lesson = Literal["chat", "macro", "search"]
Check = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, and how it shows that it was done: a command that ran, or an event."""

    text: str
    commands: frozenset[str] = frozenset()
    event: Check | None = None


def _answered(event: Event) -> bool:
    return isinstance(event, TurnFinished) and event.status == "complete"


def _macro_ran(event: Event) -> bool:
    return isinstance(event, MacroFinished) and event.ending == "finished"


def _after(*names: str) -> frozenset[str]:
    return frozenset(names)


LESSONS: Final[Mapping[Lesson, tuple[Step, ...]]] = {
    "chat": (
        Step("Ask something: type a question and press Enter. For example: What is a process?", event=_answered),
        Step("Ask for the same answer once more: press Ctrl+R, or type /again.", _after("chat.regenerate")),
        Step("Both answers are kept. Go back to the first: Alt+Left, or /previous.", _after("branch.previous")),
        Step("Begin a new session: press Ctrl+N, or type /new.", _after("session.new")),
    ),
    "macro": (
        Step("A macro is what you did, kept. Begin to record: type /macro.record.", _after("macro.record")),
        Step("Now do what it shall do: ask something, such as: Say hello in one word.", event=_answered),
        Step("Keep it under a name: type /macro.keep hello.", _after("macro.keep")),
        Step("Run it: type /macro.run hello. It is in the palette (Ctrl+P), too.", event=_macro_ran),
    ),
    "search": (
        Step("Find what was said: type /search and a word of your question.", _after("session.search", "view.find")),
        Step("See every session: type /sessions.", _after("session.list", "view.sessions")),
        Step("Open the one you used last: type /session.latest.", _after("session.latest", "session.open")),
    ),
}
"""The lessons in their order; one of them takes a minute or two."""
DONE: Final = {
    "chat": "That was chatting.",
    "macro": "That was a macro.",
    "search": "That was searching.",
}
NOTHING: Final = "No tour is being given; help.tour begins one."


class Tour:
    """Gives the lessons, one step at a time; hears of every command that ran and of every event."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: list[Lesson] = []
        self._lesson: Lesson | None = None
        self._at = 0

    @property
    def given(self) -> bool:
        """Whether a lesson is being given."""
        return self._lesson is not None

    def ran(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        """A command ran; for the registry."""
        step = self._step()
        if step is not None and error is None and chosen.name in step.commands:
            self._go_on()

    def __call__(self, event: Event) -> None:
        """An event happened; for the bus."""
        if self._lesson is None or isinstance(event, TextDelta | TourStepped | TourEnded | SessionChanged):
            return
        step = self._step()
        if step is not None and step.event is not None and step.event(event):
            self._go_on()

    def _step(self) -> Step | None:
        return LESSONS[self._lesson][self._at] if self._lesson else None

    def _begin(self, lessons: list[Lesson]) -> None:
        self._lesson, self._waiting, self._at = lessons[0], lessons[1:], 0
        self._tell()

    def _tell(self) -> None:
        if self._lesson is not None and (step := self._step()):
            number, steps = self._at + 1, len(LESSONS[self._lesson])
            self._bus.publish(TourStepped(self._lesson, number, steps, step.text))

    def _go_on(self) -> None:
        if self._lesson is None:
            return
        self._at += 1
        if self._at < len(LESSONS[self._lesson]):
            self._tell()
        elif self._waiting:
            self._lesson, self._at = self._waiting.pop(0), 0
            self._tell()
        else:
            finished, self._lesson = self._lesson, None
            self._bus.publish(TourEnded(f"{DONE[finished]} You have done it all; /help shows what else there is."))

    @command("help.tour", slash="tour")
    async def tour(self) -> None:
        """Take the guided tour: chatting, macros, searching, each learnt by doing it."""
        self._begin(list(LESSONS))

    @command("help.lesson", slash="lesson")
    async def lesson(self, name: Lesson) -> None:
        """Take one lesson of the tour: chat, macro or search."""
        self._begin([name])

    @command("help.skip")
    async def skip(self) -> None:
        """Pass over this step of the tour."""
        if self._lesson is None:
            raise CommandError(NOTHING)
        self._go_on()

    @command("help.end")
    async def end(self) -> None:
        """End the tour."""
        if self._lesson is None:
            raise CommandError(NOTHING)
        self._lesson = None
        self._bus.publish(TourEnded("The tour is over; /tour begins it again."))
