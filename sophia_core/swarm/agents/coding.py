"""Code by a small model: one file in, one file out, tried in several ways until the check passes.

Such a model calls no tools and mends nothing that it is shown as wrong: it says the same again. So each try asks anew,
in other words and with another seed, for nothing but the code; what it says is put into the file by a program, and the
check alone says whether that counts. Nothing is left in the folder of a try that does not.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, Protocol, TypeAlias

from backend_client.types import ChatMessage
from sophia_core.sanitize import sanitize
from sophia_core.swarm.agents.asking import Voice, Wish
from sophia_core.swarm.agents.capability import Capability
from sophia_core.swarm.agents.examples import complaint_in, examples_in
from sophia_core.swarm.agents.splicing import BadCode, code_in, spliced, stub_of
from sophia_core.swarm.plan import Check
from sophia_core.swarm.ports import StepFailed

SYSTEM: Final = "You are a careful Python programmer. You answer with code only."
PAGES: Final = "You write short, plain documents. You answer with the text of the document only, and no code."
PROSE: Final = (".md", ".markdown", ".rst", ".txt")
BLOCK: Final = "```python\n"
STOPS: Final = ("```", "\nif __name__", "\nclass Test", "\n# Test", "\n# Example", "\nprint(", "\nassert ")
WARMEST: Final = 1.0
MOST_MINDED: Final = 3
TOLD: Final = 4_000
WITH_PLAN: Final = 3
"""Every third try is told all that the goal says."""
_UNEQUAL: Final = re.compile(r"AssertionError: (.{1,60}?) != (.{1,60}?)(?: :|$)", re.MULTILINE)


class Verdict(Protocol):
    """What a check said."""

    @property
    def ok(self) -> bool: ...
    @property
    def text(self) -> str: ...


Judge: TypeAlias = Callable[[Check, str], Awaitable[Verdict]]
"""Runs a check in a folder, shut off as all programs of a run are."""


class Files(Protocol):
    """The files of a step's folder and no others."""

    def read(self, path: object, most: int = ...) -> bytes: ...
    def write(self, path: object, content: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be written."""

    goal: str
    path: str
    code: str
    """The file as it is; empty where there is none yet."""
    examples: tuple[str, ...] = ()
    """What has to hold, a line each."""
    core: str = ""
    """The goal without what a plan put around it; what a small model planned is as likely to mislead as to help."""

    @property
    def module(self) -> str:
        return PurePosixPath(self.path).stem

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_prose(self) -> bool:
        return self.path.lower().endswith(PROSE)


def job_of(goal: str, path: str, code: str, test: str = "", core: str = "") -> Job:
    """Return the job of a file, with the examples of its test."""
    return Job(goal, path, code, tuple(examples_in(test)), core or goal)


def prompt_of(job: Job, number: int, wrong: str = "") -> tuple[ChatMessage, ...]:
    """Return what is asked in this try, from 0, minding what was wrong before; the last message begins the answer."""
    asks = _ASKS if job.is_python and job.code.strip() else (_page,) if job.is_prose else (_whole,)
    goal = job.goal if number % WITH_PLAN == WITH_PLAN - 1 else job.core or job.goal
    goal = f"{goal}\n{minding(wrong)}" if number % 2 and minding(wrong) else goal
    return asks[number % len(asks)](replace(job, goal=goal))


def minding(wrong: str) -> str:
    """Return what a test complained of as something to mind, without the code that was wrong: that would be copied."""
    found = [f"Mind: not {got}, but {wanted}." for got, wanted in _UNEQUAL.findall(wrong)]
    return " ".join(dict.fromkeys(found[:MOST_MINDED]))


def warmth_of(number: int) -> float:
    """Return the temperature of a try: none for the first, then more and more."""
    return 0.0 if number == 0 else min(WARMEST, 0.6 + 0.05 * number)


def made_of(job: Job, answer: str, beginning: str) -> str:
    """Return the whole new file. Raises BadCode."""
    code = answer if answer.startswith(beginning) else beginning + answer
    if job.is_python:
        return spliced(job.code, code, job.module)
    made = code.removesuffix("```") if job.is_prose else code_in(code)
    if not made.removeprefix(beginning).strip():
        raise BadCode("the answer is empty")
    return made.rstrip() + "\n"


async def write_code(voice: Voice, job: Job, files: Files, capability: Capability, judge: Judge) -> str:
    """Write the file so that the step's check passes, and return what was said of it. Raises StepFailed."""
    work, check = voice.work, voice.work.step.check
    beside = max(1, work.step.best_of)
    tries = -(-capability.tries // beside) if check is not None else 1
    wrong = ""
    for number in range(tries):
        # No two tries ask alike: neither those side by side, nor those of a step that is done again.
        at = ((work.attempt - 1) * tries + number) * beside + work.seed
        try:
            made = await _try(voice, job, at, capability, wrong)
        except BadCode as error:
            wrong = str(error)
            continue
        await _write(voice, f"write-{number + 1}", files, job.path, made)
        if check is None:
            return f"{job.path} was written."
        passes, text = await _judged(voice, number, check, judge)
        if passes:
            return f"{job.path} was written; {' '.join(check.program)} passes, after {number + 1} of {tries} tries."
        wrong = complaint_in(text)
        await _write(voice, f"undo-{number + 1}", files, job.path, job.code)
    raise StepFailed(
        f"{job.path} did not come right in {tries} tries: {sanitize(wrong)[:300]}",
        "Say in the goal more exactly what is to be done, step by step, or give the step to a larger model.",
        spent=voice.spent,
    )


async def _try(voice: Voice, job: Job, at: int, capability: Capability, wrong: str) -> str:
    messages = prompt_of(job, at, wrong)
    wish = Wish(
        temperature=warmth_of(at),
        max_tokens=capability.tokens,
        seed=at,
        stop=STOPS if job.is_python else (),
        continuing=True,
    )
    said = await voice.ask(messages, wish)
    return made_of(job, said.text, messages[-1].content)


async def _write(voice: Voice, name: str, files: Files, path: str, text: str) -> None:
    async def write() -> bool:
        await asyncio.to_thread(files.write, path, text.encode())
        return True

    await voice.host.once(name, write)


async def _judged(voice: Voice, number: int, check: Check, judge: Judge) -> tuple[bool, str]:
    async def run() -> list[object]:
        began = time.monotonic()
        verdict = await judge(check, voice.work.folder)
        return [verdict.ok, sanitize(verdict.text)[-TOLD:], round(time.monotonic() - began, 3)]

    name = f"check-{number + 1}"
    ok, text, seconds = await voice.host.once(name, run)
    detail = {"ok": ok, "program": list(check.program), "text": text, "seconds": seconds}
    await voice.host.tell("check.ran", detail, key=name)
    return bool(ok), str(text)


# How it is asked


def _examples(job: Job) -> str:
    return "\n".join(job.examples)


def _whole(job: Job) -> tuple[ChatMessage, ...]:
    """The file as it is, and all of it anew."""
    held = f"\n\nThis must hold afterwards:\n```\n{_examples(job)}\n```" if job.examples else ""
    now = f"\n\n{job.path}:\n```\n{job.code.strip()}\n```" if job.code.strip() else ""
    end = f"Write {job.path} anew, all of it, in one block. Write no tests and no examples of use."
    beginning = BLOCK if job.is_python else "```\n"
    return _asked(f"{job.goal}{now}{held}\n\n{end}", beginning)


def _page(job: Job) -> tuple[ChatMessage, ...]:
    """A document for people: what it is about stands in the goal, and its heading is begun."""
    now = f"\n\n{job.path} as it is now:\n{job.code.strip()}" if job.code.strip() else ""
    asked = f"{job.goal}{now}\n\nWrite {job.path}, all of it."
    return ChatMessage("system", PAGES), ChatMessage("user", asked), ChatMessage("assistant", "# ")


def _bare(job: Job) -> tuple[ChatMessage, ...]:
    """Signatures without bodies, so that a wrong body is not copied; the answer begins in the middle of the first."""
    told = f"Complete this Python code.\n\n{BLOCK}{stub_of(job.code).strip()}\n```\n\n{job.goal}"
    shown = "\n".join(f">>> {left}\n{right}" for left, is_, right in (e.partition(" == ") for e in job.examples) if is_)
    return _asked(f"{told}\n{shown}", BLOCK + _opening(job.code))


def _short(job: Job) -> tuple[ChatMessage, ...]:
    """The goal first, and little else."""
    return _asked(f"{job.goal}\n\n{BLOCK}{stub_of(job.code).strip()}\n```\n\nExamples:\n{_examples(job)}", BLOCK)


_ASKS: Final = (_whole, _bare, _short, _bare)


def _asked(text: str, beginning: str) -> tuple[ChatMessage, ...]:
    return ChatMessage("system", SYSTEM), ChatMessage("user", text), ChatMessage("assistant", beginning)


def _opening(code: str) -> str:
    """The first line of what is defined, up to its parameters."""
    first = next((line for line in code.splitlines() if line.startswith(("def ", "class "))), "")
    return first.partition("(")[0] + "(" if first.startswith("def ") else f"{first}\n" if first else ""
