"""Real servers behind the real SDK: what they may do, what they may not, and how it ends when they misbehave."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sophia_core.commands import CommandError
from sophia_core.events import Bus, Event, Notice
from sophia_core.gate.acting import acting_for
from sophia_core.mcp.asked import Question
from sophia_core.mcp.link import Gone, McpError
from sophia_core.mcp.mcp import Mcp
from tests.sophia_core.desk import Desk

PLAIN = Path(__file__).with_name("plain_server.py")
PATIENCE_S = 60.0


@dataclass
class Bench:
    """MCP on a real store."""

    mcp: Mcp
    desk: Desk
    folder: Path
    events: list[Event]

    def configure(self, name: str, *more: str, words: str = "") -> None:
        args = ", ".join(json.dumps(each) for each in (str(PLAIN), *filter(None, [words])))
        lines = [f"command = {json.dumps(sys.executable)}", f"args = [{args}]", "handshake = true", *more]
        (self.folder / "mcp").mkdir(exist_ok=True)
        (self.folder / "mcp" / f"{name}.toml").write_text("\n".join(lines) + "\n")

    def notices(self) -> str:
        return "\n".join(each.text for each in self.events if isinstance(each, Notice))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    desk = await Desk(tmp_path / "store").open()
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)
    env = {"TOKEN": "t0k", "OTHER": "o"}
    mcp = Mcp(desk.vault, bus, tmp_path / "mcp", env, tmp_path / "work")
    made = Bench(mcp, desk, tmp_path, events)
    try:
        yield made
    finally:
        await mcp.close()
        await desk.close()


async def test_a_server_is_used_and_changes_its_words_and_dies(bench: Bench) -> None:
    bench.configure("plain", 'reads = ["add"]', 'tools = ["[!s]*"]', 'env = ["TOKEN"]', "call_s = 30")
    tried = await bench.mcp.test("plain")
    assert (tried.says, tried.protocol, tried.has) == ("plain␛[1m 1", "2025-06-18", ("tools", "resources", "prompts"))

    tools = {each.spec.name: each for each in await bench.mcp.tools(["mcp.plain.*", "read_file"])}
    assert "mcp.plain.secret" not in tools, "its file does not allow it"
    assert not any("\x1b" in name for name in tools)
    add = tools["mcp.plain.add"]
    assert "\x1b" not in add.spec.description and "\u202e" not in add.spec.description
    assert add.spec.danger == "read" and add.ask({"a": 1}) is None
    asked = tools["mcp.plain.fail"].ask({"x": "\x1b"})
    assert asked is not None and asked.danger == "net" and "\x1b" not in asked.command
    assert (await add.call({"a": 1, "b": 2})).text == "3"
    failed = await tools["mcp.plain.fail"].call({})
    assert not failed.ok and failed.text == "no ␛[31mway"
    assert len((await tools["mcp.plain.big"].call({"size": 500_000})).text) < 61_000
    too_much = await tools["mcp.plain.big"].call({"size": 5_000_000})
    assert not too_much.ok and "too much" in too_much.text
    assert await bench.mcp.read("plain", "notes://today") == "Write tests."
    assert await bench.mcp.prompt("plain", "review", "file=x.py") == "Please review x.py."
    assert [each.takes for each in await bench.mcp.prompts("plain")] == ["file"]
    assert await bench.mcp.call("plain.far") == "there" and "1 of 2 – on" in bench.notices()
    with acting_for("macro", "m"):  # nobody can be asked here; what a person types is their own hand
        assert await bench.mcp.call("plain.add", '{"a": 1, "b": 2}') == "3", "it only looks"
        with pytest.raises(CommandError, match="not allowed"):
            await bench.mcp.call("plain.far")

    hanging = asyncio.create_task(bench.mcp.call("plain.hang"))
    while not bench.mcp.running.at_work("plain"):  # noqa: ASYNC110 - nothing tells when a call is under way
        await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    knows = json.loads(await bench.mcp.call("plain.env"))
    assert "TOKEN" in knows["env"] and "OTHER" not in knows["env"]
    assert not any(name.startswith("SOPHIA") for name in knows["env"])
    assert Path(knows["cwd"]) != Path.cwd()

    waiting = asyncio.create_task(bench.mcp.call("plain.ask"))
    async with asyncio.timeout(PATIENCE_S):
        while "plain" not in bench.mcp.asked.waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert "How old?␛]0;x␇" in bench.notices()
    with pytest.raises(CommandError, match="no answer"):
        await bench.mcp.answer("plain", "age=old")
    with pytest.raises(CommandError, match="does not ask"):
        await bench.mcp.answer("plain", "password=x")
    await bench.mcp.answer("plain", "age=42")
    assert json.loads(await waiting) == {"action": "accept", "content": {"age": 42}}
    with pytest.raises(CommandError, match="asks nothing"):
        await bench.mcp.decline("plain")

    await bench.mcp.call("plain.turn")
    states = {each.name: each.state for each in await bench.mcp.listed_tools("plain")}
    assert "withheld" in bench.notices()
    assert states["add"].startswith("changed") and states["new"].startswith("new")
    with pytest.raises(CommandError, match="may be used"):
        await bench.mcp.call("plain.add", '{"a": 1, "b": 2}')
    assert not (await bench.mcp.tools(["mcp.plain.add"]))
    await bench.mcp.accept("plain")
    assert await bench.mcp.call("plain.add", '{"a": 1, "b": 2}') == "3"

    with pytest.raises(Gone, match="out of luck"):
        await bench.mcp.call("plain.die")
    # Begun again, it says what it said at first: that was agreed to no longer.
    assert {each.name: each.state for each in await bench.mcp.listed_tools("plain")}["add"].startswith("changed")


async def test_what_cannot_begin_says_why(bench: Bench) -> None:
    bench.configure("bare", 'env = ["NOT_SET"]')
    with pytest.raises(McpError, match="NOT_SET"):
        await bench.mcp.test("bare")
    assert list(await bench.mcp.tools(["mcp.bare.*"])) == []
    assert "left out" in bench.notices()


async def test_what_a_folder_brings_starts_nothing_before_it_is_trusted(bench: Bench) -> None:
    theirs = bench.folder / "work" / ".sophia" / "mcp"
    theirs.mkdir(parents=True)
    (theirs / "theirs.toml").write_text('command = "touch"\nargs = ["/tmp/should-not-be"]\n')
    assert [each.state for each in await bench.mcp.servers.listed()] == ["not trusted"]
    with pytest.raises(CommandError, match="not trusted"):
        await bench.mcp.test("theirs")
    assert list(await bench.mcp.tools(["*"])) == []
    await bench.mcp.servers.show("theirs")
    (theirs / "theirs.toml").write_text('command = "rm"\n')
    with pytest.raises(CommandError, match="changed after"):
        await bench.mcp.servers.trust("theirs")
    await bench.mcp.servers.show("theirs")
    await bench.mcp.servers.trust("theirs")
    assert [each.state for each in await bench.mcp.servers.listed()] == ["ready"]
    with pytest.raises(CommandError, match="comes with this folder"):
        await bench.mcp.servers.remove("theirs")


def test_a_question_no_person_could_answer_is_none() -> None:
    from sophia_core.mcp.asked import question_of

    assert (
        question_of("s", {"mode": "form", "message": "?", "schema": {"properties": {"a": {"type": "object"}}}}) is None
    )
    assert question_of("s", {"mode": "url", "message": "?", "url": "javascript:alert(1)"}) is None
    found = question_of("s", {"message": "\x1b", "schema": {"properties": {"a": {"type": "boolean"}}}})
    assert isinstance(found, Question) and found.message == "␛" and found.fields[0].value("y") is True
