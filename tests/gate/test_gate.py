"""The gate of the app: rules, files of rules, and what waits until a person says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.gate.asking import on_behalf, request
from sophia_core.gate.happenings import ApprovalAsked
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.gate.rule_file import parse
from sophia_core.gate.rules import Rule, judge, matches, rule_of
from sophia_core.gate.several import Several
from sophia_core.runtime import Runtime, open_runtime
from sophia_core.settings import load_settings
from sophia_core.swarm.log import StoreApprovals


def command(line: str, call: str = "1") -> ApprovalRequest:
    asked = request("run", "run", "Run a command.", command=line, boxed=True, folder="/project")
    return on_behalf(asked, "chat", "session", call=call)


def test_deny_wins_over_ask_and_ask_over_allow() -> None:
    rules = (Rule("allow", "run", "git"), Rule("ask", "run", "git push"), Rule("deny", "run", "git push --force"))
    assert [judge(command(f"git {each}"), rules).effect for each in ("log", "push", "push --force")] == [
        "allow",
        "ask",
        "deny",
    ]


def test_a_rule_is_for_its_folder() -> None:
    there = Rule("allow", "run", "pytest", folder="/elsewhere")
    assert judge(command("pytest"), (there,)).effect == "ask"


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("*.py", "a/b.py", True),
        ("src/**", "src/a/b", True),
        ("src/*", "src/a/b", False),
        ("./a.py", "a.py", True),
        ("./a.py", "b/a.py", False),
    ],
)
def test_patterns_of_files(glob: str, path: str, fits: bool) -> None:
    assert matches(glob, path) is fits


def test_always_is_for_just_this_and_for_nothing_that_is_unclear() -> None:
    assert rule_of(command("pytest -q")) == Rule("allow", "run", "pytest -q", folder="/project", why="Run a command.")
    assert rule_of(command("pytest; ls")) is None
    assert rule_of(command("pytest > x")) is None


def test_a_file_with_a_mistake_opens_nothing() -> None:
    allows, wrong = (
        b'[[rule]]\neffect = "allow"\ntool = "run"\n',
        b'[[rule]]\neffect = "deny"\ntool = "run"\ncomand = "x"\n',
    )
    text = b'mode = "auto"\n' + allows + wrong
    found = parse(text, "approvals.toml")
    assert (found.mode, found.rules) == ("ask", ())
    assert "comand" in str(found.problems[0])
    good = parse(b'mode = "plan"\n[[rule]]\neffect = "deny"\ntool = "*"\npath = "private/**"\n', "approvals.toml")
    assert (good.mode, len(good.rules), good.problems) == ("plan", 1, ())


@asynccontextmanager
async def app(home: Path) -> AsyncIterator[Runtime]:
    env = {"SOPHIA_HOME": str(home)}
    async with open_runtime(load_settings(env), env=env) as runtime:
        yield runtime


async def begun(runtime: Runtime, asked: ApprovalRequest) -> tuple[asyncio.Task[Decision], str]:
    runtime.swarm_side.gate.attended = True
    told = asyncio.Event()
    stop = runtime.bus.subscribe(lambda event: told.set() if isinstance(event, ApprovalAsked) else None)
    waits = asyncio.create_task(runtime.swarm_side.gate.pass_(asked))
    await asyncio.wait_for(told.wait(), 30)
    stop()
    return waits, asked.id


async def test_what_waits_is_decided_once_and_by_a_rule_from_then_on(tmp_path: Path) -> None:
    async with app(tmp_path) as runtime:
        waits, id_ = await begun(runtime, command("pytest -q"))
        assert "pytest" in str(await runtime.run("approval.list"))
        with pytest.raises(NeedsConfirmation, match="pytest -q"):
            await runtime.run("approval.allow", id_, "rule")
        await runtime.run("approval.allow", id_[:8], "rule", confirmed=True)
        assert (await waits).allowed
        with pytest.raises(CommandError):
            await runtime.run("approval.allow", id_, confirmed=True)
        assert (await runtime.swarm_side.gate.pass_(command("pytest -q", "2"))).by == "your rules"
        (rule,) = await (await runtime.vault.get()).approvals.rules.list()
        await runtime.run("approval.forget", rule.id, confirmed=True)
        waits, id_ = await begun(runtime, command("pytest -q", "3"))
        await runtime.run("approval.deny", id_, "not now")
        assert (await waits) == Decision(False, "once", (await waits).by, "not now")


async def test_who_stops_waiting_withdraws_and_where_nobody_is_it_is_refused(tmp_path: Path) -> None:
    async with app(tmp_path) as runtime:
        waits, _ = await begun(runtime, command("make"))
        waits.cancel()
        await asyncio.wait([waits])
        assert await (await runtime.vault.get()).approvals.count() == 0
        runtime.swarm_side.gate.attended = False
        assert not (await runtime.swarm_side.gate.pass_(command("make"))).allowed


async def test_the_mode_is_kept_in_the_file(tmp_path: Path) -> None:
    async with app(tmp_path) as runtime:
        await runtime.run("approval.mode", "auto", confirmed=True)
        assert (await runtime.swarm_side.gate.pass_(command("make"))).allowed
        await runtime.run("approval.rule", "deny", "run", "make", confirmed=True)
        assert not (await runtime.swarm_side.gate.pass_(command("env make"))).allowed


async def test_what_waits_in_several_places_is_decided_where_it_waits(tmp_path: Path) -> None:
    """A chat asks in the store of its machine, a run in a database that several share; two stores stand for both."""
    async with app(tmp_path / "a") as here, app(tmp_path / "b") as there:
        logs = [StoreApprovals(await each.vault.get()) for each in (here, there)]
        for log, line in zip(logs, ("make", "pytest"), strict=True):
            await log.ask(command(line))

        async def both() -> Several:
            return Several(*logs)

        here.swarm_side.approvals.log = both
        assert [each.request.command for each in await (await both()).waiting()] == ["make", "pytest"]
        await here.run("approval.deny", command("pytest").id)
        assert [each.request.command for each in await (await both()).waiting()] == ["make"]
        found = await logs[1].asked(command("pytest").id)
        assert found and found.decision and not found.decision.allowed
