"""Runs as somebody would see them, without anybody who runs them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sophia_core.swarm.rows import DeadRow, PlanRow, RunRow
from sophia_core.swarm.run_log import Happened, Live, WorkerSeen
from sophia_core.swarm.view.folding import fold
from sophia_core.swarm.view.shapes import Asked

BEGAN: Final = 1_900_000_000_000
NOW: Final = (BEGAN + 64_000) / 1000
PLAN: Final[Mapping[str, Any]] = {
    "name": "code-review",
    "title": "Write it, test it, review it",
    "parallel": 4,
    "budget": {"tokens": 50_000, "money": 1.0},
    "steps": [
        {"id": "plan", "goal": "Split the task into small pieces.", "role": "planner"},
        {"id": "code", "goal": "Write the function.", "after": ["plan"], "role": "coder", "workspace": "worktree"},
        {"id": "docs", "goal": "Describe it.", "after": ["plan"], "role": "writer"},
        {"id": "test", "goal": "Run the tests.", "after": ["code"], "kind": "check"},
        {"id": "review", "goal": "Look for mistakes.", "after": ["test", "docs"], "role": "reviewer"},
        {"id": "merge", "goal": "Bring it in.", "after": ["review"], "kind": "merge"},
    ],
}
DIFF: Final = """--- a/reverse.py
+++ b/reverse.py
@@ -1,2 +1,3 @@
 def reverse(items):
-    return items
+    copy = list(items)
+    return copy[::-1]"""


class Teller:
    """Writes events down, one after another."""

    def __init__(self, run_id: str = "01RUN") -> None:
        self.run_id, self.events, self.at = run_id, list[Happened](), BEGAN

    def say(self, kind: str, step: str = "", after_ms: int = 100, **detail: Any) -> None:
        """One more, so much later."""
        self.at += after_ms
        self.events.append(Happened(self.run_id, len(self.events) + 1, self.at, kind, step, detail))


def half_done(run_id: str = "01RUN") -> list[Happened]:
    """A run in which one step has ended, one works, one was given up, and one waits for a person."""
    tell = Teller(run_id)
    estimate = {"tokens": 9_000, "cost": 0.02, "seconds": 90.0}
    tell.say(
        "run.requested",
        plan=PLAN,
        values={"task": "reverse a list"},
        by="ada",
        folder="/home/ada/work",
        estimate=estimate,
    )
    tell.say("run.started", worker="near", version="1")
    tell.say("step.queued", "plan")
    tell.say("step.started", "plan", 400, attempt=1, worker="near")
    called = {"provider": "box", "model": "qwen3", "cost": 0.001, "cost_known": "reported", "first_token_s": 0.4}
    tell.say(
        "model.called",
        "plan",
        6_000,
        call="m1",
        tokens_in=420,
        tokens_out=180,
        seconds=5.6,
        text="Two pieces.",
        **called,
    )
    tell.say(
        "step.finished",
        "plan",
        result="Two pieces: code and docs.",
        tokens_in=420,
        tokens_out=180,
        cost=0.001,
        seconds=6.1,
    )
    for step in ("code", "docs"):
        tell.say("step.queued", step)
    tell.say("step.started", "code", 700, attempt=1, worker="near")
    tell.say("step.started", "docs", 900, attempt=1, worker="near")
    tell.say(
        "model.called",
        "code",
        9_000,
        call="m2",
        tokens_in=1_800,
        tokens_out=640,
        seconds=8.2,
        text="I read first.",
        **called,
    )
    tell.say("tool.called", "code", call="t1", tool="read_file", arguments={"path": "reverse.py"})
    tell.say(
        "tool.finished",
        "code",
        40,
        call="t1",
        tool="read_file",
        ok=True,
        text="def reverse(items):\n    return items",
        seconds=0.03,
    )
    tell.say(
        "step.failed",
        "docs",
        3_000,
        error="The model gave no answer",
        hint="Retry it, or edit its goal.",
        attempts=3,
        dead=True,
    )
    tell.say("check.ran", "code", 8_000, ok=False, program=["pytest", "-q"], text="1 failed", seconds=1.4)
    tell.say(
        "diff.proposed", "code", branch="sophia/code", base="abc", files=["reverse.py"], added=2, removed=1, diff=DIFF
    )
    tell.say(
        "approval.asked",
        "code",
        500,
        id="ap1",
        tool="run",
        what="Run the tests",
        command="pytest -q",
        why="no rule allows it",
    )
    return tell.events


def many(steps: int, events: int, seed: int = 7) -> list[Happened]:
    """A long run: `each` makes so many steps of one, and they do much."""
    tell, chance = Teller("01LONG"), random.Random(seed)  # noqa: S311 nothing secret
    plan = {"name": "long", "title": "A long run", "steps": [
        {"id": "list", "goal": "list"}, {"id": "each", "goal": "do", "after": ["list"], "each": "list"},
        {"id": "join", "goal": "join", "after": ["each"]},
    ]}  # fmt: skip
    tell.say("run.requested", plan=plan, values={}, by="ada", folder="/", estimate={})
    tell.say("run.started", worker="near", version="1")
    names = [f"each/{number}" for number in range(steps)]
    for name in names:
        tell.say("step.queued", name, 1)
    begun: list[str] = []
    while len(tell.events) < events:
        if names and (len(begun) < 8 or chance.random() < 0.02):
            begun.append(names.pop(0))
            tell.say("step.started", begun[-1], 5, attempt=1, worker="near")
        name = chance.choice(begun)
        roll = chance.random()
        if roll < 0.45:
            tell.say(
                "model.called",
                name,
                20,
                call="c",
                model="qwen3",
                tokens_in=300,
                tokens_out=90,
                cost=0.0001,
                seconds=1.0,
                text="words " * 20,
            )
        elif roll < 0.7:
            tell.say("tool.called", name, 5, call=f"t{len(tell.events)}", tool="read_file", arguments={"path": "a.py"})
        elif roll < 0.95:
            tell.say(
                "tool.finished",
                name,
                5,
                call=f"t{len(tell.events) - 1}",
                tool="read_file",
                ok=True,
                text="x" * 200,
                seconds=0.1,
            )
        elif len(begun) > 8:
            begun.remove(name)
            tell.say("step.finished", name, 5, result="done", tokens_in=300, tokens_out=90, cost=0.0001, seconds=2.0)
    return tell.events


class World:
    """A source that tells these runs and nothing else."""

    def __init__(self, *runs: Sequence[Happened], dead: bool = True, live: Sequence[Live] = ()) -> None:
        self.kept = {events[0].run_id: list(events) for events in runs}
        self._dead, self._live = dead, tuple(live)
        self.pages = 0

    async def runs(self) -> Sequence[RunRow]:
        found = []
        for number, (run_id, events) in enumerate(self.kept.items(), 1):
            view = fold(run_id, events[:2_000])
            steps, tokens = f"{view.done}/{view.total}", view.tokens_in + view.tokens_out
            found.append(
                RunRow(
                    number,
                    view.title,
                    view.status,
                    steps,
                    view.waiting,
                    tokens,
                    view.cost,
                    BEGAN,
                    view.at,
                    view.plan,
                    "",
                    run_id,
                )
            )
        return found

    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Happened]:
        self.pages += 1
        return self.kept[run_id][after : after + limit]

    async def live(self, run_id: str) -> Sequence[Live]:
        return [each for each in self._live if each.run_id == run_id]

    async def workers(self) -> Sequence[WorkerSeen]:
        at = int(NOW * 1000) - 1_000
        return [
            WorkerSeen("near", "laptop", 4711, "1", at, 4, 2, ("repo=sophia",)),
            WorkerSeen("far", "gh200-01", 12, "1", at - 60_000, 8, 1, ("gpu",)),
        ] if self.kept else []  # fmt: skip

    async def asked(self) -> Sequence[Asked]:
        return [
            each for run_id, events in self.kept.items() for each in fold(run_id, events[-2_000:]).approvals.values()
        ]

    async def dead(self) -> Sequence[DeadRow]:
        found: list[DeadRow] = []
        for run_id, events in self.kept.items():
            view = fold(run_id, events[:2_000])
            for step in view.dead if self._dead else ():
                found.append(
                    DeadRow(
                        len(found) + 1, step.id, step.attempts, step.ended_at, view.title, run_id, step.error, step.hint
                    )
                )
        return found

    async def plans(self) -> Sequence[PlanRow]:
        return [
            PlanRow("plan-code-test-review", "Plan, write, test and review a change", 5, ("task",), "shipped", True),
            PlanRow("research-compare", "Look at a question from several sides", 4, ("question",), "shipped", True),
        ]


LIVE: Final = (Live("01RUN", "code", BEGAN + 60_000, "asks qwen3", "def reverse(items):\n    copy", 212, 41.0),)
