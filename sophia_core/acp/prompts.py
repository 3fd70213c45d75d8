"""What an editor asks, as one text: its words, the files it puts with them, and links. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from acp import RequestError

from sophia_core.sanitize import one_line

LONGEST: Final = 2_000_000


def text_of(blocks: Sequence[Any]) -> str:
    """The question. Raises RequestError for what nobody can be asked."""
    parts = [_part(each) for each in blocks]
    text = "\n\n".join(each for each in parts if each.strip())
    if not text.strip():
        raise RequestError(-32602, "There is nothing to ask.")
    if len(text) > LONGEST:
        raise RequestError(-32602, "That is too much to ask at once.")
    return text


def _part(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource_link":
            return f"[{one_line(block.name, 200)}]({one_line(block.uri, 1_000)})"
        case "resource" if (text := getattr(block.resource, "text", None)) is not None:
            fence = _fence(text)
            return f"{one_line(block.resource.uri, 1_000)}:\n{fence}\n{text}\n{fence}"
        case _:
            raise RequestError(-32602, "Only texts can be asked here; pictures and sound can be in the app.")


def _fence(text: str) -> str:
    """Marks that do not stand in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return fence
