"""What the tests of this folder share."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from backend_client import (
    ApiKey,
    Attempt,
    Auth,
    BackendClient,
    BackendError,
    ChatMessage,
    ChatRequest,
    Chunk,
    Endpoint,
    NoAuth,
    Provider,
    ReasoningChunk,
    Secret,
    StaticEndpoint,
    TextChunk,
    Timeouts,
    Transport,
)
from backend_client.happenings import Happening

T = TypeVar("T")

KEY = "sk-test-0123456789abcdef"
ASK = ChatRequest((ChatMessage("user", "hi"),), request_id="req1")


def provider(
    base_url: str = "http://127.0.0.1:9/v1",
    model: str | None = None,
    *,
    auth: Auth | None = None,
    timeouts: Timeouts | None = None,
    max_attempts: int = 3,
) -> Provider:
    """Return a provider called `here`, with a key."""
    endpoint = Endpoint(base_url, model, auth or ApiKey(Secret(KEY)))
    return Provider("here", StaticEndpoint(endpoint), timeouts or Timeouts(), max_attempts)


def open_client(
    chosen: Provider, transport: Transport | None = None, told: list[Attempt] | None = None
) -> BackendClient:
    """Return a client on the loop's clock, whose pauses take no real time on a virtual loop."""
    return BackendClient(
        [chosen],
        transport=transport,
        rng=random.Random(1),  # noqa: S311
        clock=asyncio.get_running_loop().time,
        hook=noting(told if told is not None else []),
    )


def noting(told: list[Attempt]) -> Callable[[Happening], None]:
    """Return a hook that keeps the attempts."""

    def hook(happening: Happening) -> None:
        if isinstance(happening, Attempt):
            told.append(happening)

    return hook


async def collect(stream: AsyncIterator[Chunk]) -> tuple[list[Chunk], BackendError | None]:
    """Return all chunks and the error that ended them, if one did."""
    chunks: list[Chunk] = []
    try:
        async for chunk in stream:
            chunks.append(chunk)
    except BackendError as error:
        return chunks, error
    return chunks, None


def merged(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks with neighbouring texts joined."""
    out: list[Chunk] = []
    for chunk in chunks:
        last = out[-1] if out else None
        if isinstance(chunk, TextChunk) and isinstance(last, TextChunk):
            out[-1] = TextChunk(last.text + chunk.text)
        elif isinstance(chunk, ReasoningChunk) and isinstance(last, ReasoningChunk):
            out[-1] = ReasoningChunk(last.text + chunk.text)
        else:
            out.append(chunk)
    return out


def text_of(chunks: Iterable[Chunk]) -> str:
    """Return the text of the answer."""
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: time jumps to the next thing that is due."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everything waits for something that will never come")
        if not ready and timeout is not None:
            self.now += max(0.0, timeout)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `test` on a loop whose clock jumps, so that two minutes of waiting take no time."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(test())


NO_AUTH = NoAuth()
