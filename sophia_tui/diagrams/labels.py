"""The words in a diagram."""

from __future__ import annotations

import re

from rich.cells import cell_len

_BREAK = re.compile(r"<br\s*/?>|\\n")
_MARKUP = re.compile(r"</?(?:b|i|u|em|strong|sub|sup|small|span|font|code)\b[^>]*>|\*\*")
_ENTITIES = {"#quot;": '"', "#35;": "#", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}


def label(text: str) -> str:
    """A label without Mermaid's marks; rows are told apart by newlines."""
    text = _MARKUP.sub("", _BREAK.sub("\n", text.strip().strip('"`').strip()))
    for entity, sign in _ENTITIES.items():
        text = text.replace(entity, sign)
    return text


def wrapped(text: str, width: int) -> list[str]:
    """Rows of at most `width` cells, and of one where there is no room at all; a longer word is cut."""
    width = max(1, width)
    rows: list[str] = []
    for line in text.split("\n"):
        row = ""
        for word in line.split():
            while cell_len(word) > width:
                if row:
                    rows.append(row)
                    row = ""
                end = width
                while cell_len(word[:end]) > width:
                    end -= 1
                end = max(1, end)
                rows.append(word[:end])
                word = word[end:]
            if row and cell_len(row) + 1 + cell_len(word) > width:
                rows.append(row)
                row = word
            else:
                row = f"{row} {word}" if row else word
        rows.append(row)
    return rows or [""]
