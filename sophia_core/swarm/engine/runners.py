"""Who does the steps of which kind. Each is made when the first step of its kind comes, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from sophia_core.swarm.engine.limits import Limits
from sophia_core.swarm.health import INSTALL
from sophia_core.swarm.plan import StepKind
from sophia_core.swarm.ports import StepFailed, StepRunner
from sophia_core.swarm.run_log import RunLog

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime
    from sophia_core.swarm.engine.attempt import Workspaces


@dataclass(frozen=True, slots=True)
class Means:
    """What a runner may use; the same for all of a worker."""

    runtime: Runtime
    log: RunLog
    limits: Limits
    """`async with limits.provider(name)` around each question to a model, so that no server is flooded."""
    workspaces: Workspaces


Maker: TypeAlias = Callable[[Means], StepRunner]
"""Makes the runner of a kind; called in the worker and nowhere else, so that it may import what is heavy."""

MAKERS: Final[Mapping[StepKind, str]] = {
    "agent": "sophia_core.swarm.agents.runner:agent_runner",
    "planner": "sophia_core.swarm.agents.runner:planner_runner",
    "check": "sophia_core.swarm.engine.built_in:check_runner",
    "human": "sophia_core.swarm.engine.built_in:human_runner",
    "merge": "sophia_core.swarm.tools.merge_step:merge_runner",
    "command": "sophia_core.swarm.engine.built_in:command_runner",
    "outside": "sophia_core.acp.outside:outside_runner",
}
"""Where each kind's maker is: `module:function`."""


class Runners:
    """The runners of one worker, by kind."""

    def __init__(self, means: Means | None = None, given: Mapping[StepKind, StepRunner] | None = None) -> None:
        self._means = means
        self._made: dict[StepKind, StepRunner] = dict(given or {})

    def of(self, kind: StepKind) -> StepRunner:
        """The runner of that kind. Raises StepFailed when there is none."""
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: StepKind) -> StepRunner:
        if self._means is None:
            raise _nobody(kind)
        if kind not in MAKERS:
            raise _nobody(kind)
        module, _, name = MAKERS[kind].partition(":")
        try:
            maker = cast("Maker", getattr(import_module(module), name))
        except ImportError as error:
            raise StepFailed(f"steps of the kind {kind!r} cannot be done: {error}", INSTALL, again=False) from error
        return maker(self._means)


def _nobody(kind: str) -> StepFailed:
    message = f"nobody here does steps of the kind {kind!r}"
    return StepFailed(message, "Another worker may, or a newer SOPHIA.", again=False)
