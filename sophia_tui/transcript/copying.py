"""What the reader takes away: code blocks and selected text, from the data and not from the cells."""

from __future__ import annotations

from dataclasses import dataclass

from textual.selection import Selection

from .flow import Flow
from .splitter import block_tokens


@dataclass(frozen=True, slots=True)
class Code:
    """A code block of an answer."""

    language: str
    source: str
    line: int
    """Line of the Markdown at which it begins."""


def code_blocks(text: str) -> list[Code]:
    """Every code block of a Markdown text, nested ones too, in order."""
    return [
        Code((token.info.split() or [""])[0], token.content, token.map[0] if token.map else 0)
        for token in block_tokens(text, {})
        if token.type in ("fence", "code_block")
    ]


def selected_text(flow: Flow, selection: Selection, stride: int) -> str:
    """The text between two offsets whose rows count as entry times `stride` + row in the entry."""
    if not flow.views:
        return ""
    first, start = divmod(selection.start.y, stride) if selection.start is not None else (0, 0)
    last, end = divmod(selection.end.y, stride) if selection.end is not None else (len(flow.views) - 1, stride)
    start_x = selection.start.x if selection.start is not None else 0
    end_x = selection.end.x if selection.end is not None else -1
    pieces: list[str] = []
    for number in range(max(0, first), min(last, len(flow.views) - 1) + 1):
        top = start if number == first else 0
        bottom = end if number == last else stride
        left = start_x if number == first else 0
        right = end_x if number == last else -1
        pieces.append(_entry_text(flow, number, (top, left), (bottom, right)).removesuffix("\n"))
    return "\n".join(pieces).strip("\n")


def _entry_text(flow: Flow, number: int, begin: tuple[int, int], end: tuple[int, int]) -> str:
    view = flow.views[number]
    view.prepare()
    pieces: list[str] = []
    row = 0
    for part in view.parts or []:
        if row > end[0]:
            break
        for line in view.rows(part):
            if begin[0] <= row <= end[0]:
                left = begin[1] if row == begin[0] else 0
                right = end[1] if row == end[0] and end[1] >= 0 else len(line.text)
                text = line.text
                if left <= line.lead and right >= len(text):
                    body = line.source if line.source is not None else text[line.lead :].rstrip(" ")
                    if line.joiner not in ("\n",):
                        body = text[line.lead :]
                    pieces.append(line.copy_lead + body)
                else:
                    pieces.append(text[max(left, line.lead) : max(right, line.lead)])
                pieces.append(line.joiner if row < end[0] else "")
            row += 1
    return "".join(pieces)
