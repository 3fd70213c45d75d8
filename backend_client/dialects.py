"""Where servers that speak the same protocol differ: how they are told apart, and what only one of them takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from backend_client.types import Kind

Continuation: TypeAlias = Literal["final_message", "prefill", "turn"]
"""How an unfinished answer is gone on with: `final_message` says so in fields of its own; with `prefill` the answer
simply stands last; `turn` asks for the rest in a new question, and the answer may not join without a seam."""

GO_ON: Final = (
    "Your last answer was cut off. Go on exactly where it stops, in the middle of a word if need be. "
    "Repeat nothing of it and add no introduction."
)
"""The question that asks for the rest of an answer where a server can be told in no other way."""

CONTINUING: Final[Mapping[str, bool]] = {"continue_final_message": True, "add_generation_prompt": False}
"""The fields that say so, where there are some."""

_CONTINUATIONS: Final[Mapping[Kind, Continuation]] = {
    "vllm": "final_message",
    "llamacpp": "prefill",
    "openrouter": "prefill",
    "openai": "turn",
}
_HOSTS: Final[Mapping[str, Kind]] = {"openrouter.ai": "openrouter", "api.openai.com": "openai"}
_OWNERS: Final[Mapping[str, Kind]] = {"vllm": "vllm", "llamacpp": "llamacpp", "openai": "openai", "system": "openai"}
# OpenRouter groups what it serves by application; for an address of one's own machine the title is what it shows.
_OPENROUTER_HEADERS: Final[Mapping[str, str]] = {"http-referer": "http://localhost", "x-openrouter-title": "SOPHIA"}


def kind_of(base_url: str, owned_by: str = "") -> Kind | None:
    """Return which server that is by its address or by what its model list says, or None where neither tells."""
    try:
        host = (urlsplit(base_url.strip()).hostname or "").rstrip(".").lower()
    except ValueError:
        host = ""
    for name, kind in _HOSTS.items():
        if host == name or host.endswith(f".{name}"):
            return kind
    return _OWNERS.get(owned_by.strip().lower())


def continuation(kind: Kind) -> Continuation:
    """Return how this server goes on with an unfinished answer."""
    return _CONTINUATIONS[kind]


def headers(kind: Kind) -> dict[str, str]:
    """Return the headers that this server likes to have besides those of every request."""
    return dict(_OPENROUTER_HEADERS) if kind == "openrouter" else {}


def own_fields(kind: Kind, *, continuing: bool, reasoning_effort: str | None) -> dict[str, object]:
    """Return the fields of a chat's body that are spelled differently from server to server."""
    fields: dict[str, object] = {}
    if kind == "openrouter":
        # The cost of an answer, which a cap on it needs. Other servers refuse the field.
        fields["usage"] = {"include": True}
    if continuing and kind in ("vllm", "llamacpp"):
        # llama.cpp does so by itself, unless it was started with --no-prefill-assistant.
        fields |= CONTINUING
    if reasoning_effort is not None:
        effort = {"effort": reasoning_effort}
        fields |= {"reasoning": effort} if kind == "openrouter" else {"reasoning_effort": reasoning_effort}
    return fields
