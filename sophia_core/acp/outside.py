"""Steps of the kind `outside`: somebody else's agent does the work, as our gate, our box and our budgets let it.

Its conversation is one thing that is done once: nobody can give it back the same after a crash, so that the step begins
it anew then, in the folder as it was left. What a person decided meanwhile is asked again and is decided already.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sophia_core.acp.agent_file import NAME, OutsideAgent, load
from sophia_core.acp.starting import CannotStart, Place, Started, home_of, started
from sophia_core.gate.asking import request
from sophia_core.sanitize import one_line
from sophia_core.swarm.agents.answers import BadAnswer, answer_in
from sophia_core.swarm.agents.prompting import nonce_of, question
from sophia_core.swarm.agents.toolbox import fence_rule
from sophia_core.swarm.ports import Spent, StepFailed, StepHost, StepResult, StepWork
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.confined import Confined
from sophia_core.swarm.tools.worktrees import person_of

if TYPE_CHECKING:
    from sophia_core.acp.conversation import Ended
    from sophia_core.swarm.engine.runners import Means

LONGEST_QUESTION: Final = 120_000
WORKING: Final = (
    "You do one step of a larger plan. Do what the goal says and no more. Nobody answers questions while you work: "
    "where something is not said, take the simplest way. Your last message is the result that the next step is given."
)


def outside_runner(means: Means) -> OutsideRunner:
    """Return who does the steps of the kind `outside`."""
    return OutsideRunner(means)


@dataclass(frozen=True, slots=True)
class Job:
    """A step with who does it, and where."""

    work: StepWork
    agent: OutsideAgent
    place: Place
    asked: str


class OutsideRunner:
    """Has somebody else's agent do a step."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Raises StepFailed. Cancelling the task stops the agent and everything it started."""
        if not work.step.program:
            raise StepFailed("the step names no program", 'Like program = ["opencode", "acp"].', again=False)
        job = await self._job(work)
        await self._allowed(job, host)
        found = await host.once("outside", lambda: self._held(job, host))
        spent = Spent(**found["spent"])
        return StepResult(_value(found["text"], work, spent), spent)

    async def _job(self, work: StepWork) -> Job:
        paths = self._means.runtime.paths
        file = await asyncio.to_thread(load, paths.config_file.with_name(NAME))
        if file.problems:
            problem = file.problems[0]
            raise StepFailed(f"{problem.where}: {problem.message}", problem.fix, again=False)
        agent = file.of(work.step.program)
        home = await asyncio.to_thread(home_of, paths.store_dir.with_name("agents"), agent)
        hidden = await self._means.runtime.swarm_side.judging.hidden()
        return Job(work, agent, await asyncio.to_thread(_place, work, home, hidden), _asked(work))

    async def _allowed(self, job: Job, host: StepHost) -> None:
        """An agent is started only when a rule or a person allows it: it reaches out, and what it says is its own."""
        missing = await asyncio.to_thread(sandbox.trouble)
        agent, place = job.agent, job.place
        reach = " It can reach the network." if agent.network else ""
        asked = request(
            "outside",
            "run",
            f"Start the outside agent {agent.name}.{reach}{' It runs with your rights.' if missing else ''}",
            command=shlex.join(agent.program),
            why=missing or ("It reaches the network." if agent.network else ""),
            arguments={"program": list(agent.program), "goal": job.work.step.goal[:4_000]},
            folder=str(place.lends or place.folder),
            boxed=not missing,
            network=agent.network,
        )
        decision = await host.pass_(asked)
        if not decision.allowed:
            why = decision.note or "no reason was given"
            raise StepFailed(f"it was refused: {why}", "Allow it, or write a rule for `outside`.", again=False)

    async def _held(self, job: Job, host: StepHost) -> dict[str, Any]:
        """The whole conversation; what came of it."""
        from sophia_core.acp.conversation import Conversation

        began = time.monotonic()
        try:
            async with started(job.agent, job.place, os.environ) as process:
                conversation = Conversation(job, host, process, secrets.token_hex(4))
                try:
                    ended = await conversation.hold()
                except StepFailed as error:
                    error.spent = conversation.telling.spent if not error.spent.requests else error.spent
                    raise
                finally:
                    await conversation.close(time.monotonic() - began)
        except CannotStart as error:
            hint = "Install it, or say in agents.toml where it is; docs/acp.md tells how."
            raise StepFailed(str(error), hint, again=False) from None
        return _kept(ended, process)


def _kept(ended: Ended, process: Started) -> dict[str, Any]:
    if ended.stop == "end_turn":
        return {"text": ended.text, "spent": asdict(ended.spent)}
    why = {
        "refusal": "the agent refuses to do that",
        "max_tokens": "the agent's answer was cut: it has no more tokens",
        "max_turn_requests": "the agent asked its model as often as it may",
        "cancelled": "the agent stopped by itself",
    }.get(ended.stop, f"the agent stopped: {one_line(ended.stop, 60)}")
    raise StepFailed(why, process.complaint, again=ended.stop != "refusal", spent=ended.spent)


def _place(work: StepWork, home: Path, hidden: tuple[str, ...]) -> Place:
    step = work.step
    if step.workspace == "none":
        # Beside its home: what lay within, it could replace by a link to anywhere.
        empty = home.with_name(".nothing")
        empty.mkdir(exist_ok=True, mode=0o700)
        return Place(empty, home, writable=False)
    folder = Path(work.folder)
    # Where each change is to be asked for, it can write through us alone.
    writable = step.workspace == "worktree" and step.approval != "always"
    return Place(folder, home, writable, person_of(folder), hidden)


def _asked(work: StepWork) -> str:
    """The goal with the results before it, fenced; and the shape of the answer."""
    parts = [WORKING, fence_rule(nonce_of(work)), question(work, {}, most=LONGEST_QUESTION, marked=True)]
    if work.trouble:
        parts.append(f"An attempt before did not get there: {one_line(work.trouble, 600)}")
    if work.step.answer is not None:
        parts.append(
            f"Your last message has to be JSON of this schema, and nothing else: {json.dumps(work.step.answer)}"
        )
    return "\n\n".join(parts)


def _value(text: str, work: StepWork, spent: Spent) -> Any:
    if work.step.answer is None:
        return text
    try:
        return answer_in(text, cast("Any", work.step.answer))
    except BadAnswer as error:
        raise StepFailed(f"{error}", "The answer is in the step.", spent=spent) from None


def files_of(place: Place) -> Confined:
    """The folder as our own tools see it."""
    return Confined(place.folder, hidden=place.hidden)
