"""The names of OpenTelemetry's semantic conventions that we use, and nothing else of them. Strings only.

Those for generative AI are still in development: the names here are the current ones, `OLD` has what most dashboards
still know. Prompts and answers are never among what we tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# What is done
OPERATION: Final = "gen_ai.operation.name"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"

# Who does it
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
CONVERSATION: Final = "gen_ai.conversation.id"
AGENT_NAME: Final = "gen_ai.agent.name"
TOOL_NAME: Final = "gen_ai.tool.name"

# What it took
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name, no secret
"""Of the old metric of tokens only."""

# What is common to all
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_RESENDS: Final = "http.request.resend_count"

# Ours: no convention has them
ANSWER: Final = "sophia.answer.id"
REQUEST_ID: Final = "sophia.request.id"
STATUS: Final = "sophia.turn.status"
COST_USD: Final = "sophia.usage.cost_usd"
CACHED: Final = "sophia.cached"
ACCEPTED_S: Final = "sophia.response.head_s"
TOLD_BY: Final = "sophia.told_by"
"""Set on the spans of a server: it told of its own time, and we placed that within ours."""

# Metrics
DURATION: Final = "gen_ai.client.inference.duration"
FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
PER_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
COUNTED_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
COUNTED_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
COUNTED_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
COUNTED_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
OPERATION_INPUT: Final = "gen_ai.client.inference.operation.input_tokens"
OPERATION_OUTPUT: Final = "gen_ai.client.inference.operation.output_tokens"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
SECONDS_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))

OLD: Final[Mapping[str, str]] = MappingProxyType(
    {
        PROVIDER: "gen_ai.system",
        DURATION: "gen_ai.client.operation.duration",
        FIRST_CHUNK: "gen_ai.client.operation.time_to_first_chunk",
        PER_CHUNK: "gen_ai.client.operation.time_per_output_chunk",
        OPERATION_INPUT: "gen_ai.client.token.usage",
        OPERATION_OUTPUT: "gen_ai.client.token.usage",
    }
)
"""What a name was before; names that are not here are the same or were not there."""


def named(name: str, *, old: bool = False) -> str:
    """The name to tell: the current one, or what it was before."""
    return OLD.get(name, name) if old else name
