"""Steps of the kind `merge`: what the steps before made goes into the person's folder, after a person said so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sophia_core.gate.asking import on_behalf, request
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.ports import StepFailed, StepHost, StepResult, StepWork
from sophia_core.swarm.tools.changing import warning
from sophia_core.swarm.tools.clashing import HINT, MOST_CLASHES, sent_back, settled, with_earlier, with_yours
from sophia_core.swarm.tools.confined import OutOfReach
from sophia_core.swarm.tools.git import GitFailed
from sophia_core.swarm.tools.merging import Landing
from sophia_core.swarm.tools.worktrees import Conflict, Made, Worktrees, root

if TYPE_CHECKING:
    from sophia_core.swarm.engine.runners import Means

LONGEST_SHOWN: Final = 60_000
YOURS: Final = "What this run made and what you changed meanwhile"


class MergeRunner:
    """Does the steps of the kind `merge`."""

    def __init__(self, place: Path) -> None:
        """`place` is where all worktrees lie."""
        self._place = place

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """What the steps before made, in the person's folder. Raises StepFailed."""
        before = [*work.step.after, *(each for each in work.results if each not in work.step.after)]
        made = await self._made(work, host, before)
        if not made.files:
            return StepResult("Nothing was changed.")
        await host.tell("diff.proposed", _told(made))
        await self._allowed(work, host, made)
        return await self._landed(work, host, made, before)

    def _trees(self, work: StepWork) -> Worktrees:
        return Worktrees(self._place, Path(work.folder), finished=work.finished)

    # What was made

    async def _made(self, work: StepWork, host: StepHost, before: Sequence[str]) -> Made:
        """All of it together. Where it does not go together a person says what counts. Raises StepFailed."""
        favour: dict[str, str] = {}
        for turn in range(MOST_CLASHES):

            async def collected() -> dict[str, Any]:
                return await asyncio.to_thread(self._collected, work, before, favour)

            found = await host.once(_named("collect", turn), collected)
            if (clash := found.get("conflict")) is None:
                return Made(**{**found, "files": tuple(found["files"])})
            step, between = clash["step"], f"What {clash['step']} made and what was made before it"
            said = await settled(host, turn, between, clash["files"], with_earlier(step))
            if said == "back":
                await self._begin_anew(work, host, turn, clash)
                raise sent_back(step, "what was made before it", clash["files"])
            favour[clash["copy"]] = said
        raise StepFailed("what was made does not go together", HINT, again=False)

    def _collected(self, work: StepWork, before: Sequence[str], favour: Mapping[str, str]) -> dict[str, Any]:
        trees = self._trees(work)
        try:
            made = asdict(trees.made(work.run_id, before, favour))
            if known := Landing(trees).known(work.run_id):
                made["diff"] = _against(Landing(trees).shown(list(known), made["commit"])) + made["diff"]
        except Conflict as error:
            names = {"files": list(error.files), "step": error.step, "copy": error.copy}
            return {"conflict": {**names, "onto": error.onto, "tree": error.tree}}
        except (GitFailed, OSError) as error:
            raise StepFailed(f"what was made cannot be collected: {error}") from None
        return made

    async def _begin_anew(self, work: StepWork, host: StepHost, turn: int, clash: Mapping[str, Any]) -> None:
        async def begun() -> None:
            trees = self._trees(work)
            await asyncio.to_thread(trees.begin_anew, work.run_id, clash["copy"], clash["onto"], clash["tree"])

        await host.once(f"begin anew {turn}", begun)

    # What a person says to it

    async def _allowed(self, work: StepWork, host: StepHost, made: Made) -> None:
        """A person has to say so, whatever the rules are. Raises StepFailed."""
        asked = request(
            "land",
            "write",
            f"Put changes to {len(made.files)} file{'s' * (len(made.files) > 1)} into your folder:"
            f" {', '.join(made.files[:6])}{' …' * (len(made.files) > 6)}",
            diff=made.diff,
            why=warning(made.files),
            arguments={"commit": made.commit, "base": made.base},
            folder=work.folder,
            paths=made.files,
        )
        asked = on_behalf(asked, "run", work.run_id, step=work.step.id, call=str(work.attempt))
        decision = await host.pass_(asked)
        if not decision.allowed:
            await host.tell("diff.dropped", {"by": decision.by})
            note = f": {one_line(decision.note)}" if decision.note else ""
            raise StepFailed(f"the changes were refused{note}", "They stay in their worktrees.", again=False)

    # Into their folder

    async def _landed(self, work: StepWork, host: StepHost, made: Made, before: Sequence[str]) -> StepResult:
        seen, leave = dict[str, str](), list[str]()
        for turn in range(MOST_CLASHES):

            async def land() -> dict[str, Any]:
                return await asyncio.to_thread(self._put, work, made, seen, leave)

            done: Mapping[str, Any] = await host.once(_named("land", turn), land)
            if (clash := done.get("conflict")) is None:
                await host.tell("diff.applied", {"commit": made.commit, "files": list(done["files"])})
                names = ", ".join(one_line(each, 80) for each in done["files"][:20])
                return StepResult(f"Changed in your folder: {names}." if names else "Nothing was changed.")
            step, copy = await self._maker(work, host, turn, before, list(clash))
            said = await settled(host, MOST_CLASHES + turn, YOURS, list(clash), with_yours(step))
            if said == "back":
                await self._shown(work, host, turn, made, clash, copy)
                raise sent_back(step, "what the person changed in their folder meanwhile", list(clash))
            if said == "mine":
                leave.extend(clash)
            else:
                seen.update(clash)
        raise StepFailed("what was made and your files do not go together", HINT, again=False)

    def _put(self, work: StepWork, made: Made, seen: Mapping[str, str], leave: Sequence[str]) -> dict[str, Any]:
        landing = Landing(self._trees(work))
        try:
            known = {**landing.known(work.run_id), **seen}
            return {"files": list(landing.land(made.base, made.commit, seen=known, leave=leave))}
        except Conflict as error:
            return {"conflict": error.now}
        except (OutOfReach, GitFailed, OSError) as error:
            raise StepFailed(f"nothing was put into your folder: {error}", again=False) from None

    async def _maker(
        self, work: StepWork, host: StepHost, turn: int, before: Sequence[str], files: Sequence[str]
    ) -> tuple[str, str]:
        async def found() -> list[str]:
            return list(await asyncio.to_thread(self._trees(work).maker, work.run_id, before, files))

        step, copy = await host.once(f"maker {turn}", found)
        return step, copy

    async def _shown(
        self, work: StepWork, host: StepHost, turn: int, made: Made, clash: Mapping[str, str], copy: str
    ) -> None:
        async def shown() -> None:
            landing = Landing(self._trees(work))
            await asyncio.to_thread(landing.show, work.run_id, made.base, made.commit, clash, copy)

        await host.once(f"show both {turn}", shown)


def _named(what: str, turn: int) -> str:
    return f"{what} {turn}" if turn else what


def _against(diff: str) -> str:
    return f"Against your files as they are now:\n{diff}\nAgainst what they were when the run began:\n"


def _told(made: Made) -> dict[str, Any]:
    return {
        "branch": made.commit[:12],
        "base": made.base[:12],
        "files": [one_line(each, 200) for each in made.files[:200]],
        "added": made.added,
        "removed": made.removed,
        "diff": sanitize(made.diff[:LONGEST_SHOWN]),
    }


def merge_runner(means: Means) -> MergeRunner:
    """Who does merge steps in a worker."""
    return MergeRunner(root())
