"""What servers say, made into text for a model and for a screen: cut, sanitised, and never taken for more than text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sophia_core.sanitize import one_line, sanitize

LONGEST_DESCRIPTION: Final = 1_500
LONGEST_SCHEMA: Final = 32_000
"""Characters of a tool's parameters; a tool with more is left out."""
LONGEST_RESULT: Final = 60_000
DEEPEST: Final = 24
MOST_TOOLS: Final = 200


def digest_of(tool: Mapping[str, Any]) -> str:
    """What a person agreed to when they let this tool be used: its very words, with what it takes."""
    said = {each: tool.get(each) for each in ("name", "title", "description", "inputSchema")}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def description_of(tool: Mapping[str, Any]) -> str:
    """What a model is told that it does."""
    text = sanitize(str(tool.get("description") or tool.get("title") or ""))
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 1] + "…"


def parameters_of(tool: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of what it takes, its words made safe; None for one that cannot be passed on."""
    given = tool.get("inputSchema")
    if not isinstance(given, dict) or len(json.dumps(given)) > LONGEST_SCHEMA or _deep(given) > DEEPEST:
        return None
    safe = _safe(given)
    return {**safe, "type": "object", "properties": safe.get("properties") or {}}


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return sanitize(value)
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if isinstance(value, dict):
        # The names of arguments are passed back as they are: those that would not show make a tool unfit.
        return {str(key): _safe(each) for key, each in value.items() if sanitize(str(key)) == str(key)}
    return value


def _deep(value: Any) -> int:
    within = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_deep(each) for each in within), default=0)


def text_of(result: Mapping[str, Any]) -> str:
    """The whole of what a call, a resource or a prompt gave, as text."""
    blocks = result.get("content") or result.get("contents") or ()
    said = [_block(each) for each in blocks if isinstance(each, Mapping)]
    if not any(said) and result.get("structuredContent") is not None:
        said = [json.dumps(result["structuredContent"], ensure_ascii=False, indent=2)]
    return cut(sanitize("\n\n".join(filter(None, said))))


def prompt_of(result: Mapping[str, Any]) -> str:
    """What a filled-in prompt says."""
    messages: Sequence[Any] = result.get("messages") or ()
    said = [_block(each.get("content", {})) for each in messages if isinstance(each, Mapping)]
    return cut(sanitize("\n\n".join(filter(None, said))))


def cut(text: str, limit: int = LONGEST_RESULT) -> str:
    """The beginning and the end of a text that is too long, and how much is missing between them."""
    if len(text) <= limit:
        return text
    end = limit // 4
    head = limit - end - 60
    return f"{text[:head]}\n[… {len(text) - head - end} characters left out …]\n{text[-end:]}"


def _block(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio" as kind:
            return f"[{kind}, {one_line(str(block.get('mimeType', '')), 60)}, not shown]"
        case "resource_link":
            return f"[link: {one_line(str(block.get('uri', '')), 200)}]"
        case "resource":
            return _block(block.get("resource") or {})
        case _:
            return str(block["text"]) if "text" in block else "[something binary, not shown]" if "blob" in block else ""
