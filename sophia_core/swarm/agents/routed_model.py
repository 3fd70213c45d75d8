"""pydantic-ai's model that asks through our client: so each question of an agent goes the one way of all questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic_ai.messages import (
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from backend_client.types import AnswerSchema, ChatMessage, Tool, ToolCall
from sophia_core.swarm.agents.asking import Said, Voice, Wish

if TYPE_CHECKING:
    from pydantic_ai.tools import ToolDefinition

PROFILE: Final = ModelProfile(supports_tools=True)


class RoutedModel(Model[Any]):
    """Asks whoever the routing says."""

    def __init__(self, voice: Voice, *, most_tokens: int, schema: Mapping[str, Any] | None = None) -> None:
        """`schema` is what the last answer has to be; asked for where no tools are: few servers do both at once."""
        super().__init__(profile=PROFILE)
        self._voice, self._most_tokens = voice, most_tokens
        self._schema = None if schema is None else AnswerSchema("answer", schema, strict=False)

    @property
    def model_name(self) -> str:
        return self._voice.model or "auto"

    @property
    def system(self) -> str:
        return "sophia"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Asks once. What was answered before a crash is answered again from the record."""
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        wish = Wish(
            tools=tuple(_tool(each) for each in [*parameters.function_tools, *parameters.output_tools]),
            schema=None if parameters.function_tools else self._schema,
            max_tokens=self._voice.manner.max_tokens or self._most_tokens,
            seed=self._voice.work.seed or None,
        )
        said = await self._voice.ask(_instructed(_messages(messages), parameters), wish)
        return _response(said)


def _tool(given: ToolDefinition) -> Tool:
    return Tool(given.name, given.description or "", given.parameters_json_schema)


def _instructed(messages: list[ChatMessage], parameters: ModelRequestParameters) -> list[ChatMessage]:
    told: Sequence[InstructionPart] = parameters.instruction_parts or ()
    text = "\n\n".join(each.content for each in told if each.content)
    if not text:
        return messages
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{text}\n\n{messages[0].content}"), *messages[1:]]
    return [ChatMessage("system", text), *messages]


def _messages(history: Sequence[ModelMessage]) -> list[ChatMessage]:
    return [each for message in history for each in _of(message)]


def _of(message: ModelMessage) -> Iterator[ChatMessage]:
    if isinstance(message, ModelResponse):
        calls = tuple(ToolCall(each.tool_call_id, each.tool_name, _arguments(each)) for each in message.tool_calls)
        yield ChatMessage("assistant", message.text or "", tool_calls=calls)
    elif isinstance(message, ModelRequest):
        for part in message.parts:
            match part:
                case SystemPromptPart(content=content):
                    yield ChatMessage("system", content)
                case UserPromptPart(content=content):
                    yield ChatMessage("user", content if isinstance(content, str) else "\n".join(map(str, content)))
                case ToolReturnPart():
                    yield ChatMessage("tool", part.model_response_str(), tool_call_id=part.tool_call_id)
                case RetryPromptPart(tool_name=str()):
                    yield ChatMessage("tool", part.model_response(), tool_call_id=part.tool_call_id)
                case RetryPromptPart():
                    yield ChatMessage("user", part.model_response())


def _arguments(call: ToolCallPart) -> str:
    return call.args if isinstance(call.args, str) else json.dumps(call.args or {})


def _response(said: Said) -> ModelResponse:
    parts: list[ModelResponsePart] = [TextPart(said.text)] if said.text else []
    parts += [
        ToolCallPart(each.name, each.arguments or "{}", tool_call_id=each.id or f"call-{number}")
        for number, each in enumerate(said.calls, 1)
    ]
    usage = RequestUsage(input_tokens=said.tokens_in, output_tokens=said.tokens_out)
    return ModelResponse(
        parts=parts or [TextPart("")], usage=usage, model_name=said.model or None, provider_name=said.provider or None
    )
