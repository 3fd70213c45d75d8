"""The parts of a chat's body as JSON: messages, pictures, tools and schemas.

What a server would answer with a riddle, or with a failure that looks like its own, is refused here in plain words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from backend_client import dialects
from backend_client.errors import InvalidRequest
from backend_client.types import AnswerSchema, ChatMessage, ChatRequest, Image, Kind, Tool, ToolCall

IMAGE_MAX: Final = 20 << 20
"""Bytes of one picture."""
IMAGES_MAX: Final = 32 << 20
"""Bytes of all pictures of a request; in the body they take a third more."""
TOOLS_MAX: Final = 128
"""Tools of one request."""

_MEDIA_TYPE: Final = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,63}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME_HINT: Final = "Use letters, digits, '_' and '-', at most 64 of them."


def messages(request: ChatRequest, kind: Kind) -> list[dict[str, object]]:
    """Return the messages, with the question for the rest of an answer where this server needs one."""
    _check_images(request.messages)
    listed = [_message(message) for message in request.messages]
    if request.continuing:
        _check_continuing(request)
        if dialects.continuation(kind) == "turn":
            listed.append({"role": "user", "content": dialects.GO_ON})
    return listed


def tools(offered: Iterable[Tool]) -> list[dict[str, object]]:
    """Return the functions that the model may ask for."""
    listed = list(offered)
    names = [tool.name for tool in listed]
    if len(listed) > TOOLS_MAX:
        raise InvalidRequest(f"{len(listed)} tools are too many", hint=f"Offer at most {TOOLS_MAX}.")
    if len(set(names)) < len(names):
        raise InvalidRequest("two tools have the same name", hint="Give each tool a name of its own.")
    return [_tool(tool) for tool in listed]


def response_format(wanted: AnswerSchema) -> dict[str, object]:
    """Return the JSON that the answer has to be."""
    name = _named(wanted.name, "schema")
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": dict(wanted.schema), "strict": wanted.strict},
    }


def _message(message: ChatMessage) -> dict[str, object]:
    body: dict[str, object] = {"role": message.role, "content": _content(message)}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        if message.role != "assistant":
            raise InvalidRequest(f"a message of {message.role!r} cannot call tools", hint="Only an answer can.")
        body["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    return body


def _content(message: ChatMessage) -> object:
    if message.images:
        asked = [{"type": "text", "text": message.content}] if message.content else []
        return [*asked, *map(_image, message.images)]
    # Some servers refuse an empty text beside tool calls; none refuses a missing one.
    return None if message.tool_calls and not message.content else message.content


def _image(image: Image) -> dict[str, object]:
    from base64 import b64encode

    return {
        "type": "image_url",
        "image_url": {"url": f"data:{image.media_type};base64,{b64encode(image.data).decode('ascii')}"},
    }


def _check_images(conversation: Iterable[ChatMessage]) -> None:
    total = 0
    for message in conversation:
        if message.images and message.role != "user":
            raise InvalidRequest(f"a message of {message.role!r} cannot hold pictures", hint="Only a question can.")
        for image in message.images:
            _check_image(image)
            total += len(image.data)
    if total > IMAGES_MAX:
        raise InvalidRequest(
            f"the pictures of this conversation are {total >> 20} MiB in all, which is too much",
            error_type="payload_too_large",
            hint=f"At most {IMAGES_MAX >> 20} MiB can go along: make them smaller, or start a new session.",
        )


def _check_image(image: Image) -> None:
    if not _MEDIA_TYPE.fullmatch(image.media_type):
        raise InvalidRequest(
            f"{image.media_type[:80]!r} is not the type of a picture", hint="Use image/png, image/jpeg or image/webp."
        )
    if not image.data:
        raise InvalidRequest("a picture is empty", hint="Attach it again.")
    if len(image.data) > IMAGE_MAX:
        raise InvalidRequest(
            f"a picture is {len(image.data) >> 20} MiB large",
            error_type="payload_too_large",
            hint=f"At most {IMAGE_MAX >> 20} MiB can go along: make it smaller.",
        )


def _tool(tool: Tool) -> dict[str, object]:
    return {
        "type": "function",
        "function": {
            "name": _named(tool.name, "tool"),
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def _tool_call(call: ToolCall) -> dict[str, object]:
    arguments = call.arguments.strip() or "{}"
    if not _is_object(arguments):
        # vLLM and llama.cpp read them again, and the latter then says that it has failed itself.
        raise InvalidRequest(
            f"the arguments of an earlier call of the tool {call.name[:80]!r} are not a JSON object",
            hint="Ask again from the question before that call.",
        )
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _check_continuing(request: ChatRequest) -> None:
    last = request.messages[-1] if request.messages else None
    if request.tools or request.answer_schema is not None or (last is not None and last.tool_calls):
        raise InvalidRequest("an answer of tool calls or JSON cannot be continued", hint="Ask again instead.")
    if last is None or last.role != "assistant" or not last.content.strip():
        raise InvalidRequest("there is no answer that could be continued", hint="Ask again instead.")


def _named(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{name[:80]!r} cannot be the name of a {what}", hint=_NAME_HINT)
    return name
