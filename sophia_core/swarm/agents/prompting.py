"""What a step's model is told: who it is, what is to be done, and what of files and earlier steps it is shown. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from sophia_core.swarm.fences import fence_rule, fenced, nonce_for
from sophia_core.swarm.plan import Check
from sophia_core.swarm.ports import StepWork

WORKING: Final = (
    "You do one step of a larger plan. Do what the goal says and no more. Nobody answers questions while you work: "
    "where something is not said, take the simplest way. Your last message is the result that the next step is given."
)
WITH_TOOLS: Final = "Look before you change anything. When the work is done, say in a few sentences what you did."
_PATH: Final = re.compile(r"[\w./-]*\w\.[A-Za-z0-9]{1,8}\b")
_CHANGED: Final = re.compile(r"^\s*File to change:\s*(\S+)", re.MULTILINE | re.IGNORECASE)
TESTS: Final = re.compile(r"(?:^|/)(?:test_[^/]*|[^/]*_test)\.\w+$|(?:^|/)tests?/")


def nonce_of(work: StepWork) -> str:
    """Return what marks strangers' texts in this step: the same after a crash, and known to nobody beforehand."""
    return nonce_for(work.run_id, work.step.id, work.attempt)


def instructions(persona: str, work: StepWork, *, tools: bool) -> str:
    """Return what stands before everything else."""
    parts = [persona, WORKING, WITH_TOOLS if tools else "", fence_rule(nonce_of(work))]
    return "\n\n".join(each for each in parts if each)


def question(work: StepWork, files: Mapping[str, str], *, most: int, marked: bool = False) -> str:
    """Return the goal with what it is about: files, and results of the steps before that the goal does not tell.

    `marked`: what models and programs said is marked inside the goal, too, for whoever has tools to be misled with.
    """
    goal = (marked and work.told) or work.step.goal
    nonce = nonce_of(work)
    shown = [fenced(_cut(text, most // 2), f"file {path}", nonce) for path, text in files.items()]
    results = [
        fenced(_cut(as_text(value), most // 4), f"result of step {id_}", nonce)
        for id_, value in work.results.items()
        if id_ in work.step.after and as_text(value).strip()[:200] not in work.step.goal
    ]
    return _cut("\n\n".join([*shown, *results]), most) + ("\n\n" if shown or results else "") + goal


def as_text(value: Any) -> str:
    """Return a result as a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def files_in(goal: str, present: Sequence[str]) -> list[str]:
    """Return the files that a goal names and that there are, in the order in which it names them."""
    named = (each.group().removeprefix("./") for each in _PATH.finditer(goal))
    return list(dict.fromkeys(path for each in named for path in _meant(each, present)))


def file_to_change(goal: str, present: Sequence[str]) -> str:
    """Return the file that a goal wants changed: the one it says so of, or the first that is no test; empty: none."""
    if found := _CHANGED.search(goal):
        return next(iter(_meant(found[1].removeprefix("./"), present)), found[1].removeprefix("./"))
    named = [each for each in files_in(goal, present) if not TESTS.search(each)]
    own = [each for each in present if each.endswith(".py") and not TESTS.search(each)]
    return named[0] if named else own[0] if len(own) == 1 else ""


def judging_test(check: Check | None, goal: str, module: str, present: Sequence[str]) -> str:
    """Return the test file that a check runs, that the goal names, or that is called after the module; empty: none."""
    words = [part for word in (check.program if check else ()) for part in word.split()]
    paths = [path for word in words for path in (word.partition("::")[0], word.replace(".", "/") + ".py")]
    beside = [each for each in present if PurePosixPath(each).stem in (f"test_{module}", f"{module}_test")]
    all_tests = [each for each in present if TESTS.search(each)]
    only = all_tests if len(all_tests) == 1 else []
    found = (each for each in [*paths, *files_in(goal, present), *beside, *only] if each in present)
    return next((each for each in found if TESTS.search(each)), "")


def core_of(goal: str) -> str:
    """Return what of a goal comes before the file is named; the whole of it where that says nothing."""
    head = _CHANGED.split(goal, maxsplit=1)[0].strip()
    return head.removeprefix("This is to be done:").strip() or goal.strip()


def _meant(name: str, present: Sequence[str]) -> Iterator[str]:
    if name in present:
        yield name
    elif "/" not in name:
        alike = [each for each in present if PurePosixPath(each).name == name]
        yield from alike if len(alike) == 1 else ()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most} more characters …"
