"""SOPHIA as somebody's agent: an editor, played by the SDK's client, works with sessions of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from acp import RequestError, text_block
from acp.core import AgentSideConnection, ClientSideConnection
from acp.helpers import embedded_text_resource, image_block, resource_block, resource_link_block
from acp.schema import AllowedOutcome, DeniedOutcome, RequestPermissionResponse

from sophia_core.acp.serving import Serving
from sophia_core.gate.asking import on_behalf, request
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.log import StoreApprovals
from tests.scripted import ScriptedReply, ScriptedTransport, chat, delta

PATIENCE_S = 60.0


class End:
    """One end of a conversation in memory."""

    def __init__(self, into: asyncio.Queue[Any], out: asyncio.Queue[Any]) -> None:
        self._into, self._out = into, out

    async def send(self, message: dict[str, Any]) -> None:
        await self._out.put(message)

    async def receive(self) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", await self._into.get())

    async def close(self) -> None:
        await self._out.put(None)


class Editor:
    """A client: remembers what it is told, and answers what it is asked with `answer`."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.asked: list[Any] = []
        self.answer: str | None = "once"

    def on_connect(self, conn: Any) -> None:
        return

    async def session_update(self, session_id: str, update: Any, **more: Any) -> None:
        self.told.append(update)

    async def request_permission(
        self, session_id: str, tool_call: Any, options: list[Any], **more: Any
    ) -> RequestPermissionResponse:
        self.asked.append((tool_call, [each.option_id for each in options]))
        if self.answer is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=self.answer))

    def text(self, kind: str) -> str:
        """All that was said of a kind."""
        return "".join(each.content.text for each in self.told if each.session_update == kind)


class World:
    """An editor, SOPHIA, and a server that plays a script."""

    def __init__(self, runtime: Runtime, editor: Editor, conn: ClientSideConnection, wire: ScriptedTransport) -> None:
        self.runtime, self.editor, self.conn, self.wire = runtime, editor, conn, wire


@asynccontextmanager
async def opened(folder: Path, *script: ScriptedReply) -> AsyncIterator[World]:
    env = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "large", "SOPHIA_NO_KEYRING": "1"}
    env |= {"SOPHIA_HOME": str(folder / "home")}
    wire = ScriptedTransport(*script)
    runtime = Runtime(load_settings(env), transport=wire, env=env)
    await runtime.start()
    there: asyncio.Queue[Any] = asyncio.Queue()
    back: asyncio.Queue[Any] = asyncio.Queue()
    editor, serving = Editor(), Serving(runtime, "1.0")
    agent = AgentSideConnection(cast("Any", serving), End(there, back))
    conn = ClientSideConnection(cast("Any", editor), End(back, there))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await conn.initialize(1)
            yield World(runtime, editor, conn, wire)
    finally:
        await serving.close()
        await conn.close()
        await agent.close()
        await runtime.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a question is asked in its session's folder


async def test_an_answer_streams_and_the_session_is_an_ordinary_one(tmp_path: Path) -> None:
    thought = chat("4\x1b[31m", "2", reasoning=["hm"])
    async with opened(tmp_path, thought) as world:
        new = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        ended = await world.conn.prompt(
            session_id=new.session_id,
            prompt=[
                text_block("What is 6 by 7?"),
                resource_block(embedded_text_resource("file:///a.py", "x = 1")),
                resource_link_block("b.py", "file:///b.py"),
            ],
        )
        assert (ended.stop_reason, ended.usage and ended.usage.output_tokens) == ("end_turn", 3)
        assert world.editor.text("agent_message_chunk") == "4␛[31m2"
        assert world.editor.text("agent_thought_chunk") == "hm"
        assert "file:///a.py:\\n```\\nx = 1\\n```" in repr(world.wire.bodies[0]).replace("\\\\", "\\")
        store = await world.runtime.vault.get()
        question, answer = await store.messages.path(new.session_id)
        assert (question.role, answer.status) == ("user", "complete")
        listed = await world.conn.list_sessions()
        assert [(each.session_id, each.title) for each in listed.sessions] == [(new.session_id, "What is 6 by 7?")]
        world.editor.told.clear()
        await world.conn.load_session(cwd=str(tmp_path), session_id=new.session_id, mcp_servers=[])
        assert "6 by 7" in world.editor.text("user_message_chunk")
        assert world.editor.text("agent_message_chunk") == "4␛[31m2"


async def test_persona_and_model_are_those_of_the_session(tmp_path: Path) -> None:
    async with opened(tmp_path, chat("one"), chat("two")) as world:
        first = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        second = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        assert first.modes is not None
        persona = next(each.id for each in first.modes.available_modes if each.id != "none")
        await world.conn.set_session_mode(session_id=second.session_id, mode_id=persona)
        with pytest.raises(RequestError):
            await world.conn.set_session_mode(session_id=second.session_id, mode_id="nobody-like-that")
        await asyncio.gather(
            *(world.conn.prompt(session_id=each.session_id, prompt=[text_block("Hi")]) for each in (first, second))
        )
        store = await world.runtime.vault.get()
        answers = [(await store.messages.path(each.session_id))[-1].persona for each in (first, second)]
        assert answers == [None, persona]


async def test_stopped_it_says_so_and_keeps_what_came(tmp_path: Path) -> None:
    held = ScriptedReply((delta(content="begun"), asyncio.Event()))
    async with opened(tmp_path, held) as world:
        new = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        asking = asyncio.create_task(world.conn.prompt(session_id=new.session_id, prompt=[text_block("Hi")]))
        while "begun" not in world.editor.text("agent_message_chunk"):  # noqa: ASYNC110 - the agent tells it
            await asyncio.sleep(0.01)
        await world.conn.cancel(session_id=new.session_id)
        assert (await asking).stop_reason == "cancelled"


@pytest.mark.parametrize(("answer", "allowed"), [("once", True), ("deny", False), ("made up", False), (None, False)])
async def test_what_has_to_be_allowed_is_asked_for_in_the_editor(
    tmp_path: Path, answer: str | None, allowed: bool
) -> None:
    async with opened(tmp_path) as world:
        world.editor.answer = answer
        new = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        asked = request("run", "run", "Run a command.", command="make && make install", boxed=True)
        gate = world.runtime.swarm_side.gate
        decision = await gate.pass_(on_behalf(asked, "chat", new.session_id, call="1"))
        assert decision.allowed is allowed
        call, options = world.editor.asked[0]
        assert call.content[-1].content.text == "$ make && make install"
        assert options == ["once", "deny"]
        store = await world.runtime.vault.get()
        assert await StoreApprovals(store).waiting() == []


async def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        with pytest.raises(RequestError):
            await world.conn.new_session(cwd="relative", mcp_servers=[])
        with pytest.raises(RequestError):
            await world.conn.load_session(cwd=str(tmp_path), session_id="nothing", mcp_servers=[])
        with pytest.raises(RequestError):
            await world.conn.prompt(session_id="nothing", prompt=[text_block("Hi")])
        new = await world.conn.new_session(cwd=str(tmp_path), mcp_servers=[])
        with pytest.raises(RequestError, match="pictures"):
            await world.conn.prompt(session_id=new.session_id, prompt=[image_block("aGk=", "image/png")])
