"""Costs in a whole app: booked with each answer, summed up, told once across restarts, and stopped where wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sophia_core.alerts.findings import Look, findings
from sophia_core.alerts.rule import Budget, Rule
from sophia_core.commands import CommandError
from sophia_core.costs.settings import BudgetSettings
from sophia_core.events import BudgetReached, Notice, TurnFinished
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import DONE, ScriptedReply, ScriptedTransport, chat, delta, usage

PROVIDERS = """[routing]
embedded_fallback = false
daily_cap_usd = 1000
[chat]
titles = "words"
[[providers]]
name = "router"
base_url = "http://router.test/v1"
model = "dear"
kind = "openrouter"
context_window = 4096
[[providers]]
name = "box"
base_url = "http://box.test/v1"
model = "own"
kind = "vllm"
context_window = 4096
tier = 5
"""
HARD = '[[costs.budgets]]\nname = "team"\nusd = 1.0\nhard_stop = true\n'


def dear(cost: float) -> ScriptedReply:
    """An answer of a server that tells what it cost."""
    return ScriptedReply((delta(content="Yes."), delta("stop"), usage(1000, 100, cost=cost), DONE))


class House:
    """A home, and the apps that were opened in it one after the other or at once."""

    def __init__(self, home: Path) -> None:
        self.home, self.opened = home, list[Runtime]()
        self.reached: list[BudgetReached] = []
        self.said: list[Notice] = []

    async def open(self, config: str, *script: ScriptedReply) -> Runtime:
        (self.home / "config.toml").write_text(PROVIDERS + config)
        env = {"SOPHIA_HOME": str(self.home), "SOPHIA_NO_KEYRING": "1"}
        loaded = load_settings(env)
        assert not loaded.problems
        runtime = Runtime(loaded, transport=ScriptedTransport(*script), env=env)
        runtime.bus.subscribe(lambda event: self.reached.append(event) if isinstance(event, BudgetReached) else None)
        runtime.bus.subscribe(lambda event: self.said.append(event) if isinstance(event, Notice) else None)
        self.opened.append(runtime)
        await runtime.start()
        return runtime

    async def ask(self, runtime: Runtime, line: str = "chat.send hello") -> TurnFinished:
        finished = await runtime.dispatch(line)
        assert isinstance(finished, TurnFinished)
        await runtime.costs.settled()
        return finished


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    for each in made.opened:
        await each.close()


async def test_each_figure_says_how_it_is_known(house: House) -> None:
    runtime = await house.open("", dear(0.25), chat("Mine."))
    first = await house.ask(runtime)
    assert (first.cost_usd, first.cost_known) == (0.25, "reported")
    runtime.current.provider = "box"
    second = await house.ask(runtime)
    assert (second.cost_usd, second.cost_known) == (None, "")
    rows = await runtime.costs.show("provider")
    assert [(row.what, row.cost, row.known) for row in rows] == [
        ("router", "$0.25", "reported"),
        ("box", "–", "unknown"),
    ]
    (day,) = await runtime.costs.show("day")
    assert day.cost == "$0.25 or more"


async def test_a_machine_by_the_hour_is_shared_out_by_its_busy_seconds(house: House) -> None:
    runtime = await house.open("[costs.hourly_usd]\nbox = 7200.0\n", chat("Mine."))
    runtime.current.provider = "box"
    finished = await house.ask(runtime)
    assert finished.cost_known == "amortised"
    assert finished.cost_usd is not None
    assert 0 < finished.cost_usd <= 2.0 * finished.duration_s
    store = await runtime.vault.get()
    idle = next(each for each in await runtime.costs.read_lines(store) if each.what == "box idle today")
    assert "an hour" in idle.note


async def test_what_asked_is_booked_with_it(house: House) -> None:
    (house.home / "macros").mkdir()
    (house.home / "macros" / "digest.toml").write_text('help = "Ask."\n[[steps]]\nask = "hi"\n')
    runtime = await house.open("", dear(0.5), dear(0.25))
    await house.ask(runtime)
    await runtime.run("macro.run", "digest")
    tasks = {row.what: row.usd for row in await runtime.costs.show("task")}
    assert tasks == {"chat": 0.5, "macro digest": 0.25}
    business = {(row.by, row.who): row.answers for row in await runtime.costs.business()}
    assert business["person", "you"] == 2
    assert business["model", "dear"] == 2


async def test_each_level_is_told_once_also_after_a_restart_and_beside_others(house: House) -> None:
    config = '[[costs.budgets]]\nname = "team"\nusd = 1.0\nperiod = "month"\n'
    runtime = await house.open(config, dear(0.4), dear(0.2), dear(0.3))
    for _ in range(3):
        await house.ask(runtime)
    assert [each.level for each in house.reached] == [0.5, 0.8]
    assert sum("The budget team" in each.text for each in house.said) == 2
    await runtime.close()
    other = await house.open(config, dear(0.2))
    third = await house.open(config)
    await house.ask(other)
    third.costs.look()
    await third.costs.settled()
    assert [each.level for each in house.reached] == [0.5, 0.8, 1.0]
    assert not house.reached[-1].stops


async def test_a_spent_budget_stops_those_who_cost_money_and_an_override_goes_on(house: House) -> None:
    runtime = await house.open(HARD, dear(1.5), chat("Mine."), dear(0.5))
    await house.ask(runtime)
    assert house.reached[-1].stops
    free = await house.ask(runtime)
    assert free.provider == "box", "whoever costs nothing goes on answering"
    runtime.current.provider = "router"
    stopped = await house.ask(runtime)
    assert stopped.status == "failed"
    assert "the budget 'team' of $1.00 a month is spent" in (stopped.error or "")
    assert "cost.override" in (stopped.hint or "")
    assert "may be exceeded until" in str(await runtime.dispatch("cost.override 2h"))
    assert (await house.ask(runtime)).status == "complete"
    assert "stop again" in str(await runtime.dispatch("cost.override 0"))
    assert (await house.ask(runtime)).status == "failed"
    (row,) = await runtime.costs.list()
    assert (row.used, row.stop) == ("200%", "stops now")


async def test_another_process_is_stopped_by_what_this_one_spent(house: House) -> None:
    here, there = await house.open(HARD, dear(2.0)), await house.open(HARD)
    await house.ask(here)
    there.current.provider = "router"
    assert (await house.ask(there)).status == "failed"


@pytest.mark.parametrize("scope", ["tag", "folder"])
async def test_a_budget_of_some_sessions_stops_only_them(house: House, scope: str) -> None:
    config = f'[[costs.budgets]]\nname = "work"\nscope = "{scope}"\nof = "work"\nusd = 1.0\nhard_stop = true\n'
    runtime = await house.open(config, dear(2.0), dear(0.5))
    runtime.current.provider = "router"
    first = await house.ask(runtime)
    store = await runtime.vault.get()
    if scope == "tag":
        await store.organising.tag(first.session_id, ["work"])
    else:
        await store.organising.move(first.session_id, "work")
    assert (await house.ask(runtime)).status == "failed"
    await runtime.run("session.new")
    assert (await house.ask(runtime)).status == "complete"


async def test_a_budget_is_one_of_the_things_that_alerts_watch(house: House) -> None:
    runtime = await house.open('[[costs.budgets]]\nname = "team"\nusd = 1.0\n', dear(0.85))
    await house.ask(runtime)
    look = runtime.alerts.sources.look(0.0)
    found = findings(Rule("budget", Budget(budget="team")), Look(0.0, budgets=look.budgets))
    assert [(each.labels["level"], each.bad) for each in found] == [("50%", True), ("80%", True), ("100%", False)]


async def test_the_pane_has_todays_costs_and_every_budget(house: House) -> None:
    runtime = await house.open('[[costs.budgets]]\nname = "team"\nusd = 1.0\n', dear(0.25))
    await house.ask(runtime)
    assert runtime.costs.lines() == ()
    (reading,) = [each for each in asyncio.all_tasks() if each.get_name() == "costs"]
    await reading
    lines = runtime.costs.lines()
    assert {each.what: each.usd for each in lines} == {"today": 0.25, "this month": 0.25, "budget team": 0.25}


@pytest.mark.parametrize("line", ["cost.override 2years", "cost.override 9000h", "cost.override 2h budget=nobody"])
async def test_a_wrong_override_says_what_is_right(house: House, line: str) -> None:
    runtime = await house.open(HARD)
    with pytest.raises(CommandError):
        await runtime.dispatch(line)


async def test_sums_begin_where_a_person_says(house: House) -> None:
    runtime = await house.open("", dear(0.25))
    await house.ask(runtime)
    for since in ("today", "week", "month", "all", "7d", "12h", "2020-01-01"):
        assert len(await runtime.costs.show("day", since=since)) == 1, since
    assert await runtime.costs.show("day", since="2999-01-01") == []
    with pytest.raises(CommandError):
        await runtime.costs.show("day", since="yesteryear")


def test_a_budget_names_what_it_is_of() -> None:
    with pytest.raises(ValueError, match="`of` names"):
        BudgetSettings(name="x", scope="provider", usd=1.0)
    with pytest.raises(ValueError, match="`of` names"):
        BudgetSettings(name="x", of="box", usd=1.0)
