"""The tour goes on when a thing was done, and only then."""

from __future__ import annotations

import pytest

from sophia_core.commands import Command, CommandError, Registry, command, declarations
from sophia_core.events import Bus, Event, MacroFinished, TourEnded, TourStepped, TurnFinished
from sophia_core.runtime import COMMAND_OWNERS
from sophia_core.tour import LESSONS, Tour


class Pupil:
    """Somebody who takes the tour."""

    def __init__(self) -> None:
        self.told, self.bus, self.registry = list[Event](), Bus(), Registry()
        self.tour = Tour(self.bus)
        self.bus.subscribe(self.told.append)
        self.bus.subscribe(self.tour)
        self.registry.collect(self.tour)
        self.registry.after.append(self.tour.ran)

    def did(self, name: str, error: BaseException | None = None) -> None:
        spec = next(s for _, s in declarations(Anything)) if name == "any.thing" else SPECS[name]
        self.tour.ran(Command(spec, Anything().thing, self), {}, error)

    def answered(self, status: str = "complete") -> None:
        self.bus.publish(TurnFinished("s", "a", "r", "text", status))  # type: ignore[arg-type]

    @property
    def at(self) -> tuple[str, int] | None:
        steps = [each for each in self.told if isinstance(each, TourStepped)]
        return (steps[-1].lesson, steps[-1].number) if self.tour.given else None


class Anything:
    @command("any.thing")
    async def thing(self) -> None:
        """Do a thing."""


SPECS = {spec.name: spec for owner in COMMAND_OWNERS for _, spec in declarations(owner)}


def test_every_command_of_the_lessons_exists() -> None:
    from sophia_tui.commands import ScreenCommands

    known = SPECS.keys() | {spec.name for _, spec in declarations(ScreenCommands)}
    slashes = {spec.slash for spec in SPECS.values()} | known
    for steps in LESSONS.values():
        for step in steps:
            assert step.commands <= known and (step.commands or step.event)
            named = [word.strip(".,") for word in step.text.split() if word.startswith("/")]
            assert [word for word in named if word[1:] not in slashes] == []


async def test_a_step_is_over_when_it_was_done() -> None:
    pupil = Pupil()
    await pupil.registry.run("help.tour")
    assert pupil.at == ("chat", 1)
    pupil.did("session.new")
    pupil.answered("failed")
    assert pupil.at == ("chat", 1)
    pupil.answered()
    assert pupil.at == ("chat", 2)
    pupil.did("chat.regenerate", CommandError("no"))
    assert pupil.at == ("chat", 2)
    for name in ("chat.regenerate", "branch.previous", "session.new", "macro.record"):
        pupil.did(name)
    pupil.answered()
    pupil.did("macro.keep")
    assert pupil.at == ("macro", 4)
    pupil.bus.publish(MacroFinished("1", "hello", "failed", ""))
    assert pupil.at == ("macro", 4)
    pupil.bus.publish(MacroFinished("1", "hello", "finished", ""))
    for name in ("session.search", "session.list", "session.latest"):
        pupil.did(name)
    assert pupil.at is None and isinstance(pupil.told[-1], TourEnded)


async def test_one_lesson_skipping_and_ending() -> None:
    pupil = Pupil()
    with pytest.raises(CommandError):
        await pupil.registry.run("help.skip")
    await pupil.registry.run("help.lesson", "search")
    for number in range(1, len(LESSONS["search"])):
        assert pupil.at == ("search", number)
        await pupil.registry.run("help.skip")
    await pupil.registry.run("help.end")
    assert not pupil.tour.given and isinstance(pupil.told[-1], TourEnded)
    pupil.did("session.list")
    with pytest.raises(CommandError):
        await pupil.registry.run("help.end")
