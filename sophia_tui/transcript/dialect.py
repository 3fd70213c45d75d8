"""What models write beyond CommonMark: formulas between dollar signs or TeX brackets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_OPENS = re.compile(r"\$\$|\\\[|\\begin\{(?:equation|align|gather|multline|alignat|eqnarray|[pbBvV]?matrix|cases)\*?\}")
_CLOSES = {"$$": "$$", "\\[": "\\]"}
_BRACKETS = ("(", "[")
_INLINE = ("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$")


def with_math(markdown: MarkdownIt) -> MarkdownIt:
    """Lets the parser see formulas."""
    from markdown_it.rules_inline import escape

    def escape_or_math(state: StateInline, silent: bool) -> bool:
        first = state.src[state.pos]
        if first == "\\":
            if state.src.startswith(_BRACKETS, state.pos + 1) and _inline(state, silent):
                return True
            return escape(state, silent)
        return first == "$" and _inline(state, silent)

    # Its place is taken: every rule is asked at every character that could mean something, and a call costs most.
    markdown.inline.ruler.at("escape", escape_or_math)
    markdown.block.ruler.before("fence", "math", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return markdown


def _inline(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    for opening, closing in _INLINE:
        if source.startswith(opening, start):
            begin = start + len(opening)
            if opening == "$" and source[begin : begin + 1].isspace():
                return False
            from .math import LONGEST

            end = source.find(closing, begin, begin + LONGEST)
            if end <= begin or not _is_formula(source, opening, begin, end):
                return False
            if not silent:
                token = state.push("math_inline", "math", 0)
                token.content, token.markup = source[begin:end].replace("\n", " "), opening
                token.meta = {"source": source[start : end + len(closing)]}
            state.pos = end + len(closing)
            return True
    return False


def _is_formula(source: str, opening: str, begin: int, end: int) -> bool:
    body = source[begin:end]
    if opening == "\\(":
        return True
    if opening == "$" and (body[0].isspace() or body[-1].isspace() or source[end + 1 : end + 2].isalnum()):
        return False
    from .math import looks_like_math

    return looks_like_math(body.strip())


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A formula on lines of its own, up to its closing mark; one that is still being written goes to the end."""
    if not state.src.startswith(("$", "\\"), state.bMarks[start_line] + state.tShift[start_line]):
        return False  # almost every line: no more may be asked of it
    if state.is_code_block(start_line):
        return False
    first = _line(state, start_line)
    match = _OPENS.match(first)
    if match is None:
        return False
    closing = _CLOSES.get(match[0]) or match[0].replace("\\begin", "\\end", 1)
    found = _until(state, start_line, end_line, first[match.end() :], closing)
    if found is None:
        return False
    if silent:
        return True
    last, body, closed = found
    state.line = last + 1
    token = state.push("math_block", "math", 0)
    token.content = body if match[0] in _CLOSES else match[0] + body + closing
    token.map, token.block = [start_line, state.line], True
    token.meta = {"closed": closed, "source": state.getLines(start_line, state.line, state.blkIndent, False)}
    return True


def _until(state: StateBlock, start_line: int, end_line: int, rest: str, closing: str) -> tuple[int, str, bool] | None:
    """The last line, the formula, and whether its end is there; None where this is no formula."""
    body: list[str] = []
    for number in range(start_line, end_line):
        line = rest if number == start_line else _line(state, number)
        if (number > start_line and not line.strip()) or state.sCount[number] < state.blkIndent:
            return None
        before, mark, after = line.partition(closing)
        body.append(before)
        if mark:
            return None if after.strip(" .,;") else (number, "\n".join(body), True)
    return end_line - 1, "\n".join(body), False


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
