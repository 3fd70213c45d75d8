"""The steps that a model does, as the engine's runners: who is asked, with what in hand, and in which manner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backend_client.errors import BackendError
from backend_client.types import ChatRequest
from sophia_core.providers import EMBEDDED
from sophia_core.swarm.agents.asking import Voice
from sophia_core.swarm.agents.capability import SMALL, Capability, capability_of
from sophia_core.swarm.agents.coding import Judge, job_of, write_code
from sophia_core.swarm.agents.prompting import (
    core_of,
    file_to_change,
    files_in,
    instructions,
    judging_test,
    nonce_of,
    question,
)
from sophia_core.swarm.agents.small import fill_slots
from sophia_core.swarm.agents.toolbox import Toolbox
from sophia_core.swarm.engine.attempt import may_judge
from sophia_core.swarm.plan_data import BadPlan
from sophia_core.swarm.planning import as_answer, plan_schema, planned
from sophia_core.swarm.ports import StepFailed, StepHost, StepResult, StepRunner, StepWork, Tool
from sophia_core.swarm.tools.confined import Confined, OutOfReach
from sophia_core.swarm.tools.hands import Hands

if TYPE_CHECKING:
    from sophia_core.swarm.engine.runners import Means

MOST_FILES: Final = 2_000
"""Of a folder, looked through for those that a goal names."""
MOST_SHOWN: Final = 4
PLANS: Final = 3
"""How often a planner is asked for a plan that holds."""


def agent_runner(means: Means) -> StepRunner:
    """Return who does the steps of the kind `agent`."""
    return AgentRunner(means)


def planner_runner(means: Means) -> StepRunner:
    """Return who does the steps of the kind `planner`."""
    return PlannerRunner(means)


class AgentRunner:
    """A model at work."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Raises StepFailed. Cancelling the task stops it."""
        voice, capability = await _voice(self._means, work, host)
        voice.check_budget()
        value = await self._done(voice, capability)
        return StepResult(value, voice.spent)

    async def _done(self, voice: Voice, capability: Capability) -> Any:
        work = voice.work
        if capability.free:
            from sophia_core.swarm.agents.free import run_free

            toolbox = Toolbox(work, voice.host, await _tools(self._means, work), nonce_of(work))
            told = instructions(voice.manner.system_prompt, work, tools=bool(toolbox.tools))
            asked = question(work, {}, most=capability.context, marked=True)
            return await run_free(voice, told, asked, toolbox, capability)
        if work.step.workspace == "worktree" and work.step.answer is None:
            return await self._write(voice, capability)
        shown = await _shown(self._means, work)
        told = instructions(voice.manner.system_prompt, work, tools=False)
        asked = question(work, shown, most=capability.context)
        return await fill_slots(voice, told, asked, work.step.answer, capability)

    async def _write(self, voice: Voice, capability: Capability) -> str:
        """One file by a small model."""
        work, files = voice.work, await _files(self._means, voice.work)
        present = await _present(files)
        goal = work.step.goal
        path = file_to_change(goal, present)
        if not path:
            raise StepFailed(
                "The goal does not say which file is to be changed.",
                "Write `File to change: NAME` in it; a small model changes one file in a step.",
                again=False,
                spent=voice.spent,
            )
        code = await _text(files, path) if path in present else ""
        test = judging_test(work.step.check, goal, Path(path).stem, [each for each in present if each != path])
        shown = await _text(files, test) if test else ""
        job = job_of(goal[: capability.context], path, code, shown, core_of(goal)[: capability.context])
        judge: Judge = self._means.workspaces.judge
        if work.step.check and await may_judge(self._means.workspaces, voice.host, work, work.step.check):
            judge = partial(self._means.workspaces.judge, unboxed=True)
        return await write_code(voice, job, files, capability, judge)


class PlannerRunner:
    """A model that says what further steps there are."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """Raises StepFailed. The result is a list of steps as data."""
        voice, capability = await _voice(self._means, work, host)
        voice.check_budget()
        roles = sorted({each.name for each in await self._means.runtime.personas.all()} | {work.step.role})
        schema = plan_schema(work.step, roles)
        told = instructions(voice.manner.system_prompt, work, tools=False)
        asked = question(work, await _shown(self._means, work), most=capability.context)
        wrong = ""
        for _ in range(PLANS):
            minded = f"{asked}\n\nAn earlier plan was refused: {wrong}" if wrong else asked
            answer = await fill_slots(voice, told, minded, schema, replace(capability, tokens=SMALL.tokens))
            try:
                return StepResult(as_answer(planned(work.step, answer, roles)), voice.spent)
            except BadPlan as error:
                wrong = str(error)[:600]
        raise StepFailed(f"No plan that holds came of it: {wrong}", "Write the steps yourself.", spent=voice.spent)


async def _voice(means: Means, work: StepWork, host: StepHost) -> tuple[Voice, Capability]:
    """Who is asked, and what may be asked of it; the same after a crash, whoever can be reached by then."""

    async def chosen() -> list[Any]:
        provider, model = await _chosen(means, work)
        able = next((each for each in means.runtime.providers if each.name == provider), None)
        small = model or _embedded_name(means) if provider == EMBEDDED else model or ""
        found = capability_of(small or "", able.capabilities if able else (), embedded=provider == EMBEDDED)
        return [provider, model, found.free]

    provider, model, free = await host.once("route", chosen)
    capability = Capability(True, 1, 8_192, 120_000) if free else SMALL
    manner = await means.runtime.personas.manner(work.step.role, folder=work.folder)

    def place(name: str) -> AbstractAsyncContextManager[None]:
        return means.limits.provider(name)

    return Voice(means.runtime, work, host, manner, provider, model, place), capability


async def _chosen(means: Means, work: StepWork) -> tuple[str | None, str | None]:
    """The provider and the model: the step's, else the persona's, else the settings', else the route's best."""
    runtime, step = means.runtime, work.step
    provider, model = await runtime.personas.wants(step.role, folder=work.folder)
    named = next((each.name for each in runtime.providers if each.name == step.model.partition(":")[0]), None)
    if step.model:
        provider, model = named or provider, step.model.partition(":")[2] or None if named else step.model
    provider = provider or runtime.settings.provider
    try:
        first = runtime.client.explain(ChatRequest((), model), provider)[0].provider
    except (BackendError, IndexError) as error:
        raise StepFailed("There is nobody to ask.", "`sophia provider list` shows who there is.") from error
    return provider or first, model or _default_model(means, first)


def _default_model(means: Means, provider: str) -> str | None:
    found = next((each for each in means.runtime.providers if each.name == provider), None)
    endpoint = getattr(found.source, "endpoint", None) if found else None
    return getattr(endpoint, "model", None) if provider != EMBEDDED else None


def _embedded_name(means: Means) -> str:
    return means.runtime.embedded.name if means.runtime.embedded else ""


async def _tools(means: Means, work: StepWork) -> Sequence[Tool]:
    """The tools that the step names, of its folder and of others' servers."""
    step = work.step
    hidden = await means.runtime.swarm_side.judging.hidden()
    found: list[Tool] = list(await Hands(work.folder, step.workspace, hidden=hidden).tools(step.tools))
    elsewhere = [each for each in step.tools if each.startswith("mcp.")]
    return [*found, *(await means.runtime.mcp.tools(elsewhere))] if elsewhere else found


async def _files(means: Means, work: StepWork) -> Confined:
    """The files of its folder, without those that rules keep from being read."""
    return Confined(Path(work.folder), hidden=await means.runtime.swarm_side.judging.hidden())


async def _shown(means: Means, work: StepWork) -> Mapping[str, str]:
    """The files that the goal names, for a model that cannot look itself."""
    if work.step.workspace == "none" or not work.folder:
        return {}
    files = await _files(means, work)
    names = files_in(work.step.goal, await _present(files))[:MOST_SHOWN]
    return {name: await _text(files, name) for name in names}


async def _present(files: Confined) -> list[str]:
    def walk() -> list[str]:
        return [each.path for _, each in zip(range(MOST_FILES), files.entries(), strict=False) if not each.folder]

    return await asyncio.to_thread(walk)


async def _text(files: Confined, path: str) -> str:
    try:
        return (await asyncio.to_thread(files.read, path)).decode("utf-8", "replace")
    except OutOfReach:
        return ""
