"""The runners that need nobody: a program that judges, a person who answers, one of our own commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.gate.asking import request
from sophia_core.swarm.engine.attempt import checked
from sophia_core.swarm.plan import Check
from sophia_core.swarm.ports import StepFailed, StepHost, StepResult, StepWork

if TYPE_CHECKING:
    from sophia_core.swarm.engine.runners import Means


def check_runner(means: Means) -> CheckRunner:
    """Return who does the steps of the kind `check`."""
    return CheckRunner(means)


def human_runner(means: Means) -> HumanRunner:
    """Return who does the steps of the kind `human`."""
    return HumanRunner()


def command_runner(means: Means) -> CommandRunner:
    """Return who does the steps of the kind `command`."""
    return CommandRunner(means)


class CheckRunner:
    """Runs the step's program; what it said is the result."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Raises StepFailed when the program does not end well."""
        if not work.step.program:
            return StepResult("")
        ran = await checked(self._means.workspaces, host, work, Check(work.step.program))
        if not ran["ok"]:
            raise StepFailed(f"{work.step.program[0]} failed:\n{ran['text']}", "What it said is in the step.")
        return StepResult(str(ran["text"]))


class HumanRunner:
    """Asks a person the step's goal; the answer is the result."""

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Waits as long as it takes."""
        return StepResult(await host.ask("answer", work.step.goal))


class CommandRunner:
    """Runs one of our own command lines; what it gives is the result, as text."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Each line is asked for: a command may change what it likes. Raises StepFailed."""
        from sophia_core.commands import CommandError

        line = " ".join(work.step.program) or work.step.goal
        asked = request("command", "run", "Run one of SOPHIA's commands.", command=line, arguments={"line": line})
        decision = await host.pass_(asked)
        if not decision.allowed:
            raise StepFailed(f"it was refused: {decision.note or 'no reason was given'}", again=False)

        async def done() -> str:
            try:
                found = await self._means.runtime.dispatch(line, confirmed=True)
            except CommandError as error:
                raise StepFailed(str(error), error.hint, again=False) from None
            return "" if found is None else str(found)

        return StepResult(await host.once("command", done))
