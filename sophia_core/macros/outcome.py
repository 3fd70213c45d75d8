"""What a run of a macro comes to, and who is asked on the way: what others need to know of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sophia_core.commands import CommandError
from sophia_core.macros.language import Macro, Parameter

Ending = Literal["finished", "stopped", "failed", "cancelled"]


class MacroError(CommandError):
    """A macro cannot go on; the text says at which step and why, `output` what a program had said."""

    def __init__(self, message: str, hint: str = "", output: str = "") -> None:
        super().__init__(message, hint)
        self.output = output


class Guard(Protocol):
    """Who is asked before a macro does what only a person may decide."""

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        """Whether the macro may run this program; `key` names the step as it was written."""

    async def may_do(self, macro: Macro, question: str) -> bool:
        """Whether the macro may do what asks first."""

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        """What the person gives for a parameter; None when they gave up."""


class NobodyThere:
    """For runs without a person: nothing that asks is done."""

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        return False

    async def may_do(self, macro: Macro, question: str) -> bool:
        return False

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class MacroResult:
    """What became of a macro."""

    macro: str
    ending: Ending
    text: str
    """What it says in the end: its last result, why it stopped, or what failed."""
    results: Mapping[str, str]
    """Every result that was kept, by its name."""
    steps: int
    """How many steps were done."""
