"""Cutting a growing Markdown text into blocks that will never change again.

markdown-it decides where blocks begin. A block is closed when the next one begins on a line that is complete; only the
text from the start of the open block is looked at again. Long things are cut where it is safe: a list between its
items, a table every `TABLE_ROWS` rows, a fence line by line, and anything longer than `LIMIT` becomes plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from .dialect import with_math
from .fence import LONG_LINE, Fence, open_fence

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TABLE_ROWS = 24
COLUMNS = 64
"""Columns of a table beyond which it is shown as text."""
QUOTE_LINES = 30
"""Lines of a quote in one block, where it has a paragraph to break at."""
LINKS = 500
"""Link definitions that are remembered."""
LIMIT = 8_000
"""Characters in one block before it is shown as plain text."""
PIECE = 4_000
"""Characters in one piece of plain text."""
NESTING = 24

_BLANK_LINES = re.compile(r"(?:[ \t]*\n)+")
# What may become a list item or the line under a heading shows nothing yet.
_UNDERLINE = re.compile(r"^ {0,3}(?:-+|=+|[*+]|\d{1,9}[.)]?) *$")
# Beginnings of a line that stay what they are, whatever is written after them.
_CERTAIN = re.compile(r"^ {0,3}(?:[^\W\d_]|[\"'(|]|[-+] +[^\s\-+]|\* +[^\s*]|\d{1,9}[.)] +\S|#{1,6} )")


@cache
def parser(*, tables: bool = True) -> MarkdownIt:
    """The Markdown parser: CommonMark with tables, strikethrough and formulas, HTML shown as text."""
    from markdown_it import MarkdownIt

    rules = ["table", "strikethrough"] if tables else ["strikethrough"]
    return with_math(MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING}).enable(rules))


def block_tokens(source: str, env: dict[str, Any]) -> list[Token]:
    """Block tokens of `source`; the inline tokens are not parsed yet."""
    tokens: list[Token] = []
    wide = source.count("|") > COLUMNS and any(line.count("|") > COLUMNS for line in source.split("\n"))
    markdown = parser(tables=not wide)
    markdown.block.parse(source, markdown, env, tokens)
    return tokens


def copied(env: dict[str, Any]) -> dict[str, Any]:
    """An environment that can be written to without changing `env`."""
    links = env.get("references")
    return {"references": dict(links)} if links else {}


@dataclass(slots=True)
class Block:
    """A piece of the source that is laid out on its own."""

    kind: str
    """``markdown``, ``item``, ``fence``, ``table``, ``rows`` (of the table in `spec`) or ``plain``."""
    source: str
    gap: int = 1
    """Blank rows above it."""
    number: int = 0
    """Ordinal of a numbered item."""
    spec: str = ""
    """What else it takes: the kind and marker of a list, the first rows of a table."""
    tokens: list[Token] | None = field(default=None, compare=False, repr=False)
    """What the parser made of it, where that is known already; not to be changed."""
    more: bool = field(default=False, compare=False)
    """The same table goes on in the next block."""
    fence: Fence | None = field(default=None, compare=False)


def piece_end(text: str) -> int:
    """Where to cut plain text of more than `PIECE` characters."""
    for mark in ("\n", " "):
        end = text.rfind(mark, PIECE // 2, PIECE)
        if end > 0:
            return end + 1
    return PIECE


@dataclass(slots=True)
class _Top:
    """A top-level block as markdown-it sees it: first token, first line, and the lines at which it may be cut."""

    token: Token
    line: int
    cuts: list[int]
    deep: bool = False


def _tops(tokens: list[Token]) -> list[_Top]:
    tops: list[_Top] = []
    for token in tokens:
        if token.level >= NESTING - 2 and tops:
            tops[-1].deep = True
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0:
            tops.append(_Top(token, token.map[0], [token.map[0]]))
        elif token.level == 1 and token.type == "list_item_open":
            if token.map[0] > tops[-1].line:
                tops[-1].cuts.append(token.map[0])
        elif token.level == 2 and token.type == "tr_open" and tops[-1].token.type == "table_open":
            row = token.map[0] - tops[-1].line - 2
            if row > 0 and row % TABLE_ROWS == 0:
                tops[-1].cuts.append(token.map[0])
        elif (
            token.level == 1
            and tops[-1].token.type == "blockquote_open"
            and (token.map[0] - tops[-1].cuts[-1] >= QUOTE_LINES)
        ):
            tops[-1].cuts.append(token.map[0])
    return tops


class Splitter:
    """Feed it text; it yields closed blocks and keeps the open one."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        """Closed blocks, in order; their sources joined are the text so far but for `tail`."""
        self.tail = ""
        """The source of the open block, or of the fence after its complete lines."""
        self.fence: Fence | None = None
        self.env: dict[str, Any] = {}
        """Link definitions of the closed blocks."""
        self._fence_source: list[str] = []
        self._plain = False
        self._table = ""
        self._columns = ""
        self._looked = (-1, False, False)
        self._parsed: tuple[str, list[_Top], list[Token]] = ("", [], [])
        self._after_return = False

    def feed(self, text: str) -> None:
        """Add text; afterwards `blocks`, `tail` and `fence` describe everything fed so far."""
        if "\r" in text or self._after_return:
            text = self._newlines(text)
        self.tail += text
        self._advance(closing=False)

    def close(self) -> None:
        """No more text comes: everything becomes blocks."""
        self._advance(closing=True)
        if self.fence is not None:
            if self.fence.closes(self.tail):
                self.fence.closed, self.fence.partial = True, ""
            else:
                self.fence.partial = self.fence.hold(self.fence.dedent(self.tail))
            self._fence_source.append(self.tail)
            self.tail = ""
            self._close_fence()
        if self.tail:
            if self.blocks and not self.tail.strip():
                self.blocks[-1].source += self.tail
            else:
                self._push(Block("plain" if self._plain else "markdown", self.tail))
            self.tail = ""

    def pending(self) -> list[Block]:
        """The open text as it stands (more than one block while a boundary is uncertain); empty for a fence."""
        line = self.tail.rfind("\n") + 1
        tail = self.tail[:line] + _UNDERLINE.sub("", self.tail[line:])
        if self.fence is not None or not tail.strip():
            return []
        found = [Block("plain", tail)] if self._plain else list(self._cut(tail, len(tail) + 1))
        if len(found) == 1 and not self._plain and not found[0].fence:
            found[0].tokens = self._parsed[2]
        before = self.blocks[-1] if self.blocks else None
        for block in found:
            self._gapped(block, before)
            before = block
        return found

    def _newlines(self, text: str) -> str:
        if self._after_return and text.startswith("\n"):
            text = text[1:]
        self._after_return = text.endswith("\r")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _advance(self, *, closing: bool) -> None:
        while self.tail:
            if self.fence is not None:
                if not self._feed_fence():
                    return
            elif self._plain:
                if not self._feed_plain(closing):
                    return
            elif not self._feed_blocks(closing):
                return

    def _feed_fence(self) -> bool:
        fence = self.fence
        assert fence is not None
        if "\n" in self.tail:
            lines = self.tail.split("\n")
            rest = lines.pop()
            for index, line in enumerate(lines):
                self._fence_source.append(line + "\n")
                if fence.take(line):
                    self.tail = "\n".join([*lines[index + 1 :], rest])
                    fence.partial = ""
                    self._close_fence()
                    return True
            self.tail = rest
        if len(self.tail) > LONG_LINE + fence.indent:
            kept = fence.hold(fence.dedent(self.tail))
            self._fence_source.append(self.tail[: len(self.tail) - len(kept)])
            self.tail = kept
        fence.hint(self.tail)
        return False

    def _close_fence(self) -> None:
        self._push(Block("fence", "".join(self._fence_source), fence=self.fence))
        self.fence, self._fence_source = None, []

    def _feed_plain(self, closing: bool) -> bool:
        end = re.search(r"\n[ \t]*\n", self.tail[:PIECE])
        if end is not None:
            self._push(Block("plain", self.tail[: end.end()]))
            self.tail, self._plain = self.tail[end.end() :], False
            return True
        if len(self.tail) > PIECE:
            cut = piece_end(self.tail)
            self._push(Block("plain", self.tail[:cut]))
            self.tail = self.tail[cut:]
            return True
        return False

    def _feed_blocks(self, closing: bool) -> bool:
        """Push what is closed; True when it is worth looking again."""
        if self.blocks and (blank := _BLANK_LINES.match(self.tail)):
            self.blocks[-1].source += blank[0]
            self.tail = self.tail[blank.end() :]
        if not closing and "\n" not in self.tail and len(self.tail) <= LIMIT:
            return False
        newlines = self.tail.count("\n")
        known = _CERTAIN.match(self.tail[self.tail.rfind("\n") + 1 :]) is not None
        if not closing and (newlines, known, len(self.tail) > LIMIT) == self._looked:
            return False
        complete = newlines + (1 if closing or known else 0)
        self._pass_on(complete)
        found = list(self._cut(self.tail, complete))
        for block in found if closing else found[:-1]:
            self.tail = self.tail[len(block.source) :]
            self._push(block)
        self._looked = (self.tail.count("\n"), known, False)
        if closing:
            return False
        if found and self._begin_fence():
            return True
        if len(self.tail) > LIMIT or (found and found[-1].kind == "plain"):
            self._plain = True
            return True
        return False

    def _pass_on(self, complete: int) -> None:
        """Lines before the first block, which only define links, belong to the block before."""
        if not self.blocks or self._table:
            return
        tops = self._tops_of(self.tail)
        line = tops[0].line if tops else 0
        if 0 < line < complete:
            lines = self.tail.split("\n")
            passed = "\n".join(lines[:line]) + "\n"
            self.tail = "\n".join(lines[line:])
            self.blocks[-1].source += passed
            block_tokens(passed, self.env)

    def _begin_fence(self) -> bool:
        """Go on line by line when the tail is nothing but an open fence."""
        if not self.tail.lstrip("\n \t").startswith(("```", "~~~")):
            return False
        tops = _tops(block_tokens(self.tail, {}))
        if len(tops) != 1 or tops[0].token.type != "fence":
            return False
        lines = self.tail.split("\n")
        first = tops[0].line
        fence = open_fence(lines[first] + "\n")
        if first + 1 >= len(lines) or fence is None:
            return False
        self._fence_source = ["\n".join(lines[: first + 1]) + "\n"]
        self.tail = "\n".join(lines[first + 1 :])
        self.fence = fence
        return True

    def _cut(self, source: str, complete: int) -> Iterator[Block]:
        """Blocks of `source`; a cut counts only when the line after it is complete. The last one is open."""
        shift = self._table.count("\n")
        tops = self._tops_of(self._table + source)
        lines = source.split("\n")
        marks = [(line - shift, top) for top in tops for line in top.cuts]
        marks = [mark for index, mark in enumerate(marks) if index == 0 or mark[0] < complete]
        for index, (line, top) in enumerate(marks):
            last = index + 1 == len(marks)
            end = len(lines) if last else marks[index + 1][0]
            text = "\n".join(lines[0 if index == 0 else line : end]) + ("" if last else "\n")
            if top.token.type == "table_open":
                kind = "rows" if line + shift > top.line or (shift and index == 0) else "table"
                yield Block(kind, text, more=not last and marks[index + 1][1] is top)
            else:
                yield from self._block(top, text)

    def _tops_of(self, source: str) -> list[_Top]:
        if self._parsed[0] != source:
            tokens = block_tokens(source, copied(self.env))
            self._parsed = (source, _tops(tokens), tokens)
        return self._parsed[1]

    def _block(self, top: _Top, text: str) -> Iterator[Block]:
        kind = top.token.type
        if top.deep or (len(text) > LIMIT and kind != "fence"):
            while len(text) > PIECE:
                end = piece_end(text)
                yield Block("plain", text[:end])
                text = text[end:]
            yield Block("plain", text)
        elif kind in ("bullet_list_open", "ordered_list_open"):
            number = _number(top.token) if kind == "ordered_list_open" else 0
            yield Block("item", text, number=number, spec=f"{kind} {top.token.markup}")
        elif kind == "fence":
            yield Block("fence", text, fence=open_fence(text))
        else:
            yield Block("markdown", text)

    def _push(self, block: Block) -> None:
        self._gapped(block, self.blocks[-1] if self.blocks else None)
        if block.kind == "table":
            lines = block.source.split("\n")[_tops(block_tokens(block.source, {}))[0].line :]
            self._columns = "\n".join(lines[: TABLE_ROWS + 2]) + "\n"
        header = self._columns.split("\n", 2)[:2]
        self._table = "\n".join(header) + "\n" if block.more else ""
        if "]:" in block.source and block.kind != "fence" and len(self.env.get("references", ())) < LINKS:
            block_tokens(block.source, self.env)
        self.blocks.append(block)

    def _gapped(self, block: Block, before: Block | None) -> None:
        """Give `block` what depends on the one before it: blank rows, ordinal, table."""
        if before is None:
            block.gap = 0
        elif block.kind == "item" and before.kind == "item" and before.spec == block.spec:
            block.gap = 1 if _ended(before.source) else 0
            block.number = before.number + 1 if block.number else 0
        elif block.kind == "rows" or (block.kind == before.kind == "plain" and not _ended(before.source)):
            block.gap = 0
        if block.kind == "rows":
            block.spec = self._columns


def _number(token: Token) -> int:
    start = token.attrGet("start")
    return int(start) if start is not None else 1


def _ended(source: str) -> bool:
    rest = source.rstrip(" \t")
    return rest.endswith("\n") and rest[:-1].rstrip(" \t").endswith("\n")


def split(text: str) -> tuple[list[Block], dict[str, Any]]:
    """All blocks of a finished text, and its link definitions."""
    splitter = Splitter()
    splitter.feed(text)
    splitter.close()
    return splitter.blocks, splitter.env
