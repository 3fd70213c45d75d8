"""Inline Markdown to runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .ink import BOLD, ITALIC, STRIKE, Ink, Run
from .splitter import parser

if TYPE_CHECKING:
    from markdown_it.token import Token

BUSY = 800
"""Markup characters in one paragraph beyond which it is shown as it was written."""
LONG = 8_000
"""Characters in one paragraph beyond which it is shown as it was written."""

_MARKS = {"strong": BOLD, "em": ITALIC, "s": STRIKE}


def too_busy(content: str) -> bool:
    """Whether parsing this paragraph could hold up the screen."""
    if len(content) > LONG:
        return True
    return content.count("[") > 250 or sum(content.count(mark) for mark in "*_`~<&!\\") > BUSY


def inline_runs(content: str, ink: Ink, env: dict[str, Any]) -> list[list[Run]]:
    """Runs of one paragraph; each inner list begins on a new row (hard breaks)."""
    if too_busy(content):
        return [[(line, ink)] for line in content.split("\n")]
    if content.isalnum():
        return [[(content, ink)]]
    if len(content) < 200 and not env.get("references"):
        return _short_runs(content, ink)
    return _parse(content, ink, env)


@lru_cache(2_000)
def _short_runs(content: str, ink: Ink) -> list[list[Run]]:
    return _parse(content, ink, {})


def _parse(content: str, ink: Ink, env: dict[str, Any]) -> list[list[Run]]:
    tokens: list[Token] = []
    markdown = parser()
    markdown.inline.parse(content, markdown, env, tokens)
    return _runs(tokens, ink)


def _runs(tokens: Sequence[Token], ink: Ink) -> list[list[Run]]:
    rows: list[list[Run]] = [[]]
    marks = dict.fromkeys(_MARKS, 0)
    links: list[str] = []
    for token in tokens:
        name, _, edge = token.type.rpartition("_")
        if name in marks:
            marks[name] += 1 if edge == "open" else -1
        elif token.type == "link_open":
            links.append(str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            links.pop()
        elif token.type == "hardbreak":
            rows.append([])
        else:
            bits = ink.marks
            for mark, bit in _MARKS.items():
                bits |= bit if marks[mark] else 0
            link = links[-1] if links else None
            rows[-1].append(_piece(token, Ink("link" if link else ink.role, bits, link, ink.action)))
    return rows


def _piece(token: Token, ink: Ink) -> Run:
    if token.type == "softbreak":
        return " ", ink
    if token.type == "code_inline":
        return token.content.replace("\t", " "), ink if ink.link else ink._replace(role="inline-code")
    if token.type == "image":
        return f"[{token.content or 'image'}]", ink._replace(role="link", link=str(token.attrGet("src") or "") or None)
    return token.content.replace("\t", " "), ink
