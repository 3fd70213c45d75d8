"""LaTeX as a person reads it: formulas in Unicode, on one row where they fit on one, else on as many as they have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len

from .tex import (
    ACCENTS,
    BLACKBOARD,
    BRACKETS,
    LOWERED,
    PLAIN,
    RAISED,
    RELATIONS,
    SIGNS,
    SILENT,
    WORDS,
)

LONGEST = 4_000
"""Characters of a formula beyond which it is shown as it was written."""
DEEPEST = 24

_TOKEN = re.compile(r"\\(?:[A-Za-z]+\*?|.)|[{}^_&]|\s+|[^\\{}^_&\s]", re.DOTALL)
_ENVIRONMENT = re.compile(r"\\begin\{(\w+)\*?\}(?:\{[lcr|]*\})?(.*?)\\end\{\1\*?\}", re.DOTALL)
_ROW = re.compile(r"\\\\(?:\[[^\]]*\])?")
_LOOKS_LIKE_MATH = re.compile(
    r"[\\^_={}<>+|]|^[A-Za-z](?:['0-9]|\([\w, ]*\))*$|^-?\d+(?:\.\d+)?$|^[\w()]+ ?[*/-] ?[\w()]+$"
)
_TEXT = frozenset({"text", "textrm", "textbf", "textit", "texttt", "mbox", "hbox", "operatorname", "mathrm"})


class _Reader:
    """The tokens of a formula, one after the other."""

    def __init__(self, source: str) -> None:
        self.tokens = _TOKEN.findall(source)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def space(self) -> None:
        while self.peek().isspace():
            self.at += 1

    def raw(self) -> str:
        """The text of the next group as it was written."""
        self.space()
        if self.peek() != "{":
            return self.next()
        start, depth = self.at + 1, 0
        while sign := self.next():
            depth += (sign == "{") - (sign == "}")
            if not depth:
                break
        return "".join(self.tokens[start : self.at - 1])


def looks_like_math(source: str) -> bool:
    """Whether what stands between two dollar signs is a formula and not two prices."""
    return _LOOKS_LIKE_MATH.search(source) is not None and len(source) <= LONGEST


def formula(source: str) -> str:
    """A formula on one row; as it was written where it is too long or too deep."""
    if len(source) > LONGEST:
        return source
    try:
        flat = _ENVIRONMENT.sub(_on_one_row, source)
        reader = _Reader(_ROW.sub("; ", flat))
        text = _sequence(reader, 0)
        if reader.peek():  # a bracket too many: better as it was written than cut off there
            return source
    except RecursionError:
        return source
    said = text.strip() if "quad" in source else re.sub(r" {2,}", " ", text).strip()
    return said or source


def display(source: str) -> list[str]:
    """The rows of a formula that stands by itself."""
    if len(source) > LONGEST:
        return source.split("\n")
    rows: list[str] = []
    at = 0
    for match in _ENVIRONMENT.finditer(source):
        name = match[1]
        if name in BRACKETS:
            before, after = source[at : match.start()], source[match.end() :].split("\\begin", 1)[0]
            grid = _grid(match[2], *BRACKETS[name])
            if len(grid) > 1 and not _ENVIRONMENT.search(after):
                rows += _beside(_rows(before), grid, _rows(after))
                at = match.end() + len(after)
        else:
            rows += _rows(source[at : match.start()]) + _aligned(match[2])
            at = match.end()
    return [*rows, *_rows(source[at:])] or [""]


def _rows(source: str) -> list[str]:
    return [formula(each.replace("&", " ")) for each in _ROW.split(source) if each.strip()]


def _aligned(body: str) -> list[str]:
    """Rows whose first `&` stand under each other."""
    pairs = [[formula(cell) for cell in row.split("&", 1)] for row in _ROW.split(body) if row.strip()]
    left = max((cell_len(pair[0]) for pair in pairs if len(pair) > 1), default=0)
    return [
        " " * (left - cell_len(pair[0])) + pair[0] + " " + pair[1].replace("&", " ") if len(pair) > 1 else pair[0]
        for pair in pairs
    ]


def _grid(body: str, opening: str, closing: str) -> list[str]:
    cells = [[formula(cell) for cell in row.split("&")] for row in _ROW.split(body) if row.strip()]
    columns = max((len(row) for row in cells), default=0)
    widths = [max((cell_len(row[n]) for row in cells if n < len(row)), default=0) for n in range(columns)]
    rows = []
    for number, row in enumerate(cells):
        said = "  ".join(cell + " " * (widths[n] - cell_len(cell)) for n, cell in enumerate(row))
        said += " " * (sum(widths) + 2 * (columns - 1) - cell_len(said))
        rows.append((_edge(opening, number, len(cells)) + said + _edge(closing, number, len(cells))).rstrip())
    return rows


_EDGES = {"(": "⎛⎜⎝", ")": "⎞⎟⎠", "[": "⎡⎢⎣", "]": "⎤⎥⎦", "{": "⎧⎨⎩", "}": "⎫⎬⎭", "|": "│││", "‖": "‖‖‖"}


def _edge(sign: str, number: int, rows: int) -> str:
    if not sign or rows < 2:
        return sign
    top, middle, bottom = tuple(_EDGES[sign])
    if sign in "{}" and rows != 3:
        middle = "⎨⎬"["{}".index(sign)] if number == rows // 2 and rows > 2 else "⎪"
    return top if number == 0 else bottom if number == rows - 1 else middle


def _beside(left: list[str], grid: list[str], right: list[str]) -> list[str]:
    """A grid with what stands before and after it on its middle row."""
    before, after = " ".join(left), " ".join(right)
    middle = (len(grid) - 1) // 2
    pad = " " * (cell_len(before) + 1 if before else 0)
    return [
        (before + " " if before else "") + row + (" " + after if after else "") if number == middle else pad + row
        for number, row in enumerate(grid)
    ]


def _on_one_row(match: re.Match[str]) -> str:
    opening, closing = BRACKETS.get(match[1], ("", ""))
    body = _ROW.sub(" ; ", match[2]).replace("&", " ")
    return f" {opening if opening != '{' else chr(92) + '{'} {body} {closing if closing != '}' else chr(92) + '}'} "


def _sequence(reader: _Reader, depth: int) -> str:
    """Everything up to the end of the group."""
    if depth > DEEPEST:
        raise RecursionError
    pieces: list[str] = []
    while reader.peek() and reader.peek() != "}":
        for piece in _one(reader, depth):
            pieces.append(piece)
    return "".join(pieces)


def _argument(reader: _Reader, depth: int) -> str:
    reader.space()
    if not reader.peek():
        return ""
    if reader.peek() == "{":
        reader.next()
        text = _sequence(reader, depth + 1)
        reader.next()
        return text.strip()
    return "".join(_one(reader, depth + 1)) if depth < DEEPEST else reader.next()


def _one(reader: _Reader, depth: int) -> Iterator[str]:
    sign = reader.next()
    if sign == "{":
        yield _sequence(reader, depth + 1)
        reader.next()
    elif sign in "^_":
        yield _script(sign, _argument(reader, depth))
    elif sign.startswith("\\") and len(sign) > 1:
        yield from _command(sign[1:].removesuffix("*") or "*", reader, depth)
    elif sign == "&" or sign.isspace():
        yield " "
    elif sign in "=<>":
        yield f" {sign} "
    else:
        yield {"'": "′", "*": "∗", "-": "−"}.get(sign, sign)


def _command(name: str, reader: _Reader, depth: int) -> Iterator[str]:
    if name in ("frac", "dfrac", "tfrac", "cfrac"):
        over, under = _argument(reader, depth), _argument(reader, depth)
        yield f"{_held(over)}/{_held(under)}"
    elif name in ("binom", "dbinom", "tbinom"):
        yield f"({_argument(reader, depth)} over {_argument(reader, depth)})"
    elif name == "sqrt":
        yield from _root(reader, depth)
    elif name == "mathbb":
        yield "".join(BLACKBOARD.get(each, each) for each in reader.raw())
    elif name in ACCENTS:
        under = _argument(reader, depth)
        yield under + ACCENTS[name] if len(under) == 1 else f"{name}({under})" if name != "overline" else f"({under})‾"
    elif name in _TEXT:
        yield reader.raw().replace("\\", "")
    elif name in SILENT:
        if name in ("left", "right", "middle") and reader.peek() == ".":
            reader.next()
    elif name in PLAIN:
        yield _argument(reader, depth)
    elif name in ("underbrace", "overbrace"):
        yield f"({_argument(reader, depth)})"
    elif name == "not":
        reader.space()
        yield "".join(_one(reader, depth)).strip() + "\u0338" if reader.peek() else ""
    elif name in ("tag", "label"):
        said = reader.raw()
        yield f"  ({said})" if name == "tag" else ""
    else:
        yield _sign(name, reader)


def _sign(name: str, reader: _Reader) -> str:
    if name in WORDS:
        following = reader.peek()
        return name + (" " if following[:1].isalnum() or following.startswith("\\") else "")
    sign = SIGNS.get(name)
    if sign is None:
        return name if not name[0].isalpha() else f"\\{name}"
    return f" {sign} " if sign in RELATIONS else sign


def _root(reader: _Reader, depth: int) -> Iterator[str]:
    degree = ""
    if reader.peek() == "[":
        reader.next()
        while reader.peek() not in ("", "]"):
            degree += reader.next()
        reader.next()
    signs = {"": "√", "2": "√", "3": "∛", "4": "∜"}
    sign = signs.get(degree) or _script("^", degree) + "√"
    yield sign + _held(_argument(reader, depth))


def _held(text: str) -> str:
    """In brackets where it is more than one thing."""
    return text if re.fullmatch(r"[\w.′]+|\([^()]*\)|.[⁰-⁹²³¹ⁿ]?", text) else f"({text})"


def _script(where: str, text: str) -> str:
    table = RAISED if where == "^" else LOWERED
    plain = text.replace(" ", "").replace("−", "-")
    if where == "^" and plain in ("∘", "°"):
        return "°"
    if plain and all(each in table for each in plain):
        return "".join(table[each] for each in plain)
    return where + (text if len(text) == 1 else f"({text})")
