"""Asking when some providers are out: who is told what, and how it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sophia_cli.answer import QUEUED, TextAnswer
from sophia_cli.exits import USAGE
from sophia_core.events import FailedOver, TurnFinished
from tests.contract_server import ContractServer
from tests.sophia_cli.harness import Program, piped

CONFIG = """[routing]
embedded_fallback = false
[[providers]]
name = "first"
base_url = "{0}"
model = "contract-model"
[[providers]]
name = "second"
base_url = "{1}"
model = "contract-model"
models = ["other-model"]
"""


class House:
    """A home with two servers."""

    def __init__(self, home: Path, servers: list[ContractServer]) -> None:
        self.first, self.second = servers
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(*(each.base_url for each in servers)))
        self.sophia = Program(home)

    async def waiting(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((await self.sophia.run("run", "--json", "outbox.list")).out)
        return found


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ContractServer()) for _ in range(2)]
        yield House(tmp_path / "home", servers)


async def test_failing_over_is_silent_in_a_pipe_and_told_with_verbose_and_in_json(house: House) -> None:
    await house.first.go_down()
    quiet = await house.sophia.run("ask", "hi")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out
    loud = await house.sophia.run("ask", "--verbose", "hi")
    assert loud.code == 0
    assert "first cannot answer (" in loud.err and "second is asked instead" in loud.err
    told = (await house.sophia.run("ask", "--json", "hi")).events
    (failover,) = [each for each in told if each["type"] == "failover"]
    assert (failover["failed"], failover["provider"]) == ("first", "second")
    assert failover["reason"]
    assert [each["provider"] for each in told if each["type"] == "route"] == ["second"]


async def test_the_failover_line_is_for_a_terminal() -> None:
    for terminal in (True, False):
        with piped(err_terminal=terminal) as pipe:
            TextAnswer(pipe.console)(FailedOver("r", "second", "first", "no connection", "provider_unavailable"))
            assert ("second is asked instead" in pipe.err) is terminal


async def test_a_pinned_provider_stands_alone(house: House) -> None:
    await house.first.go_down()
    ended = await house.sophia.run("ask", "--provider", "first", "hi")
    assert (ended.code, ended.out) == (4, "")
    assert "first: " in ended.err
    assert house.second.chats == []
    assert (await house.sophia.run("ask", "--provider", "third", "hi")).code == USAGE


async def test_a_model_goes_to_whoever_is_configured_for_it(house: House) -> None:
    ended = await house.sophia.run("ask", "--model", "other-model", "hi")
    assert ended.code == 0
    assert house.first.chats == []
    assert len(house.second.chats) == 1


async def test_a_question_that_waits_says_so_and_ends_with_4(house: House) -> None:
    await house.first.go_down()
    await house.second.go_down()
    without = await house.sophia.run("ask", "hi")
    assert (without.code, await house.waiting()) == (4, [])
    ended = await house.sophia.run("ask", "--queue", "hi")
    assert (ended.code, ended.out) == (4, "")
    assert QUEUED in ended.err
    last = (await house.sophia.run("ask", "--queue", "--json", "again")).events[-1]
    assert (last["type"], last["status"], last["provider"], last["hint"]) == ("finished", "queued", None, QUEUED)
    assert [each["question"] for each in await house.waiting()] == ["hi", "again"]


async def test_what_is_not_saved_cannot_wait(house: House) -> None:
    ended = await house.sophia.run("ask", "--queue", "--no-save", "hi")
    assert (ended.code, "cannot wait" in ended.err) == (USAGE, True)


async def test_a_locked_store_says_that_the_question_cannot_wait(house: House) -> None:
    await house.sophia.run("init", "--yes", SOPHIA_PASSPHRASE="right")
    await house.first.go_down()
    await house.second.go_down()
    ended = await house.sophia.run("ask", "--queue", "hi")
    assert ended.code == 4
    assert "cannot wait" in ended.err and QUEUED not in ended.err


async def test_a_kept_answer_is_given_again_until_fresh_is_asked_for(house: House) -> None:
    kept = "true"
    first = (await house.sophia.run("ask", "--json", "hi", SOPHIA_CHAT__CACHE=kept)).events[-1]
    again = (await house.sophia.run("ask", "--json", "hi", SOPHIA_CHAT__CACHE=kept)).events[-1]
    assert first["cached_at"] is None
    assert isinstance(again["cached_at"], int) and again["text"] == first["text"]
    assert len(house.first.chats) == 1
    fresh = (await house.sophia.run("ask", "--json", "--fresh", "hi", SOPHIA_CHAT__CACHE=kept)).events[-1]
    assert (fresh["cached_at"], len(house.first.chats)) == (None, 2)


async def test_the_lists_are_json_lines(house: House) -> None:
    ended = await house.sophia.run("run", "--json", "route.explain", "breaker.list", "outbox.list")
    assert ended.code == 0
    route, breakers, letters = (json.loads(line) for line in ended.out.splitlines())
    assert [(each["place"], each["provider"], each["verdict"]) for each in route] == [
        (1, "first", "asked first"),
        (2, "second", "asked next"),
    ]
    assert {each["state"] for each in breakers} <= {"closed"}
    assert letters == []
    held = await house.sophia.run("run", "--json", "breaker.open first", "route.explain", "breaker.list")
    assert [each["verdict"] for each in json.loads(held.out.splitlines()[1])] == [
        "asked first",
        "not asked: forced open",
    ]
    assert "Infinity" not in held.out


async def test_faults_on_purpose_reach_the_exit_code(house: House, tmp_path: Path) -> None:
    profile = tmp_path / "chaos.toml"
    profile.write_text('seed = 1\n[[fault]]\nkind = "refuse"\n')
    ended = await house.sophia.run("ask", "--chaos", str(profile), "hi")
    assert (ended.code, "(rehearsed)" in ended.err) == (4, True)
    assert house.first.chats == house.second.chats == []


@pytest.mark.parametrize("status", ["queued", "failed"])
async def test_only_what_waits_is_said_to_wait(status: Any) -> None:
    with piped() as pipe:
        TextAnswer(pipe.console)(TurnFinished("s", "a", "r", "", status, error="down", hint="Look."))
        assert (QUEUED in pipe.err) is (status == "queued")
        assert ("Look." in pipe.err) is (status == "failed")
