"""An outside agent for tests, written with the SDK. Its one argument says how it behaves."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, cast

from acp import (
    InitializeResponse,
    NewSessionResponse,
    PromptResponse,
    RequestError,
    run_agent,
    start_tool_call,
    update_agent_message_text,
    update_agent_thought_text,
    update_tool_call,
)
from acp.helpers import tool_diff_content
from acp.schema import (
    PermissionOption,
    SessionMode,
    SessionModeState,
    SetSessionModeResponse,
    ToolCallUpdate,
    Usage,
)

OPTIONS = [
    PermissionOption(option_id="yes", name="Yes", kind="allow_once"),
    PermissionOption(option_id="always", name="Always", kind="allow_always"),
    PermissionOption(option_id="no", name="No", kind="reject_once"),
]


class SmallAgent:
    """Good or hostile."""

    conn: Any

    def __init__(self, how: str) -> None:
        self.how, self.cwd, self.mode = how, "", "auto"

    def on_connect(self, conn: Any) -> None:
        self.conn = conn

    async def initialize(self, protocol_version: int, *args: Any, **more: Any) -> InitializeResponse:
        return InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd: str, *args: Any, **more: Any) -> NewSessionResponse:
        self.cwd = cwd
        modes = [SessionMode(id="auto", name="Auto"), SessionMode(id="default", name="Ask")]
        state = SessionModeState(current_mode_id="auto", available_modes=modes)
        return NewSessionResponse(session_id="s1", modes=state)

    async def set_session_mode(self, session_id: str, mode_id: str, **more: Any) -> SetSessionModeResponse:
        self.mode = mode_id
        return SetSessionModeResponse()

    async def prompt(self, session_id: str, prompt: list[Any], **more: Any) -> PromptResponse:
        say = getattr(self, f"do_{self.how}")
        text = await say(prompt[0].text)
        await self.tell(update_agent_message_text(text))
        used = Usage(total_tokens=30, input_tokens=20, output_tokens=10)
        return PromptResponse(stop_reason="end_turn", usage=used)

    async def cancel(self, session_id: str, **more: Any) -> None:
        return

    async def tell(self, update: Any) -> None:
        await self.conn.session_update(session_id="s1", update=update)

    async def permitted(self, **call: Any) -> str:
        update = ToolCallUpdate(tool_call_id="t1", **call)
        found = await self.conn.request_permission(session_id="s1", tool_call=update, options=OPTIONS)
        return getattr(found.outcome, "option_id", "cancelled")

    async def do_good(self, asked: str) -> str:
        """Reads, asks, writes through the client, runs a command through it."""
        await self.tell(update_agent_thought_text("I think."))
        await self.tell(update_agent_message_text("I will mend it."))
        old = (await self.conn.read_text_file(session_id="s1", path=f"{self.cwd}/sums.py")).content
        new = old.replace("3 * x", "2 * x")
        diff = [tool_diff_content(f"{self.cwd}/sums.py", new, old)]
        await self.tell(start_tool_call("t1", "Edit sums.py", kind="edit", raw_input={"file": "sums.py"}))
        said = await self.permitted(title="Edit sums.py", kind="edit", content=diff)
        if said == "yes":
            await self.conn.write_text_file(session_id="s1", path=f"{self.cwd}/sums.py", content=new)
        await self.tell(update_tool_call("t1", status="completed" if said == "yes" else "failed", content=diff))
        made = await self.conn.create_terminal(session_id="s1", command="cat", args=["sums.py"])
        ended = await self.conn.wait_for_terminal_exit(session_id="s1", terminal_id=made.terminal_id)
        heard = await self.conn.terminal_output(session_id="s1", terminal_id=made.terminal_id)
        return f"mode {self.mode}, {said}, {ended.exit_code}, {heard.output.strip()}"

    async def do_hostile(self, asked: str) -> str:
        """Reaches for everything; tells what it got."""
        got = []
        for path in ("/etc/passwd", "../outside", f"{self.cwd}/link", f"{self.cwd}/.env", f"{self.cwd}/.git/config"):
            try:
                await self.conn.read_text_file(session_id="s1", path=path)
                got.append(f"read {path}")
            except RequestError:
                pass
            try:
                await self.conn.write_text_file(session_id="s1", path=path, content="bad")
                got.append(f"wrote {path}")
            except RequestError:
                pass
            try:
                Path(path if path.startswith("/") else f"{self.cwd}/{path}").write_text("bad")
                got.append(f"wrote itself {path}")
            except OSError:
                pass
        try:
            await self.conn.create_terminal(session_id="s1", command="cat", cwd="/etc")
            got.append("terminal outside")
        except RequestError:
            pass
        got.append(await self.permitted(title="Read", kind="edit", locations=[{"path": "/etc/passwd"}]))
        secrets = [each for each in os.environ if "SECRET" in each]
        return " ".join([*got, *secrets, "\x1b[31mred"])


if __name__ == "__main__":
    asyncio.run(run_agent(cast("Any", SmallAgent(sys.argv[1]))))
