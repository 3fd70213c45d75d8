"""Laying a block of the source out as rows of a given width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from .code import CODE, Lexers
from .diff import ink_of, is_diff
from .fence import Fence
from .ink import BLANK, BOLD, ITALIC, TEXT, UNDERLINE, Copy, Glyphs, Ink, Line, Run
from .inline import EVERYTHING, Takes, inline_runs
from .splitter import NESTING, Block, block_tokens, copied
from .table import Table, column_widths, table_lines
from .wrap import fit, hard_cuts, slice_runs, wrap

if TYPE_CHECKING:
    from markdown_it.token import Token

_TASK = re.compile(r"^\[([ xX])\] ")
_HEADINGS = {1: BOLD | UNDERLINE, 2: BOLD, 3: BOLD}
NARROW = 12
"""Cells below which nested structure is no longer indented."""


@dataclass(slots=True)
class _Lead:
    """What stands left of the rows of a list item or a quote."""

    first: Run
    rest: Run
    copy: str
    copy_rest: str
    used: bool = False


class Typesetter:
    """Lays out blocks at one width. Keeps nothing but the widths of tables that go on."""

    def __init__(self, width: int, glyphs: Glyphs, lexers: Lexers, takes: Takes = EVERYTHING) -> None:
        self.takes = takes
        self.width = max(1, width)
        self.glyphs = glyphs
        self.lexers = lexers
        self._columns: dict[str, tuple[Table, list[int] | None]] = {}

    def lines(self, block: Block, env: dict[str, Any]) -> list[Line]:
        """Rows of one block, without the gap above it."""
        if block.kind == "fence" and block.fence is not None:
            return self.fence(block.fence)
        if block.kind == "plain":
            return self.plain(block.source, TEXT)
        if block.kind == "rows":
            return self._more_rows(block, env)
        return _Page(self, block, env).lines

    def plain(self, text: str, ink: Ink) -> list[Line]:
        """Text as it was written, wrapped."""
        lines: list[Line] = []
        for row in text.rstrip("\n").split("\n"):
            for runs, joiner in wrap([(row.replace("\t", "    "), ink)], self.width, self.width):
                lines.append(Line(tuple(runs), joiner=joiner))
        return lines

    def fence(self, fence: Fence) -> list[Line]:
        """A code block: its label, then its lines."""
        lines = [self.code_label(fence.language, Copy(fence.source, "code"))]
        for number in range(len(fence.lines)):
            lines.extend(self.coloured(fence.language, fence.lines, number))
        if fence.partial:
            lines.extend(self.code_line(fence.partial, ((fence.partial, CODE),)))
        return lines

    def coloured(
        self, language: str, lines: Sequence[str], number: int, runs: Sequence[Run] | None = None, width: int = 0
    ) -> list[Line]:
        """Rows of one of the lines of a code block; `runs` where it was looked at as a whole."""
        text = lines[number]
        if is_diff(language, lines):
            ink = ink_of(text) or CODE
            return self.code_line(text, ((text, ink),) if text else (), width, ink)
        return self.code_line(text, self.lexers.line(language, text) if runs is None else runs, width)

    def code_label(self, language: str, action: Copy | None, width: int = 0) -> Line:
        """The row above a code block: its language, and the word that copies it."""
        width = width or self.width
        button = "[copy]"
        label = Ink("code-label")
        room = width - len(button) - 2
        if room < 1:
            return Line(((fit("[copy]", width, ""), label._replace(action=action)),), fill=label, lead=width)
        name = fit(language or "text", room, self.glyphs.ellipsis)
        runs = (
            (" " + name + " " * (room - cell_len(name)), label),
            (button, label._replace(marks=BOLD, action=action)),
        )
        return Line(runs, fill=label, lead=sum(len(text) for text, _ in runs), joiner="")

    def code_line(self, text: str, runs: Sequence[Run], width: int = 0, fill: Ink = CODE) -> list[Line]:
        """Rows of one line of code."""
        width = width or self.width
        margin = 1 if width > 2 else 0
        lead: tuple[Run, ...] = ((" ", fill._replace(marks=0)),) if margin else ()
        if "\t" in text:
            runs = _untabbed(runs)
        shown = "".join([piece for piece, _ in runs])
        if len(shown) <= width - margin and shown.isascii():
            return [Line((*lead, *runs), fill=fill, lead=margin, source=text)]
        lines = [
            Line((*lead, *slice_runs(runs, start, end)), fill=fill, lead=margin, joiner="")
            for start, end, _ in hard_cuts(shown, width - margin)
        ]
        lines[-1].joiner = "\n"
        if len(lines) == 1:
            lines[0].source = text
        return lines

    def _more_rows(self, block: Block, env: dict[str, Any]) -> list[Line]:
        head, widths = self._table_head(block.spec, env)
        header = "\n".join(block.spec.split("\n")[:2]) + "\n"
        table = parse_table(block.tokens or block_tokens(header + block.source, copied(env)), env, self.takes)
        if table is None:
            return self.plain(block.source, TEXT)
        table.header = head.header
        return table_lines(table, widths, self.width, self.glyphs, head=False)

    def _table_head(self, spec: str, env: dict[str, Any]) -> tuple[Table, list[int] | None]:
        found = self._columns.get(spec)
        if found is None:
            table = parse_table(block_tokens(spec, copied(env)), env, self.takes) or Table([], [], [])
            found = self._columns[spec] = (table, column_widths(table, self.width))
        return found


def _untabbed(runs: Sequence[Run]) -> list[Run]:
    column = 0
    found: list[Run] = []
    for text, ink in runs:
        pieces: list[str] = []
        for index, part in enumerate(text.split("\t")):
            if index:
                pieces.append(" " * (4 - column % 4))
                column += len(pieces[-1])
            pieces.append(part)
            column += len(part)
        found.append(("".join(pieces), ink))
    return found


def parse_table(tokens: Sequence[Token], env: dict[str, Any], takes: Takes = EVERYTHING) -> Table | None:
    """The first table among the tokens."""
    table = Table([], [], [])
    row: list[list[Run]] = table.header
    seen = False
    for token in tokens:
        if token.type == "table_open":
            seen = True
        elif token.type == "tr_open" and table.header:
            row = []
            table.rows.append(row)
        elif token.type == "th_open":
            table.align.append(str(token.attrGet("style") or "").rpartition(":")[2])
        elif token.type == "inline" and seen:
            runs = inline_runs(token.content, TEXT, env, takes)
            row.append([run for rows in runs for run in rows])
        elif token.type == "table_close":
            break
    return table if seen else None


class _Page:
    """One block being laid out."""

    def __init__(self, setter: Typesetter, block: Block, env: dict[str, Any]) -> None:
        self.setter = setter
        self.glyphs = setter.glyphs
        self.env = env
        self.lines: list[Line] = []
        self.leads: list[_Lead] = []
        self.lists: list[int] = []
        self.source = block.source.split("\n")
        self.number = block.number
        self.last_row = 0
        tokens = block.tokens or block_tokens(block.source, copied(env))
        if any(token.level >= NESTING - 2 for token in tokens):
            self.lines = setter.plain(block.source, TEXT)
            return
        self.blocks(tokens, TEXT)

    @property
    def room(self) -> int:
        return max(1, self.setter.width - sum(cell_len(lead.rest[0]) for lead in self.leads))

    def blocks(self, tokens: Sequence[Token], ink: Ink) -> None:
        """Lay out sibling blocks."""
        index = 0
        while index < len(tokens):
            token = tokens[index]
            end = index
            if token.nesting == 1:
                while not (tokens[end].nesting == -1 and tokens[end].level == token.level):
                    end += 1
            self.gap(token)
            self.block(token, tokens[index + 1 : end], ink)
            index = end + 1

    def gap(self, token: Token) -> None:
        """A blank row where the source has one, and around everything at the top."""
        if not self.lines or token.map is None or not token.map[0]:
            return
        if any(not lead.used for lead in self.leads):
            if not self.source[token.map[0] - 1].strip() and token.type == "list_item_open":
                self.blank()
            return
        if not self.leads or not self.source[token.map[0] - 1].strip(" >\t"):
            self.blank()

    def blank(self) -> None:
        """One empty row inside the current quotes."""
        self.row((), blank=True)

    def block(self, token: Token, inner: Sequence[Token], ink: Ink) -> None:
        """Lay out one block, given the tokens between its own two."""
        match token.type:
            case "paragraph_open":
                self.paragraph(inner[0].content, ink)
            case "heading_open":
                level = int(token.tag[1])
                self.text(inner[0].content, Ink("heading", _HEADINGS.get(level, BOLD | ITALIC)), "#" * level + " ")
            case "bullet_list_open" | "ordered_list_open":
                self.list(token, inner, ink)
            case "blockquote_open":
                bar = (self.glyphs.quote + " ", Ink("quote"))
                self.within(_Lead(bar, bar, "> ", "> "), inner, Ink("quote", ink.marks))
            case "fence" | "code_block":
                self.code(token.info.split()[0] if token.info.split() else "", token.content)
            case "hr":
                self.row(((self.glyphs.rule * self.room, Ink("rule")),))
            case "table_open":
                self.table([token, *inner])
            case "math_block":
                self.math(token, ink)
            case _:
                self.text(token.content, ink)

    def within(self, lead: _Lead, inner: Sequence[Token], ink: Ink) -> None:
        """Lay out what stands beside a mark."""
        if self.room - cell_len(lead.rest[0]) < NARROW // 2:
            lead.first = (lead.first[0].strip()[:2], lead.first[1])
            lead.rest = ("", lead.rest[1])
            if self.room <= cell_len(lead.first[0]):
                lead.first = ("", lead.first[1])
        self.leads.append(lead)
        if inner:
            self.blocks(inner, ink)
        if not lead.used:
            self.row(())
        self.leads.pop()

    def list(self, token: Token, inner: Sequence[Token], ink: Ink) -> None:
        """Lay out the items of a list."""
        ordered = token.type == "ordered_list_open"
        start = token.attrGet("start")
        number = int(start) if start is not None else 1
        if ordered and not self.leads:
            number = self.number
        self.lists.append(number)
        index = 0
        while index < len(inner):
            end = index
            while not (inner[end].type == "list_item_close" and inner[end].level == inner[index].level):
                end += 1
            self.gap(inner[index])
            self.item(inner[index + 1 : end], f"{number}{token.markup}" if ordered else "", ink)
            number += 1
            index = end + 1
        self.lists.pop()

    def item(self, inner: Sequence[Token], number: str, ink: Ink) -> None:
        """Lay out one item."""
        bullets = self.glyphs.bullets
        mark = number or bullets[(len(self.lists) - 1) % len(bullets)]
        copy = number or "-"
        if len(inner) > 1 and inner[0].type == "paragraph_open" and (task := _TASK.match(inner[1].content)):
            mark = self.glyphs.undone if task[1] == " " else self.glyphs.done
            copy = f"- {task[0].strip()}"
            inner = [inner[0], inner[1].copy(content=inner[1].content[len(task[0]) :]), *inner[2:]]
        pad = " " * (cell_len(mark) + 1)
        lead = _Lead((mark + " ", Ink("bullet")), (pad, ink), copy + " ", " " * (len(copy) + 1))
        self.within(lead, inner, ink)

    def paragraph(self, content: str, ink: Ink) -> None:
        self.text(content, ink)

    def math(self, token: Token, ink: Ink) -> None:
        """A formula by itself; as it was written while it is, and where the terminal cannot show another."""
        from .math import display

        shown = self.setter.takes.unicode and token.meta["closed"]
        indent = "  " if shown and self.room > NARROW else ""
        for text in display(token.content) if shown else token.meta["source"].rstrip("\n").split("\n"):
            for runs, joiner in wrap(
                [(indent + text.replace("\t", "    "), Ink("math", ink.marks))], self.room, self.room
            ):
                self.row(tuple(runs), joiner=joiner)

    def text(self, content: str, ink: Ink, copy: str = "") -> None:
        """Wrap one piece of inline Markdown."""
        for index, runs in enumerate(inline_runs(content, ink, self.env, self.setter.takes)):
            first_room = self.first_room
            for row, (piece, joiner) in enumerate(wrap(runs, first_room, self.room)):
                self.row(tuple(piece), joiner=joiner, copy=copy if index == row == 0 else "")

    @property
    def first_room(self) -> int:
        cells = sum(cell_len((lead.rest if lead.used else lead.first)[0]) for lead in self.leads)
        return max(1, self.setter.width - cells)

    def row(self, runs: tuple[Run, ...], *, joiner: str = "\n", copy: str = "", blank: bool = False) -> None:
        """Add a row behind the marks of the lists and quotes around it."""
        if not self.leads:
            self.lines.append(Line(runs, joiner=joiner, copy_lead=copy) if runs else BLANK)
            return
        marks: list[Run] = []
        copied = ""
        for lead in self.leads:
            fresh = not lead.used and not blank
            marks.append(lead.first if fresh else lead.rest)
            copied += lead.copy if fresh else lead.copy_rest
            lead.used = lead.used or fresh
        runs = (*[mark for mark in marks if mark[0]], *runs)
        size = sum(len(text) for text, _ in marks)
        soft = self.lines and self.lines[-1].joiner != "\n"
        self.lines.append(Line(runs, lead=size, copy_lead="" if soft else copied + copy, joiner=joiner))

    def rows(self, lines: Sequence[Line]) -> None:
        """Add finished rows behind the marks."""
        for line in lines:
            self.row(line.runs, joiner=line.joiner)
            if self.leads:
                added = self.lines[-1]
                added.lead += line.lead
                added.fill = line.fill
                added.source = line.source
            else:
                self.lines[-1] = line

    def code(self, language: str, content: str) -> None:
        width = self.room
        lines = [self.setter.code_label(language, Copy(content, "code"), width)]
        written = content.removesuffix("\n").split("\n")
        for number in range(len(written)):
            lines.extend(self.setter.coloured(language, written, number, width=width))
        if self.leads and not self.leads[-1].used and self.first_room != width:
            self.row(())
        self.rows(lines)

    def table(self, tokens: Sequence[Token]) -> None:
        table = parse_table([*tokens], self.env, self.setter.takes)
        if table is None or not table.header:
            return
        self.rows(table_lines(table, column_widths(table, self.room), self.room, self.glyphs, head=True))
