"""When a step is done: `diff is not empty and base is "HEAD"`. Names, texts and three verbs; nothing is computed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Verb = Literal["empty", "is", "contains"]
_WORD: Final = re.compile(r'\s*(?:"((?:\\.|[^"\\])*)"|(\S+))')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class BadCondition(ValueError):
    """The condition cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Test:
    """One question about one name."""

    name: str
    verb: Verb
    text: str = ""
    negated: bool = False

    def holds(self, values: Mapping[str, str]) -> bool:
        """Say whether it is so. Raises KeyError for a name that has no value."""
        value = values[self.name]
        match self.verb:
            case "empty":
                found = not value.strip()
            case "is":
                found = value.strip() == self.text
            case "contains":
                found = self.text in value
        return found != self.negated


@dataclass(frozen=True, slots=True)
class Condition:
    """Tests joined by `and`, those joined by `or`."""

    either: tuple[tuple[Test, ...], ...]

    @property
    def names(self) -> set[str]:
        """The names it asks about."""
        return {test.name for tests in self.either for test in tests}

    def holds(self, values: Mapping[str, str]) -> bool:
        """Say whether it is so."""
        return any(all(test.holds(values) for test in tests) for tests in self.either)


def parse_condition(text: str) -> Condition:
    """Return the condition. Raises BadCondition."""
    words = _words(text)
    either: list[tuple[Test, ...]] = []
    for alternative in _split(words, "or"):
        either.append(tuple(_test(part) for part in _split(alternative, "and")))
    return Condition(tuple(either))


def _words(text: str) -> list[tuple[str, bool]]:
    """The words, and whether each was quoted."""
    words, at = [], 0
    while match := _WORD.match(text, at):
        quoted = match[1] is not None
        words.append((_ESCAPED.sub(r"\1", match[1]) if quoted else match[2], quoted))
        at = match.end()
    if text[at:].strip():
        raise BadCondition(f"a closing quotation mark is missing in {text!r}.")
    return words


def _split(words: list[tuple[str, bool]], at: str) -> list[list[tuple[str, bool]]]:
    parts: list[list[tuple[str, bool]]] = [[]]
    for word in words:
        if word == (at, False):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _test(words: list[tuple[str, bool]]) -> Test:
    said = " ".join(text for text, _ in words)
    match words:
        case [(name, False), ("is", False), ("empty", False)]:
            test = Test(name, "empty")
        case [(name, False), ("is", False), ("not", False), ("empty", False)]:
            test = Test(name, "empty", negated=True)
        case [(name, False), ("is", False), (text, True)]:
            test = Test(name, "is", text)
        case [(name, False), ("is", False), ("not", False), (text, True)]:
            test = Test(name, "is", text, negated=True)
        case [(name, False), ("contains", False), (text, True)]:
            test = Test(name, "contains", text)
        case [(name, False), ("lacks", False), (text, True)]:
            test = Test(name, "contains", text, negated=True)
        case _:
            raise BadCondition(f"{said!r} is no condition.")
    if not _NAME.fullmatch(test.name):
        raise BadCondition(f"{test.name!r} is not a name.")
    return test
