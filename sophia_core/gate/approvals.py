"""The commands about what waits to be allowed, and about the rules that answer in a person's place."""

from __future__ import annotations

import asyncio
import builtins
import getpass
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from local_store.errors import NotFound, StoreError
from sophia_core.commands import CommandError, command
from sophia_core.config_file import set_value
from sophia_core.gate.happenings import ApprovalDecided
from sophia_core.gate.ports import ApprovalLog, Asked, Decision, Effect, Scope
from sophia_core.gate.rules import Mode, Rule, rule_of
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sophia_core.events import Bus
    from sophia_core.gate.gate import AppGate
    from sophia_core.gate.judging import Judging
    from sophia_core.vault import Vault

SHORTEST_ID: Final = 4
LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits to be allowed."""

    id: str
    tool: str
    what: str
    command: str
    why: str
    origin: str
    step: str
    asked_at: int


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule in the list."""

    effect: Effect
    tool: str
    command: str
    path: str
    folder: str
    where: str
    """`file` for those of approvals.toml, else the id that `approval.forget` takes."""
    why: str


class Approvals:
    """Shows and decides what waits, and keeps the rules. `log` gives where requests wait: the store of this machine, or
    a database that several share."""

    def __init__(self, vault: Vault, bus: Bus, judging: Judging, gate: AppGate) -> None:
        self._vault, self._bus, self._judging, self._gate = vault, bus, judging, gate
        self.log: Callable[[], Awaitable[ApprovalLog]] = self._own_log
        self.decided: Callable[[Asked], object] = _nobody
        """Called with what was decided: whoever else waits for it is told, such as the worker of a run."""

    async def _own_log(self) -> ApprovalLog:
        from sophia_core.swarm.log import StoreApprovals

        return StoreApprovals(await self._vault.get())

    # What waits

    @command("approval.list", slash="approvals")
    async def list(self) -> list[Waiting]:
        """List what waits until somebody allows it."""
        return [_row(each) for each in await (await self.log()).waiting()]

    @command("approval.show")
    async def show(self, approval: str) -> str:
        """Show what waits with its command or diff, by the start of its id."""
        asked = (await self._found(approval)).request
        parts = [asked.what, asked.why, asked.command and f"$ {asked.command}", asked.diff]
        where = f"in {asked.folder}" if asked.folder else ""
        return "\n".join(filter(None, [*parts, where, _cost(asked.cost)]))

    async def _about(self, approval: str, scope: Scope = "once") -> str:
        """Names what would be allowed. Raises CommandError where that is not there, or cannot be allowed so widely."""
        asked = (await self._found(approval)).request
        said = f"{asked.what} {asked.command}".strip()
        if scope != "once":
            said = f"{said} – from now on by this rule: {self._rule(asked)}"
        return one_line(said, 400)

    def _rule(self, asked: object) -> Rule:
        from sophia_core.gate.ports import ApprovalRequest

        rule = rule_of(asked) if isinstance(asked, ApprovalRequest) else None
        if rule is None:
            hint = "Allow it once; what leaves the sandbox, reaches out or joins commands is asked for each time."
            raise CommandError("This cannot be allowed by a rule.", hint)
        return rule

    @command("approval.allow", dangerous=True, check=_about)
    async def allow(self, approval: str, scope: Scope = "once") -> str:
        """Allow what waits, by the start of its id: once, for all of its `run`, or by a `rule` from now on."""
        found = await self._found(approval)
        rule = None if scope == "once" else self._rule(found.request)
        await self._decide(found, Decision(True, scope, asker()))
        if scope == "rule" and rule is not None:
            await self._keep(rule, f"allowed as {found.request.what}")
            return f"Allowed, and from now on: {rule}."
        return "Allowed." if scope == "once" else "Allowed for all of this run."

    @command("approval.deny", audited=True)
    async def deny(self, approval: str, reason: str = "") -> str:
        """Refuse what waits, by the start of its id; the reason is told to who asked."""
        found = await self._found(approval)
        await self._decide(found, Decision(False, "once", asker(), one_line(reason, LONGEST_REASON)))
        return "Refused."

    async def _decide(self, found: Asked, decision: Decision) -> None:
        id_ = found.request.id
        try:
            first = await (await self.log()).decide(id_, decision)
        except StoreError as error:
            raise CommandError(str(error), error.hint) from None
        if not first:
            raise CommandError("It was decided already.", "/approval.list shows what still waits.")
        self._bus.publish(ApprovalDecided(id_, decision.allowed, decision.scope, decision.by))
        self._gate.look()
        self.decided(found)

    async def _found(self, approval: str) -> Asked:
        """What waits under an id that begins so: an id and no number, so that what was looked at is what is meant."""
        waiting = await (await self.log()).waiting()
        near = [each for each in waiting if each.request.id.startswith(approval)]
        exact = [each for each in near if each.request.id == approval]
        if len(exact or near) == 1 and (exact or len(approval) >= SHORTEST_ID):
            return (exact or near)[0]
        hint = "/approval.list shows what waits, with its ids." if waiting else ""
        raise CommandError("Nothing of that id waits." if not near else "Say more of its id.", hint)

    # Rules

    @command("approval.rules")
    async def rules(self) -> builtins.list[RuleRow]:
        """List the rules: those of approvals.toml, and those that were remembered."""
        written, kept = await self._judging.written(), await self._judging.remembered()
        return [_rule_row(each) for each in (*written.rules, *kept)]

    async def _ruled(self, effect: Effect, tool: str, about: str = "", *, folder: str = "") -> str:
        """Says what the rule would be."""
        return str(_rule_from(effect, tool, about, folder))

    @command("approval.rule", dangerous=True, check=_ruled)
    async def rule(self, effect: Effect, tool: str, about: str = "", *, folder: str = "") -> str:
        """Remember a rule: deny, ask or allow a tool, for commands that begin so or files like that, in a folder."""
        rule = _rule_from(effect, tool, about, folder)
        await self._keep(rule, "")
        return f"From now on: {rule}."

    async def _keep(self, rule: Rule, note: str) -> None:
        await self._vault.get()
        try:
            *_, kept = await self._judging.kept()
            await kept.add(
                rule.effect,
                rule.tool,
                command=rule.command,
                path=rule.path,
                project=rule.folder,
                by=asker(),
                note=one_line(note, 200),
            )
        except StoreError as error:
            raise CommandError(str(error), error.hint) from None

    async def _named(self, rule: str) -> str:
        """Names the rule that would be forgotten."""
        return str(await self._kept(rule))

    @command("approval.forget", dangerous=True, check=_named)
    async def forget(self, rule: str) -> str:
        """Forget a remembered rule, by the start of its id in approval.rules."""
        found = await self._kept(rule)
        for kept in await self._judging.kept():
            with suppress(NotFound):
                await kept.forget(found.id)
        return f"Forgotten: {found}."

    async def _kept(self, rule: str) -> Rule:
        near = [each for each in await self._judging.remembered() if each.id.startswith(rule)]
        if len(near) != 1 or not rule:
            hint = "/approval.rules lists them; those of approvals.toml are changed there."
            raise CommandError("No remembered rule has that id." if not near else "Say more of its id.", hint)
        return near[0]

    async def _widened(self, mode: Mode) -> str:
        """Says what the mode means."""
        return _MEANS[mode]

    @command("approval.mode", dangerous=True, check=_widened)
    async def mode(self, mode: Mode) -> str:
        """Choose what is done without asking: plan nothing, ask as the rules say, edits files, auto what is boxed."""
        await asyncio.to_thread(set_value, self._judging.file, "mode", mode)
        return f"The mode is {mode}: {_MEANS[mode]}"


_MEANS: Final[dict[Mode, str]] = {
    "plan": "nothing is changed or started.",
    "ask": "what no rule allows is asked for.",
    "edits": "files are changed without asking; commands are asked for.",
    "auto": "files are changed and commands run in the sandbox without asking; what reaches out is asked for.",
}
_KINDS: Final[dict[str, Literal["command", "path"]]] = {"run": "command"}


def _rule_from(effect: Effect, tool: str, about: str, folder: str) -> Rule:
    if not tool.strip():
        raise CommandError("A rule names a tool.", "Like: /approval.rule allow run pytest")
    kind = _KINDS.get(tool, "path")
    text = one_line(about, 1000)
    return Rule(effect, tool, text if kind == "command" else "", "" if kind == "command" else text, folder)


def _row(asked: Asked) -> Waiting:
    each = asked.request
    head = one_line(each.command, 120)
    return Waiting(each.id, each.tool, each.what, head, each.why, each.origin, each.step, asked.asked_at)


def _rule_row(rule: Rule) -> RuleRow:
    words = (one_line(each, 200) for each in (rule.tool, rule.command, rule.path, rule.folder))
    tool, line, path, folder = words
    return RuleRow(rule.effect, tool, line, path, folder, rule.id or "file", one_line(rule.why, 200))


def _cost(cost: float | None) -> str:
    return "" if cost is None else f"It may cost {cost:.4f} US dollars."


def _nobody(asked: Asked) -> None:
    return


def asker() -> str:
    """Who decides: the name of the account, as far as the system knows one."""
    with suppress(OSError, KeyError, ImportError):
        return one_line(getpass.getuser(), 60)
    return "you"
