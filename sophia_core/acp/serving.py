"""SOPHIA as an agent for editors and other programs that speak the protocol. Its sessions are those of the store.

What an editor asks goes the way of every question, by the commands everybody uses; what comes of it is told from the
bus. One answer is given at a time: another session's question waits. What has to be allowed is asked for in the editor,
and waits in the store like any other, so that it can be decided elsewhere as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from acp import PROTOCOL_VERSION, RequestError, update_agent_message_text, update_user_message_text
from acp.schema import (
    AgentCapabilities,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    SessionCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
    Usage,
)

from local_store.errors import NotFound, StoreError
from sophia_core.acp.choices import MODEL, model_option, modes
from sophia_core.acp.permitting import Permitting
from sophia_core.acp.prompts import text_of
from sophia_core.acp.streaming import Streaming
from sophia_core.chat.history import title_of
from sophia_core.commands import CommandError
from sophia_core.events import TurnFinished
from sophia_core.models import AUTO
from sophia_core.personas.persona import NOBODY
from sophia_core.sanitize import sanitize

if TYPE_CHECKING:
    from local_store import Session, Store
    from sophia_core.runtime import Runtime

MOST_LISTED: Final = 200
FAILED: Final = -32603
NO_STORE: Final = -32000
Stop = Literal["end_turn", "max_tokens", "refusal", "cancelled"]


@dataclass(slots=True)
class Open:
    """A session that the editor works with."""

    id: str
    folder: str
    persona: str
    route: str = AUTO
    """The provider, or the provider and the model, that the editor chose."""
    stopped: bool = False
    """Its question is not to be asked any more, or not to be answered further."""
    asking: bool = False


class Serving:
    """An agent of the protocol."""

    def __init__(self, runtime: Runtime, version: str) -> None:
        self._runtime, self._version = runtime, version
        self._open: dict[str, Open] = {}
        self._one = asyncio.Lock()
        self._answering: Open | None = None
        self._conn: Any = None

    def on_connect(self, conn: Any) -> None:
        """Called by the SDK, with whom to tell things."""
        self._conn = conn
        self._permitting = Permitting(self._runtime, conn, self._open)

    async def close(self) -> None:
        """Nothing is asked for any more. Sessions in which nothing was asked are not kept."""
        if self._conn is not None:
            await self._permitting.close()
        with suppress(StoreError):
            if (store := self._runtime.vault.store) is not None:
                for each in self._open:
                    if not (await store.sessions.get(each)).message_count:
                        await store.sessions.delete(each)

    # Beginning

    async def initialize(self, protocol_version: int, *args: Any, **more: Any) -> InitializeResponse:
        """Who this is, and what it can do."""
        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION) or PROTOCOL_VERSION,
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(embedded_context=True),
                session_capabilities=SessionCapabilities(list=SessionListCapabilities()),
            ),
            agent_info=Implementation(name="sophia", title="SOPHIA", version=self._version),
            auth_methods=[],
        )

    async def authenticate(self, method_id: str, **more: Any) -> None:
        """There is nothing to sign in with here."""
        raise RequestError.method_not_found("authenticate")

    async def new_session(self, cwd: str, *args: Any, **more: Any) -> NewSessionResponse:
        """A new conversation."""
        store = await self._store()
        folder = await _folder(cwd)
        session = await _kept(store.sessions.create())
        opened = self._opened(session.id, folder, None)
        return NewSessionResponse(
            session_id=session.id,
            modes=await modes(self._runtime, opened.persona),
            config_options=[await model_option(self._runtime, opened.route)],
        )

    async def load_session(self, cwd: str, session_id: str, *args: Any, **more: Any) -> LoadSessionResponse:
        """An earlier conversation, told again from its beginning."""
        store = await self._store()
        session, folder = await self._session(store, session_id), await _folder(cwd)
        opened = self._opened(session.id, folder, session.persona)
        for each in await store.messages.path(session.id):
            told = update_user_message_text if each.role == "user" else update_agent_message_text
            if each.text.strip():
                await self._conn.session_update(session_id=session_id, update=told(sanitize(each.text)))
        return LoadSessionResponse(
            modes=await modes(self._runtime, opened.persona),
            config_options=[await model_option(self._runtime, opened.route)],
        )

    async def list_sessions(self, *args: Any, **more: Any) -> ListSessionsResponse:
        """The conversations there are, the newest first."""
        found = await (await self._store()).sessions.list(MOST_LISTED)
        here = str(await asyncio.to_thread(Path.cwd))
        return ListSessionsResponse(sessions=[_info(each, here) for each in found if each.message_count])

    def _opened(self, session_id: str, folder: str, persona: str | None) -> Open:
        usual = self._runtime.current.persona or NOBODY
        opened = self._open[session_id] = Open(session_id, folder, persona or usual)
        return opened

    async def _session(self, store: Store, session_id: str) -> Session:
        try:
            return await store.sessions.get(session_id)
        except NotFound:
            raise RequestError.resource_not_found(session_id) from None

    async def _store(self) -> Store:
        try:
            return await self._runtime.vault.get()
        except (StoreError, CommandError) as error:
            hint = "Unlock it in a terminal, or set SOPHIA_PASSPHRASE for this program."
            raise RequestError(NO_STORE, f"The store is not open: {error} {hint}") from None

    # Choosing

    async def set_session_mode(self, session_id: str, mode_id: str, **more: Any) -> SetSessionModeResponse:
        """Another persona answers in this session from now on."""
        opened = self._known(session_id)
        offered = await modes(self._runtime, opened.persona)
        if mode_id not in {each.id for each in offered.available_modes}:
            raise RequestError(-32602, "There is no such persona.")
        opened.persona = mode_id
        return SetSessionModeResponse()

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **more: Any
    ) -> SetSessionConfigOptionResponse:
        """Another model answers in this session from now on."""
        opened = self._known(session_id)
        option = await model_option(self._runtime, opened.route)
        if config_id != MODEL or value not in {each.value for each in option.options}:
            raise RequestError(-32602, "There is no such choice.")
        opened.route = str(value)
        return SetSessionConfigOptionResponse(config_options=[await model_option(self._runtime, opened.route)])

    def _known(self, session_id: str) -> Open:
        if session_id not in self._open:
            raise RequestError.resource_not_found(session_id)
        return self._open[session_id]

    # Asking

    async def prompt(self, session_id: str, prompt: Sequence[Any], **more: Any) -> PromptResponse:
        """Asks, tells the answer while it comes, and how it ended."""
        opened = self._known(session_id)
        text = text_of(prompt)
        if opened.asking:
            raise RequestError(-32600, "A question of this session is being answered; stop it first.")
        opened.asking, opened.stopped = True, False
        try:
            async with self._one:
                if opened.stopped:
                    return PromptResponse(stop_reason="cancelled")
                self._answering = opened
                try:
                    return _response(await self._asked(opened, text), stopped=opened.stopped)
                finally:
                    self._answering = None
        finally:
            opened.asking = False

    async def _asked(self, opened: Open, text: str) -> TurnFinished:
        runtime = self._runtime
        try:
            await asyncio.to_thread(os.chdir, opened.folder)
            await self._choose(opened)
            if runtime.settings.chat.titles != "off":
                # An editor names its session before anything is asked in it.
                await (await self._store()).sessions.retitle(opened.id, "", title_of(text))
            async with Streaming(runtime.bus, self._conn, opened.id):
                found = await runtime.run("chat.send", text, session=opened.id)
        except CommandError as error:
            raise RequestError(FAILED, f"{error} {error.hint}".strip()) from None
        except StoreError as error:
            raise RequestError(NO_STORE, f"{error} {error.hint}".strip()) from None
        except OSError as error:
            raise RequestError(FAILED, f"{opened.folder!r} cannot be worked in: {error.strerror}") from None
        assert isinstance(found, TurnFinished)  # noqa: S101 - what the command gives
        return found

    async def _choose(self, opened: Open) -> None:
        """Who answers is as this session has it; it belongs to the whole process otherwise."""
        runtime = self._runtime
        if (runtime.current.persona or NOBODY) != opened.persona:
            await runtime.run("persona.use", opened.persona)
        provider, _, model = opened.route.partition("/")
        await runtime.run("model.use", provider, model or None)

    async def cancel(self, session_id: str, **more: Any) -> None:
        """Stops the answer; what has arrived is kept."""
        opened = self._open.get(session_id)
        if opened is None or not opened.asking:
            return
        opened.stopped = True
        self._permitting.stop(session_id)
        if self._answering is opened:
            with suppress(CommandError):
                await self._runtime.run("chat.stop")

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """There are none."""
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """There are none."""


def _response(finished: TurnFinished, *, stopped: bool) -> PromptResponse:
    """How the answer ended. Raises RequestError for one that did not come."""
    if finished.status == "cancelled" or stopped:
        return PromptResponse(stop_reason="cancelled")
    if finished.status == "failed" or (finished.status in ("partial", "interrupted") and finished.error):
        raise RequestError(FAILED, sanitize(f"{finished.error} {finished.hint or ''}".strip())[:600])
    used = None
    if finished.prompt_tokens is not None and finished.completion_tokens is not None:
        into, out = finished.prompt_tokens, finished.completion_tokens
        used = Usage(total_tokens=into + out, input_tokens=into, output_tokens=out)
    stop: Stop = {"length": "max_tokens", "content_filter": "refusal"}.get(finished.finish_reason or "", "end_turn")  # type: ignore[assignment]
    return PromptResponse(stop_reason=stop, usage=used)


async def _folder(cwd: str) -> str:
    path = Path(cwd)
    if not path.is_absolute() or not await asyncio.to_thread(path.is_dir):
        raise RequestError(-32602, f"There is no folder {cwd[:200]!r}.")
    return cwd


async def _kept(doing: Any) -> Any:
    try:
        return await doing
    except StoreError as error:
        raise RequestError(NO_STORE, f"{error} {error.hint}".strip()) from None


def _info(session: Session, here: str) -> SessionInfo:
    at = datetime.fromtimestamp(session.updated_at / 1000, UTC).isoformat() if session.updated_at else None
    return SessionInfo(session_id=session.id, cwd=here, title=sanitize(session.title) or None, updated_at=at)
