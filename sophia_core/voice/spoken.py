"""An answer in Markdown, as a person would read it aloud: sentence by sentence, while it still streams.

The text is taken letter by letter, so that the sentences are the same however the stream is cut, and each comes as
soon as the first letter after it is there. What a line is (a heading, a row of a table, a fence …) is decided as soon
as its beginning allows no other reading; prose is not held back until its line is over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sophia_core.voice.spoken_blocks import Block, Fence, Formula, Hidden, Table, is_row, opens_hidden
from sophia_core.voice.spoken_ends import MAY_END, Pace, ends_before
from sophia_core.voice.spoken_words import said

MOST_OF_A_LINE: Final = 4_000
"""More of a line that has to be seen as a whole is not said."""
Kind = Literal["text", "heading", "item", "code", "table", "formula"]

# The beginnings of a line that may still become something else than prose.
_UNDECIDED: Final = re.compile(
    r"""[ \t]*(?:>[ \t]?)*[ \t]*(?:
        | \d{1,9} | \d{1,9}[.)]                                       # an item, or a number
        | [-+*_=][-+*_= \t]*                                          # an item, a rule, an underline, emphasis
        | [-:|][-:| \t]*                                              # what is under the head of a table
        | (?:[-+*]|\d{1,9}[.)])[ \t]+(?:\[[ xX]?\]?|`{1,2})?         # a task, or code in an item
        | `{1,2} | ~{1,2} | \$ | \\ | < | </?[A-Za-z!][^>\n]{0,60}    # a fence, a formula, a tag
        | \[\^?[^\]\n]{0,80}\]?                                       # a note or the address of a link
        | \#{1,6}
    )""",
    re.VERBOSE,
)
_QUOTES: Final = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_HEADING: Final = re.compile(r"#{1,6}(?:[ \t]|$)")
_ITEM: Final = re.compile(r"^(?:[-+*]|(\d{1,9})[.)])[ \t]+(?:\[([ xX])\][ \t]+)?")
_RULE: Final = re.compile(r"(?:[-=]{2,}|(?:[-*_][ \t]*){3,}|=+)[ \t]*")
_FENCE: Final = re.compile(r"`{3,}|~{3,}")
_FORMULA: Final = re.compile(r"\$\$|\\\[|\\begin\{")
_ADDRESS: Final = re.compile(r"\[[^\]\n]{1,80}\]:")
_ALERT: Final = re.compile(r"\[!(\w{1,20})\][ \t]*")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something to be said in one breath."""

    text: str
    """Words and punctuation only; never empty."""
    kind: Kind = "text"


class Spoken:
    """Turns a stream of Markdown into sentences."""

    def __init__(self) -> None:
        self._line = ""
        """The line so far, as long as it is not known to be prose."""
        self._prose = False
        self._held = False
        """The line is seen as a whole, whatever follows."""
        self._raw = ""
        """Prose that was not said yet, as it was written."""
        self._kind: Kind = "text"
        self._lead = ""
        """What is said before the next sentence: the number of an item."""
        self._block: Block | None = None
        self._pace = Pace()
        self._out: list[Sentence] = []

    def feed(self, text: str) -> list[Sentence]:
        """Return the sentences that are certain now."""
        for char in text.replace("\r", ""):
            self._take(char)
        return self._taken()

    def finish(self) -> list[Sentence]:
        """Return what is left: the text is over."""
        if not self._prose and self._line:
            self._whole_line()
        self._end_block()
        self._end_paragraph()
        return self._taken()

    def _taken(self) -> list[Sentence]:
        out, self._out = self._out, []
        return out

    def _take(self, char: str) -> None:
        if self._prose:
            if char == "\n":
                self._prose = False
            self._letter(" " if char in "\n\t" else char)
        elif isinstance(self._block, Hidden):
            if self._block.ended_by(char):
                self._block = None
        elif char == "\n":
            self._whole_line()
        elif len(self._line) < MOST_OF_A_LINE:
            self._line += char
            if self._block is None and not self._held:
                self._look()

    # Lines

    def _look(self) -> None:
        """See whether the line is known by now."""
        if self._line[-1] in ">-" and opens_hidden(mark := self._line.lstrip()):
            self._line, self._held = "", False
            self._open(Hidden(mark))
        elif self._is_prose():
            self._begin_prose(self._line)

    def _is_prose(self) -> bool:
        """Whether the beginning of the line leaves no doubt that it is prose, or an item with prose in it."""
        if _UNDECIDED.fullmatch(self._line):
            return False
        line = _QUOTES.sub("", self._line, count=1).lstrip()
        self._held = line.startswith(("|", "<")) or any(each.match(line) for each in (_HEADING, _FORMULA, _ADDRESS))
        self._held = self._held or bool(_FENCE.match(_ITEM.sub("", line, count=1)))
        return bool(line) and not (self._held or _RULE.fullmatch(line) or _ITEM.fullmatch(line))

    def _whole_line(self) -> None:
        line, self._line, self._held = self._line, "", False
        if self._block is not None:
            rest = self._block.take(line)
            if rest is None:
                return
            self._end_block()
            line = rest
        plain = _QUOTES.sub("", line, count=1).strip()
        if not plain:
            self._end_paragraph()
        elif found := _FENCE.match(code := _ITEM.sub("", plain, count=1)):
            self._open(Fence(found.group(), code[found.end() :], quoted=bool(_QUOTES.match(line))))
        elif found := _FORMULA.match(plain):
            self._open(Formula(found.group()))
            self._line = plain[found.end() :]
            self._whole_line()
        elif is_row(plain):
            self._open(Table(plain))
        elif _HEADING.match(plain):
            self._end_paragraph()
            self._kind = "heading"
            self._say_line(plain.lstrip("#").rstrip("# \t"))
        elif _RULE.fullmatch(plain) or _ADDRESS.match(plain):
            self._end_paragraph()
        else:
            self._begin_prose(line)
            self._prose = False
            self._letter(" ")

    def _say_line(self, text: str) -> None:
        for char in text:
            self._letter(char)
        self._end_paragraph()

    def _begin_prose(self, line: str) -> None:
        """This line is prose: it goes on with the paragraph, or begins an item."""
        self._line, self._prose = "", True
        text = _QUOTES.sub("", line, count=1).lstrip()
        if item := _ITEM.match(text):
            self._end_paragraph()
            self._kind = "item"
            number, mark = item.groups()
            done = {"x": "Done: ", " ": "To do: "}.get(mark.lower(), "") if mark else ""
            self._lead = (f"{number}: " if number else "") + done
            text = text[item.end() :]
        elif alert := _ALERT.match(text):
            self._lead = f"{alert[1].capitalize()}: "
            text = text[alert.end() :]
        for char in text:
            self._letter(" " if char == "\t" else char)

    # Blocks

    def _open(self, block: Block) -> None:
        self._end_paragraph()
        self._block = block

    def _end_block(self) -> None:
        block, self._block = self._block, None
        if block:
            for text in block.said():
                self._say(text, block.kind)

    # Sentences

    def _letter(self, char: str) -> None:
        before = self._raw
        if char == " " and before[-1:] in ("", " "):
            return
        if char != " " and before and before[-1] in MAY_END and ends_before(before, char):
            self._cut(len(before))
        self._raw += char
        if at := self._pace.too_long(self._raw):
            self._cut(at)

    def _cut(self, at: int) -> None:
        """Say what stands before this place."""
        self._say(self._raw[:at], self._kind)
        self._raw = self._raw[at:].lstrip(" ")

    def _end_paragraph(self) -> None:
        raw, self._raw = self._raw, ""
        self._say(raw, self._kind)
        self._kind, self._lead = "text", ""

    def _say(self, raw: str, kind: Kind) -> None:
        if text := said(raw):
            self._out.append(Sentence(self._lead + text, kind))
            self._lead = ""
            self._pace.begun = True


def sentences(text: str) -> list[Sentence]:
    """Return all sentences of a text."""
    spoken = Spoken()
    return [*spoken.feed(text), *spoken.finish()]
