"""A step of a small model that writes no file: it is shown what the goal names, and answers once, in a fixed shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backend_client.types import AnswerSchema, ChatMessage
from sophia_core.swarm.agents.answers import BadAnswer, answer_in
from sophia_core.swarm.agents.asking import Voice, Wish
from sophia_core.swarm.agents.capability import Capability
from sophia_core.swarm.ports import StepFailed

TRIES: Final = 4
SHORTEST: Final = 24
ROOM: Final = 2
"""So much longer than the longest answer that fits: a grammar lets a model put in white space."""


async def fill_slots(
    voice: Voice, told: str, asked: str, schema: Mapping[str, Any] | None, capability: Capability
) -> Any:
    """Return the answer, as text or as what the schema says; another seed for each try. Raises StepFailed."""
    messages = (ChatMessage("system", told), ChatMessage("user", asked))
    wanted = None if schema is None else AnswerSchema("answer", schema)
    wrong = ""
    for number in range(TRIES):
        at = (voice.work.attempt - 1) * TRIES + number + voice.work.seed
        warmth = voice.manner.temperature if schema is None else 0.0 if at == 0 else min(1.0, 0.3 + 0.1 * at)
        wish = Wish(schema=wanted, temperature=warmth, max_tokens=_room(schema, capability), seed=at)
        said = await voice.ask(messages, wish)
        if schema is None and said.text.strip():
            return said.text.strip()
        try:
            return answer_in(said.text, schema or {})
        except BadAnswer as error:
            wrong = str(error)
    raise StepFailed(f"No answer had the right shape in {TRIES} tries. {wrong}", spent=voice.spent)


def _room(schema: Mapping[str, Any] | None, capability: Capability) -> int:
    return capability.tokens if schema is None else max(SHORTEST, min(ROOM * capability.tokens, _size(schema)))


def _size(schema: Mapping[str, Any], depth: int = 0) -> int:
    """About how many tokens an answer of this shape can take."""
    if depth > 10:
        return 200
    if "enum" in schema:
        return 4 + max((len(str(each)) for each in schema["enum"]), default=0) // 2
    properties = schema.get("properties") or {}
    inside = sum(8 + len(name) // 2 + _size(each, depth + 1) for name, each in properties.items())
    items = schema.get("items") or {}
    many = min(int(schema.get("maxItems", 8)), 12) * _size(items, depth + 1) if items else 0
    text = int(schema.get("maxLength", 400)) // 2 if schema.get("type") == "string" else 8
    return ROOM * (inside + many) if inside or many else text
