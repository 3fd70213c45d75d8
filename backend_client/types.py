"""The values that go into and come out of the client. All frozen; none of them does anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from backend_client.auth import Auth

if TYPE_CHECKING:
    from backend_client.errors import BackendError

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Kind: TypeAlias = Literal["openai", "vllm", "llamacpp", "openrouter"]
"""Which server it is; `openai` stands for any that speaks the protocol and nothing more."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that goes with a message."""

    media_type: str
    """Like `image/png`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole tool call of an earlier answer."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str
    parameters: Mapping[str, object]
    """A JSON schema."""


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON that the answer has to be."""

    name: str
    schema: Mapping[str, object]
    strict: bool = True


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the conversation that is sent."""

    role: Role
    content: str
    name: str | None = None
    tool_call_id: str | None = None
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model."""

    messages: tuple[ChatMessage, ...]
    model: str | None = None
    """Overrides the model of the endpoint."""
    temperature: float | None = None
    max_tokens: int | None = None
    request_id: str = ""
    """Travels as `X-Request-Id` with `-a1`, `-a2` … per attempt; empty makes a new one."""
    traceparent: str | None = None
    """A W3C trace context; left out of the request when it is not well formed."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the JSON body."""
    tools: tuple[Tool, ...] = ()
    answer_schema: AnswerSchema | None = None
    reasoning_effort: str | None = None
    """none, minimal, low, medium, high …, where the server knows it."""
    continuing: bool = False
    """The last message is an unfinished answer, to be gone on with rather than replied to."""
    flow: str = ""
    """Requests of one flow (a session, say) wait behind each other, not behind those of other flows."""
    avoid: frozenset[str] = frozenset()
    """Providers that have just broken off this answer: each is asked as if it were the last of the next tier."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Providers that may not be asked because of what they cost, and why not."""
    idempotency_key: str = ""
    """Travels as `Idempotency-Key`, the same for every attempt; empty sends none."""

    fitted: Callable[[int | None], tuple[ChatMessage, ...]] | None = None
    """Returns the messages as far as they fit a context window in tokens; asked once a provider is chosen."""

    @property
    def needs(self) -> frozenset[str]:
        """The capabilities that a provider must have to answer."""
        wanted = {"chat"}
        if any(message.images for message in self.messages):
            wanted.add("vision")
        if self.tools:
            wanted.add("tools")
        return frozenset(wanted)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to send a request and how to prove who we are, fully resolved."""

    base_url: str
    """With or without a trailing slash and `/v1`; kept as given: paths are appended to it."""
    model: str | None
    auth: Auth
    kind: Kind | None = None
    """Which server it turned out to be, where somebody asked it."""
    context_window: int | None = None
    """In tokens, where somebody asked."""


class EndpointSource(Protocol):
    """Something that knows the endpoint, perhaps after starting it."""

    async def ready(self) -> Endpoint:
        """Return the endpoint once it can answer.

        May start a server first. Safe to cancel. Raises BackendError (best: EndpointUnavailable) when it cannot.
        """
        ...


@dataclass(frozen=True, slots=True)
class StaticEndpoint:
    """An endpoint that is simply there."""

    endpoint: Endpoint

    async def ready(self) -> Endpoint:
        """Return the endpoint at once."""
        return self.endpoint


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect: float = 5.0
    """To reach the server, TLS included."""
    first_token: float = 120.0
    """From sending an attempt to its first content; keep-alive comments do not count."""
    idle: float = 60.0
    """Between any two bytes once the answer has begun; keep-alive comments count."""
    write: float = 30.0
    """To hand over each part of the request."""
    total: float = 1800.0
    """For everything: starting the endpoint, all attempts and the whole stream."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A named place that answers requests."""

    name: str
    source: EndpointSource
    timeouts: Timeouts = Timeouts()
    max_attempts: int = 3
    """Of one request at this provider; further ones go to others."""
    capabilities: frozenset[str] = frozenset({"chat", "tools"})
    """Of chat, tools, vision, embeddings."""
    kind: Kind = "openai"
    tier: int = 0
    """Providers of a higher number are asked only when none of a lower one can answer."""
    models: frozenset[str] = frozenset()
    """Others that it is configured for, beside the endpoint's own."""
    region: str = ""
    paid: bool = False
    """Every answer costs money: the cost cap counts."""
    max_concurrent: int = 16
    """Requests in flight at once; more wait in a fair queue."""
    context_window: int | None = None
    """In tokens."""
    price_prompt: float | None = None
    """USD per million tokens."""
    price_completion: float | None = None
    """USD per million tokens."""
    price_cached: float | None = None
    """USD per million tokens of the prompt that the server had read before; None: as the others of the prompt."""
    listed: Callable[[str], Price | None] | None = field(default=None, compare=False, repr=False)
    """What a list says that a model costs here; asked where neither the server nor the settings tell."""

    def priced(self, usage: UsageChunk, model: str | None = None) -> UsageChunk:
        """The usage with what it cost, where the server did not say so and the prices are known."""
        if usage.cost_usd is not None or (price := self._price_of(model)) is None:
            return usage
        return replace(usage, cost_usd=price.of(usage), cost_known=price.known)

    def _price_of(self, model: str | None) -> Price | None:
        if self.price_prompt is not None and self.price_completion is not None:
            return Price(self.price_prompt, self.price_completion, self.price_cached)
        half_told = self.price_prompt is not None or self.price_completion is not None
        return None if half_told or self.listed is None or not model else self.listed(model)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD per million tokens."""

    prompt: float
    completion: float
    cached: float | None = None
    """Of the prompt's tokens that the server had read before; None: as the others."""
    known: str = "configured"
    """How it is known."""

    def of(self, usage: UsageChunk) -> float:
        """What these tokens cost, in USD."""
        before = min(usage.cached_tokens or 0, usage.prompt_tokens)
        read = (usage.prompt_tokens - before) * self.prompt
        read += before * (self.prompt if self.cached is None else self.cached)
        return (read + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Routed:
    """The first chunk of every stream: who answers."""

    provider: str
    model: str | None
    """The model asked for, or where none was named the one the server says it used."""
    request_id: str
    """As sent, with the suffix of the attempt."""
    attempt: int
    """1 for the first."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Text of the answer; never empty, always valid Unicode, not yet safe for a terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningChunk:
    """Text of the model's thinking; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A piece of a tool call; join `arguments` of one `index` in order."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class UsageChunk:
    """What the answer took, as the server counts it."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    cost_known: str = field(default="", compare=False)
    """How the cost is known: `reported` by the server, `configured`, or from a list of a date; empty: not at all."""


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """What a server tells of its own time with one answer, in seconds; None where it does not."""

    queue_s: float | None = None
    """Before it began with the request."""
    first_token_s: float | None = None
    """From the request's arrival to the first token."""
    prompt_s: float | None = None
    """Reading the prompt."""
    generation_s: float | None = None
    """Writing the answer."""
    cached_tokens: int | None = None
    """Of the prompt, that it had read before."""


@dataclass(frozen=True, slots=True)
class FinishChunk:
    """The answer is complete: stop, length, tool_calls, content_filter, … Comes exactly once, last but for usage."""

    reason: str


Chunk: TypeAlias = Routed | TextChunk | ReasoningChunk | ToolCallChunk | UsageChunk | FinishChunk


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model that a provider offers."""

    id: str
    context_window: int | None
    """In tokens, where the server says so."""
    kind: Kind | None = None
    """Which server offers it, where the list tells."""
    capabilities: frozenset[str] | None = None
    """Of chat, tools, vision, embeddings; None where the server does not say."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a provider answers now."""

    ok: bool
    detail: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one attempt, told once to the attempt hook."""

    provider: str
    model: str | None
    request_id: str
    attempt: int
    elapsed_s: float
    """From the start of the attempt to its first content or its failure."""
    error: BackendError | None = None
    """None when the answer began."""
    retry_in_s: float | None = None
    """The pause before the next attempt; None when there is none."""
