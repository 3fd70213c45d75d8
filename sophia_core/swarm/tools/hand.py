"""What every tool of ours is: what a model is told of it, what it has to be allowed, and what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sophia_core.gate.ports import ApprovalRequest, Danger
from sophia_core.sanitize import sanitize
from sophia_core.swarm.ports import ToolResult, ToolSpec
from sophia_core.swarm.tools.confined import OutOfReach
from sophia_core.swarm.tools.diffs import BadPatch

LONGEST_RESULT: Final = 24_000
"""Characters that a model is shown of what a tool found."""
Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hand:
    """A tool. Its functions raise ValueError for what the model got wrong."""

    spec: ToolSpec
    asks: Callable[[Arguments], ApprovalRequest | None]
    does: Callable[[Arguments], Awaitable[ToolResult]]

    def ask(self, arguments: Arguments) -> ApprovalRequest | None:
        """What would have to be approved; None for what only looks. Raises ValueError."""
        return self.asks(checked(self.spec, arguments))

    async def call(self, arguments: Arguments) -> ToolResult:
        """Does it; what went wrong is in the result."""
        try:
            return await self.does(checked(self.spec, arguments))
        except ValueError as error:
            return ToolResult(False, f"{error}")
        except OSError as error:
            return ToolResult(False, f"The system refused: {error.strerror or error}.")


def checked(spec: ToolSpec, arguments: object) -> Arguments:
    """The arguments, when they are those of the tool. Raises ValueError."""
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{spec.name} takes an object with {', '.join(spec.parameters['properties'])}.")
    known, kinds = spec.parameters["properties"], {"string": str, "integer": int, "boolean": bool}
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(f"{spec.name} has no {sanitize(str(name))[:40]!r}; it takes {', '.join(known)}.")
        kind = kinds[known[name]["type"]]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{name!r} of {spec.name} has to be a {known[name]['type']}.")
    for name in spec.parameters.get("required", ()):
        if name not in arguments:
            raise ValueError(f"{spec.name} needs {name!r}.")
    return dict(arguments)


def spec_of(name: str, description: str, danger: Danger, required: str, **properties: tuple[str, str]) -> ToolSpec:
    """A spec: each property is its type and what it means; the required ones are named in one text."""
    described = {each: {"type": kind, "description": text} for each, (kind, text) in properties.items()}
    schema = {"type": "object", "properties": described, "required": required.split(), "additionalProperties": False}
    return ToolSpec(name, description, schema, danger)


def nothing_to_ask(arguments: Arguments) -> None:
    """For tools that only look."""
    return


async def in_thread(work: Callable[[Arguments], ToolResult], arguments: Arguments) -> ToolResult:
    """What comes of work that blocks."""
    return await asyncio.to_thread(work, arguments)


def blocking(work: Callable[[Arguments], ToolResult]) -> Callable[[Arguments], Awaitable[ToolResult]]:
    """The same work, done in a thread."""

    async def does(arguments: Arguments) -> ToolResult:
        return await in_thread(work, arguments)

    return does


def for_model(text: str, most: int = LONGEST_RESULT) -> str:
    """What a model is shown: safe, and not more than it can take; of what is longer, the beginning and the end."""
    safe = sanitize(text[: most * 8] if len(text) > most * 8 else text)
    if len(safe) <= most:
        return safe
    head, tail = most * 2 // 3, most // 3
    return f"{safe[:head]}\n… {len(safe) - head - tail:,} characters are left out …\n{safe[-tail:]}"


def text_of(content: bytes, path: str) -> str:
    """The content as text. Raises OutOfReach for what is none."""
    if b"\0" in content:
        raise OutOfReach(f"{path!r} is no text.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise OutOfReach(f"{path!r} is not UTF-8.") from None


__all__ = ["Arguments", "BadPatch", "Hand", "blocking", "checked", "for_model", "nothing_to_ask", "spec_of", "text_of"]
