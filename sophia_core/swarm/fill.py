"""Putting values into the goal and the programs of a step.

`{name}` is a parameter of the plan, `{step.ID}` the result of a step before, `{step.ID.key}` a part of it, `{item}` (or
`{item.key}`) what one copy of an `each` is about; `{{` and `}}` are braces. A value is put in as it is and never read
again, so that it cannot ask for another value, and no value is longer than a model should have to read.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sophia_core.sanitize import sanitize
from sophia_core.swarm.plan import Plan, Step

LONGEST_VALUE: Final = 16_000
LONGEST_TEXT: Final = 64_000
_PIECE: Final = re.compile(
    r"\{\{|\}\}|\{(step\.[a-z][a-z0-9_-]{0,39}|item|[a-z][a-z0-9_]{0,39})((?:\.[A-Za-z0-9_-]{1,60}){0,3})\}|[{}]|[^{}]+"
)


class BadText(ValueError):
    """A brace that belongs to nothing, or a name without a value; the text says which."""


@dataclass(frozen=True, slots=True)
class Name:
    """What stands in braces."""

    of: str
    """`step.ID`, `item`, or the name of a parameter."""
    keys: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """The step whose result it is; empty for others."""
        return self.of[5:] if self.of.startswith("step.") else ""


def names(text: str) -> list[Name]:
    """Return what the text wants values for. Raises BadText."""
    return [piece for piece in _pieces(text) if isinstance(piece, Name)]


def escaped(text: str) -> str:
    """Return the text so that nothing in it is replaced: what a model wrote asks for no values."""
    return text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, slots=True)
class Values:
    """What can be put in."""

    params: Mapping[str, str]
    results: Mapping[str, Any]
    """Of the steps before, by id."""
    item: Any = None
    fence: Callable[[str, str], str] | None = None
    """Marks what models and programs said, which is told it with a word on what it is."""

    def of(self, name: Name) -> str:
        """Return the value as text, cut to what is bearable. Raises BadText."""
        if name.of == "item":
            found = self.item
        elif name.step:
            found = self.results.get(name.step)
        elif name.of in self.params:
            found = self.params[name.of]
        else:
            raise BadText(f"there is no value for {{{name.of}}}.")
        for key in name.keys:
            found = _part(found, key)
        said = cut(as_text(found))
        return said if self.fence is None or name.of in self.params else self.fence(said, name.of.replace(".", " "))


def fill(text: str, values: Values) -> str:
    """Return the text with every name replaced, once. Raises BadText."""
    filled = "".join(piece if isinstance(piece, str) else values.of(piece) for piece in _pieces(text))
    return cut(filled, LONGEST_TEXT)


def filled(plan: Plan, step: Step, values: Values) -> Step:
    """Return the step with everything put into its goal, its programs and the fixed words of its answer."""
    programs = frozenset(each.name for each in plan.params if each.kind == "program")
    check = step.check and replace(step.check, program=_program(step.check.program, values, programs))
    answer = None if step.answer is None else _schema(step.answer, replace_results(values))
    return replace(
        step,
        goal=fill(step.goal, values),
        program=_program(step.program, values, programs),
        check=check,
        answer=answer,
    )


def replace_results(values: Values) -> Values:
    """Return the values without what models said: their words are no part of a schema."""
    return Values(values.params, {})


def _program(words: tuple[str, ...], values: Values, programs: frozenset[str]) -> tuple[str, ...]:
    """Word by word: a value never becomes two, unless a person gave it as a program and the word is nothing else."""
    made: list[str] = []
    for word in words:
        asked = _pieces(word)
        if len(asked) == 1 and isinstance(asked[0], Name) and asked[0].of in programs:
            made += split_program(values.of(asked[0]))
        else:
            made.append(fill(word, values).replace("\0", ""))
    return tuple(made)


def split_program(text: str) -> list[str]:
    """Return a program and its arguments as a person wrote them. Raises BadText."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadText(f"{text[:60]!r} is no program and its arguments: {str(error).lower()}.") from None


def _schema(part: Any, values: Values) -> Any:
    """Parameters stand in what the schema fixes (`const`, `enum`, `description`), not in its keys."""
    match part:
        case Mapping():
            return {key: _fixed(each, values) if key in _FIXED else _schema(each, values) for key, each in part.items()}
        case list() | tuple():
            return [_schema(each, values) for each in part]
    return part


_FIXED: Final = frozenset({"const", "enum", "description"})


def _fixed(part: Any, values: Values) -> Any:
    if isinstance(part, str):
        return fill(part, values)
    return [_fixed(each, values) for each in part] if isinstance(part, list) else _schema(part, values)


def _part(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None


def as_text(value: Any) -> str:
    """Return a result as a model or a person reads it: lists of texts as lines, other things as JSON."""
    match value:
        case None:
            return "(nothing)"
        case str():
            return sanitize(value)
        case bool() | int() | float():
            return json.dumps(value)
        case list() if value and all(isinstance(each, str) for each in value):
            return "\n".join(f"- {sanitize(each)}" for each in value)
    try:
        return sanitize(json.dumps(value, ensure_ascii=False, indent=1))
    except (TypeError, ValueError, RecursionError):
        return sanitize(repr(type(value)))


def cut(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return the text, or its beginning and its end with a word on what is left out between them."""
    if len(text) <= longest:
        return text
    note = f"\n[… {len(text) - longest} characters are left out here …]\n"
    half = max(0, longest - len(note)) // 2
    return text[:half] + note + text[-half:] if half else text[:longest]


def _pieces(text: str) -> list[str | Name]:
    pieces: list[str | Name] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if match[1]:
            name = Name(match[1], tuple(match[2].split(".")[1:]))
            if name.keys and not name.step and name.of != "item":
                raise BadText(f"{piece!r} asks for a part of a parameter, which is a text.")
            pieces.append(name)
        elif piece in ("{{", "}}"):
            pieces.append(piece[0])
        elif piece in "{}":
            near = text[max(0, match.start() - 10) : match.end() + 10]
            raise BadText(f"a lone {piece!r} near {near!r}.")
        else:
            pieces.append(piece)
    return pieces
