"""An agent with a free hand: it calls its tools one after another until it is done, and its last word is the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic_ai import Agent, ModelRetry
from pydantic_ai import Tool as AgentTool
from pydantic_ai.exceptions import AgentRunError, UsageLimitExceeded, UserError
from pydantic_ai.usage import UsageLimits

from sophia_core.mcp.names import wire_names
from sophia_core.swarm.agents.answers import BadAnswer, answer_in
from sophia_core.swarm.agents.asking import Voice
from sophia_core.swarm.agents.capability import Capability
from sophia_core.swarm.agents.routed_model import RoutedModel
from sophia_core.swarm.agents.toolbox import Toolbox, fenced
from sophia_core.swarm.plan import Budget
from sophia_core.swarm.ports import BudgetReached, StepFailed, Tool

MOST_TURNS: Final = 60
RETRIES: Final = 3
DELEGATE: Final = "delegate"
"""The name by which a step asks for agents under it."""
MOST_DELEGATED: Final = 8
ALONE: Final = (
    "You were given one task by another agent, who sees only your last message. Do it, and say what came of it."
)


async def run_free(voice: Voice, told: str, asked: str, toolbox: Toolbox, capability: Capability) -> Any:
    """Return what it made. Raises StepFailed."""
    schema = voice.work.step.answer
    tools = _agent_tools(toolbox)
    under = [_delegate(voice, told, toolbox, capability)] if DELEGATE in voice.work.step.tools else []
    agent = _agent(RoutedModel(voice, most_tokens=capability.tokens, schema=schema), told, [*tools, *under])
    answers: list[Any] = []

    @agent.output_validator
    def fits(text: str) -> str:
        if schema is not None:
            try:
                answers.append(answer_in(text, schema))
            except BadAnswer as error:
                raise ModelRetry(str(error)) from None
        return text

    text = await _run(agent, asked, voice)
    return answers[-1] if schema is not None else text


def _agent(model: RoutedModel, told: str, tools: Sequence[AgentTool[None]]) -> Agent[None, str]:
    return Agent(model, instructions=told, tools=tools, retries=RETRIES, output_type=str)


def _delegate(voice: Voice, told: str, toolbox: Toolbox, capability: Capability) -> AgentTool[None]:
    """An agent under this one: with its tools, its gate, its budget and its count of calls, and nobody under it."""
    given: list[str] = []

    async def delegate(task: str) -> str:
        """Have another agent do a part of the work, with a fresh mind and the same tools.

        Args:
            task: All that it has to know, for it sees nothing of this conversation.
        """
        given.append(task)
        if len(given) > MOST_DELEGATED or given.count(task) > 1:
            return "Not done: do that yourself."
        tools = _agent_tools(toolbox)
        agent = _agent(RoutedModel(voice, most_tokens=capability.tokens), f"{told}\n\n{ALONE}", tools)
        said = await _run(agent, str(task), voice)
        return fenced(said, "answer of an agent", toolbox.nonce)

    return AgentTool(delegate, takes_ctx=False, sequential=True)


async def _run(agent: Agent[None, str], asked: str, voice: Voice) -> str:
    try:
        # One after another: what was done is given again in the same order after a crash.
        with agent.parallel_tool_call_execution_mode("sequential"):
            return (await agent.run(asked, usage_limits=limits_of(voice.work.left))).output
    except StepFailed:
        raise
    except UsageLimitExceeded as error:
        raise BudgetReached(f"The budget is used up: {error}", again=False, spent=voice.spent) from error
    except (AgentRunError, UserError) as error:
        raise StepFailed(f"The model did not get there: {error}", spent=voice.spent) from error


def limits_of(left: Budget) -> UsageLimits:
    """Return the limits that pydantic-ai keeps; money is counted by us, who know what is paid."""
    turns = MOST_TURNS if left.requests is None else min(left.requests, MOST_TURNS)
    return UsageLimits(request_limit=turns, total_tokens_limit=left.tokens)


def _agent_tool(tool: Tool, said: str, toolbox: Toolbox) -> AgentTool[None]:
    name = tool.spec.name

    async def call(**arguments: Any) -> str:
        return await toolbox.call(name, arguments)

    told = tool.spec.description
    return AgentTool.from_schema(call, said, told, dict(tool.spec.parameters), sequential=True)


def _agent_tools(toolbox: Toolbox) -> list[AgentTool[None]]:
    """The tools under the names that every server takes, no two the same; the one that delegates keeps its own."""
    named = wire_names((*(each.spec.name for each in toolbox.tools), DELEGATE))
    return [_agent_tool(each, named[each.spec.name], toolbox) for each in toolbox.tools]
