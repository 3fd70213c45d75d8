"""The plans that can be run, for lists and for whoever names one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_core.swarm.plan import Plan, PlanParam
from sophia_core.swarm.plan_file import Library, PlanFile
from sophia_core.swarm.rows import PlanRow


class Plans:
    """Looks at the folders when it is asked. What a folder brings runs after somebody has looked at it, not before."""

    def __init__(self, own: Path, work: Path) -> None:
        self._library = Library(own, work)
        self._looked_at: dict[str, str] = {}
        """The digest of every text that was shown, by the plan's name."""

    async def rows(self) -> list[PlanRow]:
        """Return them in the order of their names."""
        named = (await asyncio.to_thread(self._library.look)).named
        return [self._row(named[name]) for name in sorted(named)]

    def problems(self) -> list[str]:
        """Return what is wrong with the files of those that are not in the list."""
        return [str(each) for each in self._library.look().problems]

    def find(self, name: str) -> Plan:
        """Return the plan of this name. Raises CommandError when there is none, or nobody has looked at it yet."""
        found = self._named(name)
        if not self._library.is_trusted(found):
            hint = f"Read it, then trust it: /swarm.plan.show {name}, /swarm.plan.trust {name}."
            raise CommandError(f"{name!r} comes with this folder, and nobody has looked at it yet.", hint)
        return found.plan

    def text(self, name: str) -> str:
        """Return the plan as it is written; it counts as looked at from now on. Raises CommandError."""
        found = self._named(name)
        self._looked_at[name] = found.digest
        return found.source

    def trust(self, name: str) -> str:
        """Let it run as long as its text stays the same. Raises CommandError."""
        found = self._named(name)
        if self._looked_at.get(name, found.digest) != found.digest:
            hint = f"Read it again: /swarm.plan.show {name}."
            raise CommandError(f"{name!r} was changed after you looked at it.", hint)
        try:
            self._library.trust(found.digest)
        except OSError as error:
            raise CommandError(f"It cannot be remembered: {error.strerror}.", "Check the permissions.") from None
        return f"{name} may run, as long as it is not changed."

    def _named(self, name: str) -> PlanFile:
        shelf = self._library.look()
        found = shelf.named.get(name)
        if found is None:
            wrong = [each for each in shelf.problems if Path(each.where.split(": ")[0]).stem == name]
            if wrong:
                raise CommandError(f"{name!r} cannot be read: {wrong[0]}")
            raise CommandError(f"There is no plan {name[:60]!r}.", "/swarm.plans lists them.")
        return found

    def _row(self, each: PlanFile) -> PlanRow:
        plan = each.plan
        asks = tuple(_asks(param) for param in plan.params)
        where, trusted = self._library.where(each), self._library.is_trusted(each)
        return PlanRow(plan.name, one_line(plan.title, 100), len(plan.steps), asks, where, trusted)


def _asks(param: PlanParam) -> str:
    name = one_line(param.name, 40)
    return name if param.default is None else f"{name}={one_line(param.default, 40)}"
