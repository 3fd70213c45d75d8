"""One entry laid out in parts. Parts far from the screen have only an estimated height."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Any

from .asides import aside_line, aside_rows, reason_rows, shown_text, trimmed_mark
from .code import CODE
from .entry import Aside, Entry
from .fence import Fence
from .figure import figure_rows, is_figure
from .ink import BLANK, BOLD, TINT, Copy, Ink, Line, Run, Toggle
from .parts import Part, Sheet, estimate, fence_of, is_long, is_open, pieces_of
from .splitter import Block, Splitter, split
from .wrap import fit, wrap

NOTHING: frozenset[str] = frozenset()
CODE_ROWS = 40
"""Lines of a fence in one part."""

_SPEAKERS = {"user": "You", "assistant": "SOPHIA", "notice": "Notice"}
_ENDINGS = {
    "interrupted": "interrupted",
    "cancelled": "stopped",
    "failed": "failed",
    "partial": "cut short",
    "queued": "waiting",
    "dead": "not delivered",
    "damaged": "cannot be read",
}


class EntryView:
    """The parts of one entry at the sheet's width. There may be ten thousand: what most never have is made late."""

    __slots__ = (
        "_blocks", "_closed", "_guess", "_text", "_thinking_since", "_tops", "_words", "entry", "env",
        "first", "open_reasoning", "parts", "sheet", "stream", "thought", "unfolded",
    )  # fmt: skip

    def __init__(self, entry: Entry, sheet: Sheet, *, first: bool) -> None:
        self.entry = entry
        self.sheet = sheet
        self.first = first
        self.parts: list[Part] | None = None
        self.open_reasoning = False
        self.unfolded: frozenset[str] = NOTHING
        """Asides and figures that are shown in full."""
        self.env: dict[str, Any] = {}
        self.stream: Splitter | None = None
        self.thought: float | None = None
        """Seconds between the first reasoning and the first text, when it was seen."""
        self._thinking_since: float | None = None
        self._words = len(entry.reasoning.split()) if entry.reasoning else 0
        self._blocks: list[Block] | None = None
        self._closed = 0
        self._tops: list[int] | None = None
        self._text: list[str] | None = None
        """What was fed so far, while it streams."""
        self._guess = self._estimate()

    # -- heights

    @property
    def height(self) -> int:
        """Rows of the entry; exact where it was laid out."""
        return self.tops[-1] if self.parts is not None else self._guess

    @property
    def tops(self) -> list[int]:
        """First row of each part, and the height."""
        if self._tops is None:
            self._tops = list(accumulate([part.height for part in self.parts or []], initial=0))
        return self._tops

    def _moved(self) -> None:
        """The height may be another one now."""
        self._tops = None
        self.sheet.moved[self] = None

    def follow_others(self) -> None:
        """It is not the first one any more."""
        self.first = False
        if self.parts is not None:
            self.parts[0] = self._exact(Part("head", 1), self._head())
        self._moved()

    def rest(self) -> None:
        """Keep only the height of what is far from the screen; it is cut and laid out again when it comes near."""
        if self.parts is not None and self.stream is None and not is_long(self.entry.text):
            self._guess = self.height
            self.parts = self._blocks = None
            self.env = {}
            self._tops = None

    def _estimate(self) -> int:
        text = self.entry.text
        return 3 + text.count("\n") + len(text) // self.sheet.room + (1 if self.entry.reasoning else 0)

    def rows(self, part: Part) -> list[Line]:
        """The part's rows, laid out now if need be."""
        if part.rows is None:
            part.rows = [*([BLANK] * part.gap), *self._lay_out(part)]
            if len(part.rows) != part.height:
                part.height = len(part.rows)
                self._moved()
        return part.rows

    def fit_to(self, sheet: Sheet) -> None:
        """Forget everything that depends on the width."""
        self.sheet = sheet
        self._moved()
        if self.parts is not None:
            self.parts = None
            self.prepare()
        self._guess = self._estimate()

    def restyle(self, language: str) -> None:
        """A lexer has come: lay the code of this language out again."""
        for part in self.parts or []:
            block = part.block
            if part.kind == "code" and block is not None and block.fence is not None:
                if block.fence.language.lower() == language.lower():
                    part.rows = None
            elif block is not None and part.rows is not None and language in block.source:
                part.rows = None

    # -- parts

    def prepare(self) -> None:
        """Cut the entry into parts. Nothing is laid out but the head and the foot."""
        if self.parts is not None:
            return
        self._closed = 0
        self.sheet.laid_out[self] = None
        parts = [self._exact(Part("head", 1), self._head())]
        parts.extend(self._reason_parts())
        self.parts = parts
        if self.entry.role == "assistant":
            if self.stream is not None:
                self._grow_parts()
                return
            if self._blocks is None and self.sheet.cut_later is not None and is_long(self.entry.text):
                parts.append(self._exact(Part("wait", 1), [Line(((self.sheet.glyphs.ellipsis, Ink("footer")),))]))
                self.sheet.cut_later(self)
            elif self._blocks is None:
                self._blocks, self.env = split(self.entry.text)
            for block in self._blocks or []:
                parts.extend(self._block_parts(block))
        elif self.entry.text:
            parts.append(Part("plain", 1, text=self.entry.text))
        parts.append(self._exact(Part("foot", 0), self._foot()))
        self._moved()

    def _exact(self, part: Part, rows: list[Line]) -> Part:
        part.rows, part.height = rows, len(rows)
        return part

    def _block_parts(self, block: Block) -> Iterator[Part]:
        fence = block.fence if block.kind == "fence" else None
        if fence is not None and is_figure(fence):
            yield Part("figure", estimate(block, self.sheet.room) + block.gap, block=block, gap=block.gap)
            return
        if fence is None:
            yield Part("block", estimate(block, self.sheet.room) + block.gap, block=block, gap=block.gap)
            return
        count = len(fence.lines) + (1 if fence.partial else 0)
        for start in range(0, max(1, count), CODE_ROWS):
            end = min(count, start + CODE_ROWS)
            gap = block.gap if start == 0 else 0
            height = end - start + gap + (1 if start == 0 else 0)
            yield Part("code", height, block=block, start=start, end=end, gap=gap)

    def _lay_out(self, part: Part) -> list[Line]:
        if part.kind == "code" and part.block is not None and part.block.fence is not None:
            return self._code_rows(part.block.fence, part.start, part.end)
        if part.kind == "figure" and part.block is not None and part.block.fence is not None:
            return figure_rows(part.block.fence, self.sheet, self.entry.id, self.unfolded)
        if part.kind == "aside":
            return aside_rows(part.text, self.sheet)
        if part.kind == "plain":
            return self.sheet.setter.plain(part.text, Ink(self.entry.role))
        if part.kind == "reason":
            return reason_rows(part.text, self.sheet)
        if part.block is not None:
            return self.sheet.setter.lines(part.block, self.env)
        return []

    def _code_rows(self, fence: Fence, start: int, end: int) -> list[Line]:
        setter = self.sheet.setter
        colours = fence.colours
        rows: list[Line] = []
        if start == 0:
            rows.append(setter.code_label(fence.language, Copy("", "code")))
        for index in range(start, min(end, len(fence.lines))):
            rows.extend(setter.coloured(fence.language, fence.lines, index, colours[index] if colours else None))
        if end > len(fence.lines) and fence.partial:
            rows.extend(setter.code_line(fence.partial, ((fence.partial, CODE),)))
        return rows

    def _head(self) -> list[Line]:
        entry = self.entry
        own = f"{TINT}{entry.tint}" if entry.tint else f"{entry.role}-name"
        role = "error" if entry.attention else own
        name = entry.label or _SPEAKERS[entry.role]
        branch = f"  {entry.branch[0]}/{entry.branch[1]}" if entry.branch and entry.branch[1] > 1 else ""
        name = fit(name, max(1, self.sheet.room - len(branch)), self.sheet.glyphs.ellipsis)
        runs: tuple[Run, ...] = ((name, Ink(role, BOLD)),)
        if branch and len(branch) < self.sheet.room:
            runs = (*runs, (branch, Ink("footer")))
        mark = trimmed_mark(entry.above, self.sheet) if entry.above else []
        return [*([] if self.first else [BLANK]), *mark, Line(runs, copy_lead="")]

    def _foot(self) -> list[Line]:
        ending = _ENDINGS.get(self.entry.status, "")
        rows: list[Line] = []
        glyph = self.sheet.glyphs.dot
        for text, role in ((ending, "error" if self.entry.attention else "notice"), (self.entry.footer, "footer")):
            if text:
                shown = text if role == "footer" else f"{glyph} {text}"
                for runs, joiner in wrap([(shown.replace("\n", " "), Ink(role))], self.sheet.room, self.sheet.room):
                    rows.append(Line(tuple(runs), joiner=joiner))
        return rows

    # -- reasoning

    def toggle_reasoning(self) -> None:
        """Open or close the reasoning."""
        self.open_reasoning = not self.open_reasoning
        if self.parts is not None:
            self.parts[1 : 1 + self._reason_count()] = self._reason_parts()
            self._moved()

    def _reason_count(self) -> int:
        return sum(1 for part in self.parts or [] if part.kind in ("reason", "thought", "aside"))

    def _reason_parts(self) -> list[Part]:
        reasoning = self.entry.reasoning
        parts: list[Part] = []
        if reasoning.strip():
            parts.append(self._exact(Part("thought", 1), [self._thought()]))
        if parts and self.open_reasoning:
            parts.extend(Part("reason", 1 + len(text) // self.sheet.room, text=text) for text in pieces_of(reasoning))
        return [*parts, *self._aside_parts()]

    def _aside_parts(self) -> Iterator[Part]:
        for number, aside in enumerate(self.entry.asides):
            key = f"aside {number}"
            opened = key in self.unfolded
            line = aside_line(aside, self.sheet, Toggle(self.entry.id, key), opened=opened)
            yield self._exact(Part("aside", 1), [line])
            if opened:
                yield from (
                    Part("aside", 1 + len(text) // self.sheet.room, text=text) for text in pieces_of(shown_text(aside))
                )

    def toggle(self, what: str) -> None:
        """Open or close an aside or a figure."""
        self.unfolded ^= {what}
        if self.parts is None:
            return
        if what.startswith("aside"):
            self._show_reasoning()
        for part in self.parts:
            if part.kind == "figure":
                part.rows = None
                self.rows(part)
        self._moved()

    def put_asides(self, asides: tuple[Aside, ...]) -> None:
        """They stand otherwise now: a call runs, or has its result."""
        self.entry = replace(self.entry, asides=asides)
        if self.parts is not None:
            self._show_reasoning()

    def _thought(self) -> Line:
        glyphs = self.sheet.glyphs
        words = self._words
        thinking = self.stream is not None and self.thought is None
        spent = f" for {self.thought:.0f} s" if self.thought is not None else ""
        said = ("Thinking" if thinking else f"Thought{spent}") + f" {glyphs.dot} {words} words"
        mark = glyphs.open if self.open_reasoning else glyphs.closed
        ink = Ink("reasoning", action=Toggle(self.entry.id))
        return Line(((fit(f"{mark} {said}", self.sheet.room, ""), ink),))

    # -- streaming

    def begin(self) -> None:
        """Text will arrive from now on."""
        self.stream, self._text = Splitter(), []
        self.parts = None
        if self.entry.text:
            self._text.append(self.entry.text)
            self.stream.feed(self.entry.text)
        self.prepare()

    def feed(self, text: str, reasoning: str) -> None:
        """Take in what arrived since the last frame."""
        if self.stream is None:
            return
        self.note("")
        if reasoning:
            self._think(reasoning)
        if text:
            if self._thinking_since is not None and self.thought is None:
                self.thought = time.monotonic() - self._thinking_since
                self._show_reasoning()
            assert self._text is not None
            self._text.append(text)
            self.stream.feed(text)
            self.prepare()
            self._grow_parts()

    def note(self, text: str) -> None:
        """Says something below an answer that has not begun; its first word takes the place of that."""
        if self.stream is not None and self.entry.footer != text:
            self.entry = replace(self.entry, footer=text)
            self.prepare()
            self._grow_parts()

    def _think(self, reasoning: str) -> None:
        if self._thinking_since is None:
            self._thinking_since = time.monotonic()
        before = self.entry.reasoning
        goes_on = bool(before) and not before[-1].isspace() and not reasoning[0].isspace()
        self._words += len(reasoning.split()) - (1 if goes_on else 0)
        self.entry = replace(self.entry, reasoning=before + reasoning)
        self._show_reasoning()

    def _show_reasoning(self) -> None:
        self.prepare()
        assert self.parts is not None
        count = self._reason_count()
        kept = {part.text: part for part in self.parts[1 : 1 + count] if part.kind == "reason"}
        fresh = self._reason_parts()
        self.parts[1 : 1 + count] = [kept.get(part.text, part) if part.kind == "reason" else part for part in fresh]
        self._moved()

    def _grow_parts(self) -> None:
        """Bring the parts up to the splitter: add closed blocks, lay the open text out again."""
        parts, stream = self.parts, self.stream
        assert parts is not None and stream is not None
        parts_before = 1 + self._reason_count()
        body = [part for part in parts[parts_before:] if part.kind != "note"]
        open_code: list[Part] = []
        while body and is_open(body[-1]):
            part = body.pop()
            if part.kind == "code":
                open_code.insert(0, part)
        for block in stream.blocks[self._closed :]:
            if block.fence is not None and open_code and fence_of(open_code[0]) is block.fence:
                if is_figure(block.fence):
                    open_code = list(self._block_parts(block))
                else:
                    self._close_code(open_code, block)
                body.extend(open_code)
                open_code = []
            else:
                body.extend(self._block_parts(block))
        self._closed = len(stream.blocks)
        self.env = stream.env
        if stream.fence is not None:
            body.extend(self._open_code(stream.fence, open_code))
        else:
            for block in stream.pending():
                part = Part("block", 0, block=block, gap=block.gap, end=-1)
                if block.kind == "fence" and block.fence is not None:
                    part = Part("code", 0, block=block, gap=block.gap, end=len(block.fence.lines) + 1, start=0)
                    block.source = ""
                self.rows(part)
                body.append(part)
        if self.entry.status == "streaming" and self.entry.footer:
            body.append(self._exact(Part("note", 0), self._foot()))
        parts[parts_before:] = body
        self._moved()

    def _open_code(self, fence: Fence, old: list[Part]) -> list[Part]:
        """Parts of the fence being written; only the last one changes, and only by its new lines."""
        if not old or fence_of(old[0]) is not fence:
            gap = 1 if self._closed else 0
            block = Block("fence", "", gap=gap, fence=fence)
            old = [Part("code", 1 + gap, block=block, gap=gap)]
        count = len(fence.lines)
        while True:
            last = old[-1]
            end = min(count, last.start + CODE_ROWS)
            if end < count and last.end == last.start:
                # A whole part arrived at once: it is laid out when it is seen.
                last.rows, last.end = None, end
                last.height = end - last.start + (1 + last.gap if last.start == 0 else 0)
            else:
                self._extend_code(fence, last, end, partial=end == count)
            if end == count:
                return old
            old.append(Part("code", 0, block=old[0].block, start=end, end=end, rows=[]))

    def _extend_code(self, fence: Fence, part: Part, end: int, *, partial: bool) -> None:
        setter = self.sheet.setter
        if part.rows is None:
            part.end, part.text = part.start, ""
            part.rows = [*([BLANK] * part.gap)]
            if part.start == 0:
                part.rows.append(setter.code_label(fence.language, Copy("", "code")))
            part.height = len(part.rows)
        rows = part.rows
        # `height` holds the rows of complete lines while the part is open; the partial line comes after them.
        del rows[part.height - part.text.count("\n") :]
        for index in range(part.end, end):
            rows.extend(setter.coloured(fence.language, fence.lines, index))
        part.end = end
        complete = len(rows)
        if partial and fence.partial:
            rows.extend(setter.code_line(fence.partial, ((fence.partial, CODE),)))
        part.text = "\n" * (len(rows) - complete)
        part.height = len(rows)

    def _close_code(self, parts: list[Part], block: Block) -> None:
        fence = block.fence
        assert fence is not None
        opened = self._open_code(fence, parts)
        for part in opened:
            part.block = block
            part.text = ""

    def finish(self, entry: Entry) -> None:
        """The text is complete: close the last block, show the footer. `take_blocks` comes after it."""
        stream = self.stream
        self.entry = entry
        if stream is None:
            self.refit()
            return
        stream.close()
        self.prepare()
        self._grow_parts()
        self._blocks, self.env = stream.blocks, stream.env
        self._end()

    def overtake(self, entry: Entry) -> None:
        """The text is complete but much of it was never drawn: keep what is drawn until `take_blocks`."""
        self.entry = entry
        self.prepare()
        self._blocks = []
        self._end()

    def _end(self) -> None:
        self.stream = self._text = None
        self._show_reasoning()
        assert self.parts is not None
        self.parts[0] = self._exact(Part("head", 1), self._head())
        self.parts.append(self._exact(Part("foot", 0), self._foot()))
        self._moved()

    def take_blocks(self, text: str, blocks: list[Block], env: dict[str, Any]) -> bool:
        """Take the blocks of the whole text where they differ from what is laid out; True when they do."""
        if self.stream is not None or self.entry.text != text or (self._blocks == blocks and not env):
            return False
        self.parts = None
        self._moved()
        self._blocks, self.env = blocks, env
        self.prepare()
        return True

    def refit(self) -> None:
        """Everything again from the entry."""
        self.parts = self._blocks = None
        self._moved()
        self.stream = self._text = None
        self._words = len(self.entry.reasoning.split())
        self._guess = self._estimate()

    def recolour(self, fences: set[int]) -> None:
        """Lay out again what shows one of these fences (by identity)."""
        for part in self.parts or []:
            if part.kind == "code" and part.rows is not None and id(fence_of(part)) in fences:
                part.rows = None
                self.rows(part)

    @property
    def current(self) -> Entry:
        """The entry with the text it has so far."""
        return self.entry if self.stream is None else replace(self.entry, text=self.text)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text or ()) if self.stream is not None else self.entry.text
