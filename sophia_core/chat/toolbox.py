"""The tools of the chat: what the persona who answers may use, of the folder, of MCP servers and of whatever else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from sophia_core.chat.hands import Hands, HandsOf
from sophia_core.gate.ports import ApprovalRequest, Decision, Gate
from sophia_core.swarm.ports import ToolSource

if TYPE_CHECKING:
    from sophia_core.chat.manner import Manner
    from sophia_core.chat.turn import Exchange

HandsFor: TypeAlias = "Callable[[Manner, Exchange], HandsOf | None]"
"""Says how the tools of an answer are got, where there are any."""
NOBODY_HERE: Final = "Nobody is here who could allow it."


class OnlyLooking:
    """A gate where nobody can be asked: what only looks needs none, and everything else is refused."""

    async def pass_(self, request: ApprovalRequest) -> Decision:
        """No."""
        return Decision(False, by="nobody", note=NOBODY_HERE)


class Toolbox:
    """Makes the hands of each answer. Whoever answers without being able to call tools gets none."""

    def __init__(self, sources: Sequence[ToolSource], able: Callable[[], bool]) -> None:
        self.sources = list(sources)
        self.gate: Gate = OnlyLooking()
        """Who is asked before a tool changes anything or reaches out."""
        self._able = able

    def hands_for(self, manner: Manner, exchange: Exchange) -> HandsOf | None:
        """How the tools of this answer are got; None where the persona may use none or nobody could call them."""
        if not manner.tools or not self._able():
            return None

        async def hands() -> Hands:
            found = await asyncio.gather(*(each.tools(manner.tools) for each in self.sources))
            tools = [tool for tools in found for tool in tools]
            return Hands(tools, self.gate, exchange.session_id, exchange.answer_id)

        return hands
