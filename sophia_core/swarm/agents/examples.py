"""What a test asks for, as a few plain lines: a small model that is shown a whole test writes it down again. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

MOST: Final = 12
LONGEST: Final = 200
_EQUAL: Final = frozenset({"assertEqual", "assertIs", "assertAlmostEqual", "assertEquals"})
_COMPLAINT: Final = re.compile(r"^(?:E\s+)?(\w*(?:Error|Exception)\b.*)$")


def examples_in(test: str) -> list[str]:
    """Return what has to hold, a line each: `slug("a b") == "a-b"`. Nothing where the test is not Python."""
    try:
        tree = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = (line for each in ast.walk(tree) if _is_test(each) for line in _of(each))
    return [line for line in found if len(line) <= LONGEST][:MOST]


def complaint_in(output: str, most: int = 4) -> str:
    """Return the few lines of a test's output that say what was wrong."""
    lines = [found[1] for line in output.splitlines() if (found := _COMPLAINT.match(line.strip()))]
    return "\n".join(line[:LONGEST] for line in dict.fromkeys(lines[:most])) or output.strip()[-LONGEST:]


def _is_test(each: ast.AST) -> bool:
    return isinstance(each, ast.FunctionDef) and each.name.startswith("test")


def _of(test: ast.AST) -> Iterator[str]:
    body = getattr(test, "body", [])
    plain = [line for each in body if (line := _line(each))]
    if len(plain) == len(body):
        yield from plain
    else:  # what is asserted speaks of names that were made before: all of it is one example
        yield "; ".join(ast.unparse(each).replace("\n    ", " ") for each in body)


def _line(each: ast.stmt) -> str:
    match each:
        case ast.Expr(ast.Call(ast.Attribute(attr=name), [left, right, *_])) if name in _EQUAL:
            return f"{ast.unparse(left)} == {ast.unparse(right)}"
        case ast.Assert(test=held):
            return ast.unparse(held)
        case ast.With(items=[ast.withitem(ast.Call(ast.Attribute(attr=name), [error, *_]))], body=[ast.Expr(did)]):
            return f"{ast.unparse(did)} raises {ast.unparse(error)}" if "raises" in name.lower() else ""
    return ""
