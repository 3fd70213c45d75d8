"""A host for steps in tests: it keeps what was done as the engine does, through JSON, and can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.swarm.run_log import Live

T = TypeVar("T")


class KeptHost:
    """Remembers; `decision` is what the gate says to everything."""

    def __init__(self, kept: Mapping[str, str] | None = None, decision: Decision | None = None) -> None:
        self.kept: dict[str, str] = dict(kept or {})
        self.decision = decision or Decision(True)
        self.told: dict[str, Mapping[str, Any]] = {}
        self.shown: list[Live] = []
        self.asked: list[ApprovalRequest] = []

    async def once(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        if name not in self.kept:
            self.kept[name] = json.dumps(await do())
        return cast("T", json.loads(self.kept[name]))

    async def tell(self, kind: str, detail: Mapping[str, Any], *, key: str = "") -> None:
        self.told[f"{kind} {key}"] = json.loads(json.dumps(detail))

    def show(self, live: Live) -> None:
        self.shown.append(live)

    async def pass_(self, request: ApprovalRequest) -> Decision:
        self.asked.append(request)
        return self.decision

    async def ask(self, id_: str, question: str) -> str:
        return ""

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """What was told of a kind, in order."""
        return [detail for said, detail in self.told.items() if said.partition(" ")[0] == kind]
