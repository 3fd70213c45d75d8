"""One attempt at one step: its folder, its runner, its check, and what came of it as data that DBOS keeps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.engine.host import Host, failure
from sophia_core.swarm.engine.runners import Runners
from sophia_core.swarm.log import request_data, request_from
from sophia_core.swarm.plan import Check
from sophia_core.swarm.ports import BudgetReached, StepFailed, StepHost, StepResult, StepWork
from sophia_core.swarm.tools.clashing import SentBack

LONGEST_RESULT: Final = 200_000
GRACE_S: Final = 5.0
"""For a runner that was told to stop; then it is left behind."""


@dataclass(frozen=True, slots=True)
class CheckRan:
    """How a program judged."""

    ok: bool
    text: str
    seconds: float


class Workspaces(Protocol):
    """Who gives each step a folder and lets programs judge in it."""

    async def prepare(self, work: StepWork) -> str:
        """Return the folder for this attempt, made if need be. Doing it twice gives the same."""
        ...

    async def asks(self, check: Check, folder: str) -> ApprovalRequest | None:
        """Return what has to be allowed before the program of a check is run; None where it can do no harm."""
        ...

    async def judge(self, check: Check, folder: str, *, unboxed: bool = False) -> CheckRan:
        """Run the program of a check there; `unboxed` says that somebody allowed it without a sandbox. Raises
        StepFailed."""
        ...


class NoWorkspaces:
    """Where nothing is known of worktrees: each step has the person's folder, and no program is started."""

    async def prepare(self, work: StepWork) -> str:
        if work.step.workspace == "worktree":
            raise StepFailed("nobody here makes worktrees", "Run it on a worker that does.", again=False)
        return work.folder

    async def asks(self, check: Check, folder: str) -> ApprovalRequest | None:
        return None

    async def judge(self, check: Check, folder: str, *, unboxed: bool = False) -> CheckRan:
        raise StepFailed("nobody here runs programs that judge", "Run it on a worker that does.", again=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every attempt of a worker is made with."""

    runners: Runners
    workspaces: Workspaces


async def outcome(bench: Bench, host: Host, work: StepWork) -> dict[str, Any]:
    """Do it to its end; what came of it. Never raises but for what is no failure of the step: cancelled, or DBOS's."""
    try:
        return await _limited(host, work.left.seconds, lambda: _done(bench, host, work))
    except SentBack as error:
        return {"state": "back", "step": error.step, "why": str(error), "seconds": host.time.seconds}
    except StepFailed as error:
        return {"state": "failed", **failure(error), "seconds": host.time.seconds}
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "dbos":
            raise
        wrong = StepFailed(one_line(f"{type(error).__name__}: {error}", 500), "The log of the worker has the details.")
        return {"state": "failed", **failure(wrong), "seconds": host.time.seconds}


async def _limited(host: Host, seconds: float | None, do: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Stops it when it was at work for so long; waiting for a person does not count."""
    doing = asyncio.ensure_future(do())
    try:
        while not doing.done():
            left = None if seconds is None else seconds - host.time.seconds
            if left is not None and left <= 0:
                raise BudgetReached(f"the {seconds:g} seconds for it are used up", "Give it more, and retry the step.")
            await asyncio.wait({doing}, timeout=None if left is None else max(0.02, left))
        return doing.result()
    finally:
        await _stopped(doing)


async def _stopped(doing: asyncio.Future[Any]) -> None:
    until = time.monotonic() + GRACE_S
    while not doing.done() and time.monotonic() < until:
        # More than once: what was told to stop may have swallowed that together with an error of its own.
        doing.cancel()
        await asyncio.wait({doing}, timeout=0.5)
    if doing.done() and not doing.cancelled():
        doing.exception()


async def _done(bench: Bench, host: Host, work: StepWork) -> dict[str, Any]:
    step = work.step
    if step.workspace != "none" or step.check is not None or step.kind == "check":
        folder = await host.once("workspace", lambda: bench.workspaces.prepare(work))
        work = replace(work, folder=folder)
    if step.approval == "before":
        await _allowed(host, request("step", "run", f"Begin {step.id}: {step.goal}"))
    result = await bench.runners.of(step.kind).run(work, host)
    if step.check is not None:
        ran = await checked(bench.workspaces, host, work, step.check)
        if not ran["ok"]:
            message = f"the check failed:\n{ran['text']}"
            raise StepFailed(message, "What the check said is in the step.", spent=result.spent)
    if step.approval == "after":
        words = result.value if isinstance(result.value, str) else repr(result.value)
        await _allowed(host, request("result", "write", f"Take the result of {step.id}", diff=words[:20_000]))
    return {
        "state": "finished",
        "value": _bearable(result),
        "spent": asdict(result.spent),
        "seconds": host.time.seconds,
    }


async def _allowed(host: StepHost, asked: ApprovalRequest) -> None:
    decision = await host.pass_(asked)
    if not decision.allowed:
        raise StepFailed(
            f"it was refused: {decision.note or 'no reason was given'}", "Retry it, or change its goal.", again=False
        )


async def checked(workspaces: Workspaces, host: StepHost, work: StepWork, check: Check) -> Mapping[str, Any]:
    """Let the program of a check judge, and tell how: `ok` and `text`. Raises StepFailed when it may not be run."""
    unboxed = await may_judge(workspaces, host, work, check)

    async def judged() -> dict[str, Any]:
        began = time.monotonic()
        ran = await workspaces.judge(check, work.folder, unboxed=unboxed)
        return {"ok": ran.ok, "text": sanitize(ran.text[-8000:]), "seconds": round(time.monotonic() - began, 3)}

    found = await host.once("check", judged)
    await host.tell("check.ran", {**found, "program": list(check.program)})
    return found


async def may_judge(workspaces: Workspaces, host: StepHost, work: StepWork, check: Check) -> bool:
    """Have the program of a check allowed where it has to be; whether it runs without a sandbox. Raises StepFailed."""

    async def asks() -> dict[str, Any] | None:
        asked = await workspaces.asks(check, work.folder)
        return None if asked is None else request_data(asked)

    asked = await host.once("check asks", asks)
    if asked is None:
        return False
    await _allowed(host, request_from("", "run", "", "", asked))
    return not asked["boxed"]


def _bearable(result: StepResult) -> Any:
    try:
        text = json.dumps(result.value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise StepFailed(
            "what it made is no JSON", "A result is a text, or what JSON can hold.", spent=result.spent
        ) from None
    if len(text) > LONGEST_RESULT:
        message = f"what it made has {len(text):,} characters; {LONGEST_RESULT:,} are the most"
        raise StepFailed(message, "Let it write files instead.", spent=result.spent)
    return json.loads(text)
