"""Python that a small model wrote, put into the file that it is for: its functions, and nothing else of it. Pure.

Such a model repeats the tests, imports the module that it is writing, forgets an import, and is cut off in the middle.
Only what it defines is taken; all else of the file stays as it was, to the letter.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FENCE: Final = re.compile(r"```[\w.+-]*[ \t]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
MODULES: Final = frozenset(
    {"bisect", "calendar", "collections", "copy", "csv", "datetime", "decimal", "fractions", "functools", "heapq", "io"}
    | {"itertools", "json", "math", "operator", "random", "re", "statistics", "string", "textwrap", "unicodedata"}
)
"""Of the standard library, what is imported where a name asks for it."""
_NAMES: Final = {
    **dict.fromkeys(("Counter", "defaultdict", "deque", "OrderedDict", "namedtuple"), "collections"),
    **dict.fromkeys(("Any", "Callable", "Dict", "Iterable", "List", "Optional", "Set", "Tuple", "Union"), "typing"),
    **dict.fromkeys(("reduce", "lru_cache", "cache"), "functools"),
    **dict.fromkeys(("chain", "combinations", "permutations", "product", "groupby"), "itertools"),
    **dict.fromkeys(("dataclass", "field"), "dataclasses"),
    "Path": "pathlib",
}
MOST_CUT: Final = 40
"""Lines that are taken off an answer's end until the rest is Python."""


class BadCode(ValueError):
    """Nothing in it is Python, or nothing that defines anything."""


def code_in(answer: str) -> str:
    """Return the first block of code in an answer; where there is none, all of it."""
    found = _FENCE.search(answer)
    return found[1] if found else answer.removesuffix("```")


def spliced(before: str, answer: str, module: str = "") -> str:
    """Return the file with the definitions of an answer in it. Raises BadCode."""
    tree, source = _parsed(code_in(answer))
    old = _tree_of(before)
    text = before
    new = [each for each in tree.body if isinstance(each, Definition) and not _is_test(each)]
    if not new:
        raise BadCode("the answer defines nothing")
    for each in new:
        text = _with(text, each, source)
    kept = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom) and not _is_own(each, module)]
    constants = [each for each in tree.body if isinstance(each, ast.Assign) and not _assigned(each) & _bound(old)]
    head = [ast.unparse(each) for each in kept] + [_segment(source, each) for each in constants if _is_constant(each)]
    return _with_imports(_with_head(text, head))


def stub_of(code: str) -> str:
    """Return the code without its bodies: signatures and docstrings. What is not Python stays as it is."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return code
    for each in ast.walk(tree):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            each.body = [*each.body[: ast.get_docstring(each) is not None], ast.Expr(ast.Constant(...))]
    return ast.unparse(tree)


def defined_in(code: str) -> tuple[str, ...]:
    """Return the names of what the code defines at its top."""
    return tuple(each.name for each in _tree_of(code).body if isinstance(each, Definition))


def _parsed(code: str) -> tuple[ast.Module, str]:
    lines = code.splitlines()
    for cut in range(min(MOST_CUT, len(lines)) + 1):
        source = "\n".join(lines[: len(lines) - cut])
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if tree.body:
            return tree, source
    raise BadCode("the answer is not Python")


def _tree_of(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _is_test(each: Definition) -> bool:
    return each.name.startswith(("test_", "Test")) or each.name == "main"


def _is_own(each: ast.Import | ast.ImportFrom, module: str) -> bool:
    """Whether it imports the very file, or everything there is."""
    if isinstance(each, ast.ImportFrom):
        return each.module == module or bool(each.level) or any(name.name == "*" for name in each.names)
    return any(name.name in (module, "unittest", "pytest") for name in each.names)


def _is_constant(each: ast.Assign) -> bool:
    """Whether it calls nothing: what a module does when it is loaded is not for the model to add to."""
    return not any(isinstance(part, ast.Call | ast.Lambda) for part in ast.walk(each.value))


def _assigned(each: ast.Assign) -> set[str]:
    return {part.id for target in each.targets for part in ast.walk(target) if isinstance(part, ast.Name)}


def _lines_of(each: Definition) -> tuple[int, int]:
    """The first line and the one behind the last, from 0."""
    first = min([each.lineno, *(mark.lineno for mark in each.decorator_list)])
    return first - 1, each.end_lineno or each.lineno


def _segment(source: str, each: ast.stmt) -> str:
    first, last = _lines_of(each) if isinstance(each, Definition) else (each.lineno - 1, each.end_lineno or each.lineno)
    return "\n".join(source.splitlines()[first:last])


def _with(text: str, new: Definition, source: str, inside: str = "") -> str:
    """The text with this definition in the place of the one it is called after, or at the end."""
    body: Sequence[ast.stmt] = _tree_of(text).body
    home = next((each for each in body if isinstance(each, ast.ClassDef) and each.name == inside), None)
    old = next(
        (each for each in (home.body if home else body) if isinstance(each, Definition) and each.name == new.name), None
    )
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef) and _methods(old) - _methods(new):
        for each in new.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                text = _with(text, each, source, old.name)
        return text
    lines, piece = text.splitlines(), _segment(source, new).splitlines()
    if old is not None:
        first, last = _lines_of(old)
        return "\n".join([*lines[:first], *piece, *lines[last:]]) + "\n"
    if home is not None:
        at = home.end_lineno or len(lines)
        return "\n".join([*lines[:at], "", *piece, *lines[at:]]) + "\n"
    return "\n".join([*lines, "", "", *piece]).lstrip("\n") + "\n"


def _methods(each: ast.ClassDef) -> set[str]:
    return {part.name for part in each.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}


def _with_head(text: str, head: Sequence[str]) -> str:
    """The text with these lines behind its docstring and its imports from the future."""
    present = {line.strip() for line in text.splitlines()}
    wanted = [each for each in dict.fromkeys(head) if each.strip() not in present]
    if not wanted:
        return text
    lines, at = text.splitlines(), 0
    for each in _tree_of(text).body:
        first = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and at == 0
        if not first and not isinstance(each, ast.Import | ast.ImportFrom):
            break
        at = each.end_lineno or at
    return "\n".join([*lines[:at], *wanted, *lines[at:]]) + "\n"


def _with_imports(text: str) -> str:
    """The text with an import for each name of the standard library that nobody bound."""
    tree = _tree_of(text)
    free = sorted({each.id for each in _loaded(tree)} - _bound(tree) - set(dir(builtins)))
    lines = [f"import {name}" for name in free if name in MODULES]
    lines += [f"from {_NAMES[name]} import {name}" for name in free if name in _NAMES]
    return _with_head(text, lines)


def _loaded(tree: ast.AST) -> Iterator[ast.Name]:
    return (each for each in ast.walk(tree) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load))


def _bound(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for each in ast.walk(tree):
        match each:
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name):
                found.add(name)
            case ast.alias():
                found.add((each.asname or each.name).partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                found.add(name)
    return found
