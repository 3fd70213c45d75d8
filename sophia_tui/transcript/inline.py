"""Inline Markdown to runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
_ADDRESS = re.compile(r"https?://[^\s<>\"'`|\\^{}]+")


@dataclass(frozen=True, slots=True)
class Takes:
    """What the terminal can show."""

    unicode: bool = True
    """Formulas are shown in Unicode, else as they were written."""
    links: bool = True
    """Text can carry a link, else its address stands after it."""


EVERYTHING = Takes()


def too_busy(content: str) -> bool:
    """Whether parsing this paragraph could hold up the screen."""
    if len(content) > LONG:
        return True
    return content.count("[") > 250 or sum(content.count(mark) for mark in "*_`~<&!\\$") > BUSY


def inline_runs(content: str, ink: Ink, env: dict[str, Any], takes: Takes = EVERYTHING) -> list[list[Run]]:
    """Runs of one paragraph; each inner list begins on a new row (hard breaks)."""
    if too_busy(content):
        return [[(line, ink)] for line in content.split("\n")]
    if content.isalnum():
        return [[(content, ink)]]
    if len(content) < 200 and not env.get("references"):
        return _short_runs(content, ink, takes)
    return _parse(content, ink, env, takes)


@lru_cache(2_000)
def _short_runs(content: str, ink: Ink, takes: Takes) -> list[list[Run]]:
    return _parse(content, ink, {}, takes)


def _parse(content: str, ink: Ink, env: dict[str, Any], takes: Takes) -> list[list[Run]]:
    tokens: list[Token] = []
    markdown = parser()
    markdown.inline.parse(content, markdown, env, tokens)
    return _runs(tokens, ink, takes)


def _runs(tokens: Sequence[Token], ink: Ink, takes: Takes) -> list[list[Run]]:
    rows: list[list[Run]] = [[]]
    marks = dict.fromkeys(_MARKS, 0)
    links: list[str] = []
    said = ""
    for token in tokens:
        name, _, edge = token.type.rpartition("_")
        if name in marks:
            marks[name] += 1 if edge == "open" else -1
        elif token.type == "link_open":
            links.append(str(token.attrGet("href") or ""))
            said = ""
        elif token.type == "link_close":
            address = links.pop()
            if not takes.links and address and address not in (said, f"mailto:{said}"):
                rows[-1].append((f" ({address})", Ink("link", 0, address, ink.action)))
        elif token.type == "hardbreak":
            rows.append([])
        else:
            bits = ink.marks
            for mark, bit in _MARKS.items():
                bits |= bit if marks[mark] else 0
            link = links[-1] if links else None
            plain = Ink("link" if link else ink.role, bits, link, ink.action)
            said += token.content
            if token.type == "text" and link is None and "://" in token.content:
                rows[-1].extend(_addresses(token.content.replace("\t", " "), plain))
            else:
                rows[-1].append(_piece(token, plain, takes))
    return rows


def _addresses(text: str, ink: Ink) -> Iterator[Run]:
    """Text whose bare web addresses are links."""
    at = 0
    for match in _ADDRESS.finditer(text):
        address = _trimmed(match[0])
        end = match.start() + len(address)
        if match.start() > at:
            yield text[at : match.start()], ink
        yield address, ink._replace(role="link", link=address)
        at = end
    if at < len(text):
        yield text[at:], ink


def _trimmed(address: str) -> str:
    """Without the punctuation of the sentence around it."""
    while address and (address[-1] in ".,;:!?*_" or (address[-1] in ")]" and _unopened(address))):
        address = address[:-1]
    return address


def _unopened(address: str) -> bool:
    closing = address[-1]
    return address.count(closing) > address.count("(" if closing == ")" else "[")


def _formula(token: Token, takes: Takes) -> str:
    from .math import formula

    return formula(token.content) if takes.unicode else str(token.meta["source"])


def _piece(token: Token, ink: Ink, takes: Takes) -> Run:
    if token.type == "softbreak":
        return " ", ink
    if token.type == "math_inline":
        return _formula(token, takes), ink._replace(role="math")
    if token.type == "code_inline":
        return token.content.replace("\t", " "), ink if ink.link else ink._replace(role="inline-code")
    if token.type == "image":
        return f"[{token.content or 'image'}]", ink._replace(role="link", link=str(token.attrGet("src") or "") or None)
    return token.content.replace("\t", " "), ink
