"""Answers that have to be JSON of a shape: read, looked at, and said again in words what is wrong with them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

LARGEST: Final = 1_000_000
DEEPEST: Final = 40
_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class BadAnswer(ValueError):
    """It is not what was asked for; the text says so to the model."""


def answer_in(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the JSON of an answer, made to fit where that loses nothing. Raises BadAnswer."""
    found = _FENCE.search(text)
    try:
        value = json.loads((found[1] if found else text)[:LARGEST])
    except (ValueError, RecursionError):
        raise BadAnswer("The answer is not JSON. Answer with JSON only, and nothing before or after it.") from None
    if wrong := next(problems(value, schema), ""):
        raise BadAnswer(f"The answer does not fit: {wrong}")
    return value


def problems(value: Any, schema: Mapping[str, Any], at: str = "answer", depth: int = 0) -> Iterator[str]:
    """Yield what of a value does not fit its schema; the parts of JSON schema that plans use."""
    if depth > DEEPEST:
        yield f"{at} lies too deep."
        return
    if (named := schema.get("type")) and not _is(value, named):
        yield f"{at} has to be of the type {named}."
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} has to be one of {', '.join(map(repr, schema['enum']))}."
    match value:
        case dict():
            yield from _of_object(value, schema, at, depth)
        case list():
            yield from _length(len(value), schema, at, "Items", "items")
            for number, each in enumerate(value):
                yield from problems(each, _schema(schema.get("items")), f"{at}[{number}]", depth + 1)
        case str():
            yield from _length(len(value), schema, at, "Length", "characters")
        case int() | float():
            yield from _range(value, schema, at)


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], at: str, depth: int) -> Iterator[str]:
    known = _schema(schema.get("properties"))
    yield from (f"{at} lacks {name!r}." for name in schema.get("required", ()) if name not in value)
    for name, each in value.items():
        if name in known:
            yield from problems(each, _schema(known[name]), f"{at}.{name}", depth + 1)
        elif schema.get("additionalProperties") is False:
            yield f"{at} has {name[:40]!r}, which nobody asked for."


def _is(value: Any, named: Any) -> bool:
    names = named if isinstance(named, list) else [named]
    wanted = tuple(kind for name in names for kind in _TYPES.get(name, (object,)))
    is_truth = isinstance(value, bool)
    return isinstance(value, wanted) and (not is_truth or bool in wanted or object in wanted)


def _length(length: int, schema: Mapping[str, Any], at: str, what: str, unit: str) -> Iterator[str]:
    if length < schema.get(f"min{what}", 0):
        yield f"{at} needs at least {schema[f'min{what}']} {unit}."
    if length > schema.get(f"max{what}", length):
        yield f"{at} may have at most {schema[f'max{what}']} {unit}."


def _range(value: float, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{at} has to be at least {schema['minimum']}."
    if value > schema.get("maximum", value):
        yield f"{at} may be at most {schema['maximum']}."


def _schema(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}
