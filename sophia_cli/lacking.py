"""Asks in lines for what a command cannot do without and was not given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.commands import MissingValues, Param, Registry

Ask = Callable[[str], Awaitable[str]]
CHOICES: Final = 12
"""So many choices are told with the question."""


async def asked_for(lacking: MissingValues, ask: Ask) -> Mapping[str, object] | None:
    """All values of the command, the missing ones asked for one by one; None where a question got no answer."""
    values = dict(lacking.values)
    params = {param.name: param for param in lacking.spec.params}
    for number, name in enumerate(lacking.missing):
        told = f"{one_line(lacking.spec.help)} " if number == 0 else ""
        answer = (await ask(f"{told}{_question(params[name])}")).strip()
        if not answer:
            return None
        values[name] = answer
    return values


def _question(param: Param) -> str:
    name = one_line(param.name.replace("_", " "))
    choices = param.type.split("|") if "|" in param.type else ["yes", "no"] if param.type == "bool" else []
    offered = f" ({', '.join(choices)})" if 0 < len(choices) <= CHOICES else ""
    return f"{name[:1].upper()}{name[1:]}{offered}, or press Enter to give up: "


def of_line(lacking: MissingValues, name: str, registry: Registry) -> bool:
    """Whether it is the command itself that lacks something, and not one that it began, such as a macro's step."""
    return registry.has(name) and registry.get(name).spec == lacking.spec
