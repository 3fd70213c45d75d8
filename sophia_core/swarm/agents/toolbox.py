"""The tools of a step as its model calls them: each call judged, asked for, kept once done, told, and fenced."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.fences import fence_rule as fence_rule
from sophia_core.swarm.fences import fenced as fenced
from sophia_core.swarm.ports import StepFailed, StepHost, StepWork, Tool
from sophia_core.swarm.run_log import Live

THRICE: Final = 3
"""The same call with the same arguments so often is a loop."""
MOST_CALLS: Final = 100
"""Of one step."""
LONGEST: Final = 24_000
"""Characters of a result that a model is told."""
TOLD: Final = 8_000
"""Characters of it that go into the record."""
LONGEST_ARGUMENTS: Final = 400_000


class Looping(StepFailed):
    """The model calls the same thing again and again."""


@dataclass(slots=True)
class Toolbox:
    """What one step may do, and what it has done."""

    work: StepWork
    host: StepHost
    tools: Sequence[Tool]
    nonce: str
    """Of this step's fences; no text that comes from outside can know it."""
    number: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, where this step has it."""
        return next((each for each in self.tools if each.spec.name == name), None)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Do it if it may be done, and return what the model is told. Raises Looping, StepFailed."""
        self._count(name, arguments)
        call = f"tool-{self.number}"
        tool = self.get(name)
        if tool is None:
            known = ", ".join(each.spec.name for each in self.tools) or "none"
            return f"There is no tool {one_line(name, 80)!r} here. There is: {known}."
        detail = {"call": call, "tool": name, "arguments": _shown(arguments)}
        await self.host.tell("tool.called", detail, key=call)
        said = await self._refused(tool, arguments)
        kept = {"ok": False, "text": said, "seconds": 0.0} if said else await self._do(tool, arguments, call)
        told = {"call": call, "tool": name, **kept, "text": sanitize(str(kept["text"])[:TOLD])}
        await self.host.tell("tool.finished", told, key=f"{call}-finished")
        return said or fenced(str(kept["text"]), f"result of {name}", self.nonce)

    def _count(self, name: str, arguments: Mapping[str, Any]) -> None:
        self.number += 1
        same = hashlib.sha256(json.dumps([name, arguments], sort_keys=True, default=str).encode()).hexdigest()
        self._seen[same] += 1
        if self._seen[same] >= THRICE:
            shown = one_line(f"{name} {json.dumps(_shown(arguments))}", 160)
            raise Looping(f"The model made the same call three times: {shown}.", "Say in the goal what to do instead.")
        if self.number > MOST_CALLS:
            raise Looping(f"The model made {MOST_CALLS} calls without an end.", "Divide the step into smaller ones.")

    async def _refused(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        """What the model is told where it may not be done; empty: it may."""
        if len(json.dumps(arguments, default=str)) > LONGEST_ARGUMENTS:
            return "Not done: the arguments are too long."
        try:
            request = tool.ask(arguments)
        except ValueError as error:
            return f"Not done: {sanitize(str(error))[:400]}"
        if request is None:
            return ""
        decision = await self.host.pass_(request)
        if decision.allowed:
            return ""
        note = f" {sanitize(decision.note)[:400]}" if decision.note else ""
        return f"Not done: it was not allowed.{note} Do not try it again in another way."

    async def _do(self, tool: Tool, arguments: Mapping[str, Any], call: str) -> Mapping[str, Any]:
        self.host.show(
            Live(self.work.run_id, self.work.step.id, int(time.time() * 1000), action=f"runs {tool.spec.name}")
        )

        async def do() -> dict[str, Any]:
            began = time.monotonic()
            result = await tool.call(arguments)
            text = result.text if len(result.text) <= LONGEST else _cut(result.text)
            return {"ok": result.ok, "text": text, "seconds": round(time.monotonic() - began, 3)}

        return await self.host.once(call, do)


def _shown(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one_line(str(name), 60): sanitize(value[:2_000]) if isinstance(value, str) else _plain(value)
        for name, value in list(arguments.items())[:40]
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | None) else sanitize(json.dumps(value, default=str)[:2_000])


def _cut(text: str) -> str:
    half = LONGEST // 2
    return f"{text[:half]}\n… {len(text) - LONGEST} characters left out …\n{text[-half:]}"
