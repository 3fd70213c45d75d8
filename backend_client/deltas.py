"""Reading the events of a chat stream: the part that knows what vLLM, llama.cpp, OpenRouter and OpenAI put where. Pure.

Text is gathered and handed out joined, since the path from an event to the eye is walked for every token.
"""

from __future__ import annotations

import json
from typing import Final, TypeGuard

from backend_client.times import times_of
from backend_client.types import (
    Chunk,
    FinishChunk,
    ReasoningChunk,
    ServerTimes,
    TextChunk,
    ToolCallChunk,
    UsageChunk,
)

_NAME_LIMIT: Final = 256
_MOST: Final = 1 << 53


class DeltaReader:
    """Collects the chunks of the events it reads until they are taken."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.times: ServerTimes | None = None
        self._usage: UsageChunk | None = None
        self._chunks: list[Chunk] = []
        self._text: list[str] = []
        self._thinking = False
        self._half = ""

    def take(self) -> list[Chunk]:
        """Return what has been read since the last call."""
        if self._text:
            self._flush()
        chunks, self._chunks = self._chunks, []
        return chunks

    def take_last(self) -> list[Chunk]:
        """Return what is left when nothing more can come."""
        self._release_half()
        return self.take()

    def read(self, event: dict[str, object]) -> None:
        """Read one event; whatever it holds that we do not know is passed over."""
        if self.model is None:
            model = event.get("model")
            if isinstance(model, str) and model:
                self.model = _shown(model)
        choices = event.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict) and choice.get("index") in (0, None):
                    self._choice(choice)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usage = _usage(usage)
        if "timings" in event or "metrics" in event:
            self.times = times_of(event) or self.times

    def finish(self) -> None:
        """Close the answer: the finish reason, then the usage."""
        self._release_half()
        if self._text:
            self._flush()
        self._chunks.append(FinishChunk(self.finish_reason or "stop"))
        if self._usage is not None:
            self._chunks.append(self._usage)

    def _choice(self, choice: dict[str, object]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._delta(delta)
        reason = choice.get("finish_reason")
        if reason and isinstance(reason, str) and self.finish_reason is None:
            self.finish_reason = _shown(reason)

    def _delta(self, delta: dict[str, object]) -> None:
        # vLLM and OpenRouter say `reasoning`, llama.cpp and DeepSeek `reasoning_content`; some send both, alike.
        thought = delta.get("reasoning") or delta.get("reasoning_content")
        if thought and isinstance(thought, str):
            self._say(thought, thinking=True)
        content = delta.get("content") or delta.get("refusal")
        if content and (text := content if isinstance(content, str) else _said(content)):
            self._say(text, thinking=False)
        calls = delta.get("tool_calls")
        if calls and isinstance(calls, list):
            self._call_tools(calls)

    def _say(self, text: str, *, thinking: bool) -> None:
        if thinking is not self._thinking:
            self._release_half()
            if self._text:
                self._flush()
            self._thinking = thinking
        self._text.append(text)

    def _flush(self) -> None:
        """Turn the gathered text into one chunk, keeping back half of a character whose other half may come next."""
        text = self._half + "".join(self._text)
        self._text.clear()
        self._half = ""
        if not text.isascii():
            if "\ud800" <= text[-1] <= "\udbff":
                self._half = text[-1]
                text = text[:-1]
            text = clean(text)
        if text:
            self._chunks.append(ReasoningChunk(text) if self._thinking else TextChunk(text))

    def _release_half(self) -> None:
        """Show what is left of a character that never became whole."""
        if self._text:
            self._flush()
        if self._half:
            self._half = ""
            self._text.append("\ufffd")

    def _call_tools(self, calls: list[object]) -> None:
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            index = call.get("index")
            chunk = ToolCallChunk(
                index if isinstance(index, int) and index >= 0 else position,
                _name(call.get("id")),
                _name(function.get("name")),
                _arguments(function.get("arguments")),
            )
            if chunk.id or chunk.name or chunk.arguments:
                self._release_half()
                if self._text:
                    self._flush()
                self._chunks.append(chunk)


def clean(text: str) -> str:
    """Return `text` as valid Unicode: halves of a character are joined, or replaced where one is missing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _shown(name: str) -> str:
    """Return a name as it may stand in a line of text: whole characters that can be seen, and not too many."""
    name = clean(name)[:_NAME_LIMIT]
    return name if name.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in name)


def _said(content: object) -> str:
    """Return the text of a content field that is a list of parts."""
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return ""


def _part(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""


def _name(value: object) -> str | None:
    return _shown(value) if isinstance(value, str) and value else None


def _arguments(value: object) -> str:
    if isinstance(value, str):
        return clean(value)
    return "" if value is None else json.dumps(value)


def _usage(usage: dict[str, object]) -> UsageChunk:
    cost = usage.get("cost")
    return UsageChunk(
        prompt_tokens=_count(usage.get("prompt_tokens")) or 0,
        completion_tokens=_count(usage.get("completion_tokens")) or 0,
        reasoning_tokens=_count(_inner(usage, "completion_tokens_details", "reasoning_tokens")),
        cached_tokens=_count(_inner(usage, "prompt_tokens_details", "cached_tokens")),
        cost_usd=float(cost) if _is_amount(cost) else None,
        cost_known="reported" if _is_amount(cost) else "",
    )


def _inner(usage: dict[str, object], group: str, name: str) -> object:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None


def _count(value: object) -> int | None:
    return int(value) if _is_amount(value) else None


def _is_amount(value: object) -> TypeGuard[int | float]:
    # The upper bound keeps a count inside what a database integer holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
