"""Changes that do not go together: a person says whose count, or has a step do its part again, knowing the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.swarm.ports import StepFailed, StepHost

MOST_CLASHES: Final = 10
MOST_ASKED: Final = 3
HINT: Final = "Nothing was touched. Retry the step that made them, or this one when your files are settled."
MARKED: Final = (
    "{files} now hold both, between lines of <<<<<<< and >>>>>>>: make one of it that keeps what both want, and leave"
    " no such line."
)

Answers = Mapping[str, str]
"""What can be answered, with what it means."""


class SentBack(StepFailed):
    """A person wants a step before done again, knowing why; this one comes after it once more."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(why, again=False)
        self.step = step


def with_yours(step: str) -> Answers:
    """The answers where a person's own files are the others; without a step nobody can do it again."""
    own = {"mine": "your files stay as they are, the rest is taken", "theirs": "the run's are put in place of yours"}
    return {**own, "back": f"{step} does it again, knowing yours"} if step else own


def with_earlier(step: str) -> Answers:
    """The answers where steps made both."""
    return {
        "first": "what was made before counts",
        "last": f"what {step} made counts",
        "back": f"{step} does it again, knowing the other",
    }


async def settled(host: StepHost, turn: int, between: str, files: Sequence[str], answers: Answers) -> str:
    """The answer of a person; waits for it. Raises StepFailed when none of them is given."""
    shown = [one_line(each, 200) for each in files]
    await host.tell("diff.conflict", {"files": shown})
    named = f"{', '.join(shown[:5])}{f' and {len(shown) - 5} more' if len(shown) > 5 else ''}"
    said = "; ".join(f"{name}: {means}" for name, means in answers.items())
    question = f"{between} do not go together in {named}. Answer {said}."
    for number in range(MOST_ASKED):
        answer = (await host.ask(f"clash {turn}.{number}", question)).strip().strip(".,!\"'").casefold()
        if answer in answers:
            return answer
        question = f"Answer one word of {', '.join(answers)}: {named} do not go together. {said}."
    raise StepFailed(f"changes to {named} do not go together", HINT, again=False)


def sent_back(step: str, other: str, files: Sequence[str]) -> SentBack:
    """Has the step done again, in whose worktree both are."""
    named = ", ".join(one_line(each, 200) for each in files[:10])
    return SentBack(step, f"What you made does not go together with {other}. {MARKED.format(files=named)}")
