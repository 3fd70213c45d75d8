"""The response cache: the very same request within some hours is answered by what was answered before."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

from backend_client.types import Chunk, FinishChunk, Routed, TextChunk
from local_store.errors import StoreError
from sophia_core.commands import command
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from backend_client.types import ChatMessage, ChatRequest
    from local_store import Response, Store
    from sophia_core.events import TurnFinished

HOUR_MS = 3_600_000
NOT_ASKED = frozenset({"avoid", "barred", "fitted", "messages", "request_id", "traceparent", "flow", "idempotency_key"})
"""What differs between two requests that ask the same; the messages are written down one by one."""


def key_of(request: ChatRequest, provider: str | None, among: str = "") -> str:
    """What a request asks, of whom, as 64 hex digits: equal for two requests exactly if their answers may be shared.

    `among` describes all who could be asked: with other servers or models in the settings it is another request.
    """
    asked = {
        each.name: getattr(request, each.name) for each in dataclasses.fields(request) if each.name not in NOT_ASKED
    }
    whole = {
        "v": 2,
        "provider": provider,
        "among": among,
        "messages": [_said(each) for each in request.messages],
        **asked,
    }
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _said(message: ChatMessage) -> dict[str, object]:
    return {each.name: getattr(message, each.name) for each in dataclasses.fields(message)}


def _plain(value: object) -> object:
    """What JSON has no word for. Raises TypeError for what cannot be written down the same way twice."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


class Recall:
    """A backend that gives an earlier answer again, so that it takes the same way as any other."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def stream(self, request: ChatRequest, provider: str | None = None) -> AsyncGenerator[Chunk, None]:
        """Yield the answer at once. Nothing was used for it."""
        yield Routed(self._response.provider or "", self._response.model, request.request_id, 1)
        yield TextChunk(self._response.text)
        yield FinishChunk("stop")


class Cache:
    """Answers to exact requests, in the store; a store that cannot be read or written only means a miss."""

    def __init__(
        self,
        vault: Vault,
        *,
        enabled: bool,
        hours: float,
        among: str = "",
        entries: int = 1000,
        characters: int = 10_000_000,
    ) -> None:
        self._vault, self._among = vault, among
        self._entries, self._characters = entries, characters
        self.enabled = enabled
        self._max_age_ms = int(hours * HOUR_MS)

    def key_of(self, request: ChatRequest, provider: str | None, *, wanted: bool | None = None) -> str | None:
        """What a request is remembered under; None where nothing is, and for an answer to be gone on with.

        `wanted` overrides for this request whether answers are remembered."""
        enabled = self.enabled if wanted is None else wanted
        # An answer that was gone on with is the reply to nothing that anybody will ask again.
        return key_of(request, provider, self._among) if enabled and not request.continuing else None

    async def find(self, store: Store, key: str) -> Response | None:
        """The answer given to this request, if it is young enough."""
        try:
            return await store.responses.find(key, max_age_ms=self._max_age_ms)
        except StoreError:
            return None

    async def remember(self, store: Store, key: str, finished: TurnFinished) -> None:
        """Keeps a whole answer in prose for the next time; any other is left."""
        whole = finished.status == "complete" and finished.finish_reason == "stop" and bool(finished.text)
        if not whole or not finished.saved or finished.cached_at is not None:
            return
        try:
            await store.responses.remember(key, finished.answer_id, most=self._entries, characters=self._characters)
        except StoreError:
            return  # the next answer to this request is asked for again, which is always right

    @command("cache.clear")
    async def clear(self) -> str:
        """Forget the answers kept for exact repetitions; the conversations stay."""
        count = await (await self._vault.get()).responses.forget_all()
        return f"{count} answer{'' if count == 1 else 's'} forgotten."
