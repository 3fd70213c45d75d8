"""What the rules say at this moment: the person's file, what was remembered, and what was allowed for this run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sophia_core.gate.ports import ApprovalLog, ApprovalRequest, Decision
from sophia_core.gate.rule_file import RuleFile, load
from sophia_core.gate.rules import Rule, Verdict, hidden_paths, judge, rule_of

if TYPE_CHECKING:
    from local_store import Store
    from local_store.approval_rules import Rules
    from local_store.shared_rules import SharedRules

BY_RULE = "your rules"
KeptRules: TypeAlias = "Rules | SharedRules"


class Judging:
    """Judges requests. The file is read anew when it is another one."""

    def __init__(self, file: Path, store: Callable[[], Store | None]) -> None:
        """`store` gives the store of this machine while it is open: what is remembered is there."""
        self.file, self._store = file, store
        self._read: tuple[object, RuleFile] = (None, RuleFile())
        self.shared: Callable[[], Awaitable[KeptRules]] | None = None
        """Where rules are that several machines share; they count beside those of this one."""

    async def verdict(self, asked: ApprovalRequest, log: ApprovalLog | None = None) -> Verdict:
        """What the rules say to it. `log` is where it would wait, and where is what was allowed for its run."""
        written = await self.written()
        granted = await self._granted(asked, log) if log is not None else ()
        return judge(asked, (*written.rules, *await self.remembered()), written.mode, granted=granted)

    async def decided(self, asked: ApprovalRequest, log: ApprovalLog | None = None) -> Decision | None:
        """The decision where rules make it; None when a person has to."""
        found = await self.verdict(asked, log)
        if found.effect == "ask":
            return None
        return Decision(found.effect == "allow", "rule", BY_RULE, found.why)

    async def written(self) -> RuleFile:
        """What stands in the file now."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> RuleFile:
        try:
            state = self.file.stat()
            seen: object = (state.st_mtime_ns, state.st_size, state.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._read[0]:
            self._read = (seen, load(self.file))
        return self._read[1]

    async def remembered(self) -> tuple[Rule, ...]:
        """The rules that were made of answers. Raises StoreError."""
        kept = [each for place in await self.kept() for each in await place.list()]
        return tuple(
            Rule(each.effect, each.tool, each.command, each.path, each.project, why=each.note, id=each.id)
            for each in kept
        )

    async def kept(self) -> Sequence[KeptRules]:
        """Where rules are remembered; the last is where new ones go. Raises StoreError."""
        if (store := self._store()) is None:
            return ()
        return (store.approvals.rules, *((await self.shared(),) if self.shared is not None else ()))

    async def hidden(self) -> tuple[str, ...]:
        """The files that rules keep from being read, for tools that look."""
        return hidden_paths((*(await self.written()).rules, *await self.remembered()))

    async def _granted(self, asked: ApprovalRequest, log: ApprovalLog) -> tuple[Rule, ...]:
        """What a person allowed for all of this session or run."""
        earlier = await log.of(asked.origin, asked.origin_id)
        allowed = [each.request for each in earlier if each.decision and _for_all(each.decision)]
        return tuple(rule for each in allowed if (rule := rule_of(each)) is not None)


def _for_all(decision: Decision) -> bool:
    return decision.allowed and decision.scope == "run"
