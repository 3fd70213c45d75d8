"""What a macro asks of somebody who talks in plain lines: each question is a line, and so is its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from sophia_core.macros.shell import shown_words
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.macros.language import Macro, Parameter
    from sophia_core.macros.macros import Macros


class LineGuard:
    """`ask` tells a question and gives what was typed, an empty text at the end of the input."""

    def __init__(self, ask: Callable[[str], Awaitable[str]], macros: Macros) -> None:
        self._ask, self._macros = ask, macros

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        """Whether the macro may run this program; "always" is remembered for this step of this text."""
        if self._macros.allowed(key):
            return True
        question = f"The macro {macro.name} wants to run:\n{shown_words(argv)}\nRun it? Type yes or always, or press"
        answer = (await self._ask(f"{question} Enter for no: ")).lower()
        if answer == "always":
            await self._macros.allow(key)
        return answer in ("y", "yes", "always")

    async def may_do(self, macro: Macro, question: str) -> bool:
        """Whether the macro may do what cannot be undone."""
        asked = f"The macro {macro.name}: {one_line(question)} Do it? Type yes, or press Enter for no: "
        return (await self._ask(asked)).lower() in ("y", "yes")

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        """What the person types for a parameter; None for an empty line."""
        choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
        return await self._ask(f"{one_line(parameter.ask or parameter.name)}{choices}: ") or None
