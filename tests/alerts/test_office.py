"""From a look to the receiver: each alert once, whatever fails on the way; and the commands about it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backend_client import HttpTransport
from local_store.deliveries import DeliveryCount, Post
from sophia_core.alerts import office
from sophia_core.alerts.alerts import Alerts
from sophia_core.alerts.slack import Slack
from sophia_core.alerts.telling import packed
from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.events import (
    AlertAcknowledged,
    AlertRaised,
    AlertResolved,
    DeliveryFailed,
    Event,
    MetricsMeasured,
    Notice,
)
from sophia_core.metrics.ports import Alert, Reading
from sophia_core.metrics.view.looking import Looking
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings

from .services import ROUTING_KEY, WEBHOOK, Fault, Service, pagerduty, serving, slack

FILE = """
[[rule]]
name = "hot"
signal = "gpu_temperature"
above = 80
resolve_after = 0
cooldown = 0
{rule}

[[receiver]]
name = "pd"
kind = "pagerduty"
url = "{pager}/v2/enqueue"
secret_env = "PD_KEY"

[[receiver]]
name = "team"
kind = "slack"
url = "{channel}"
secret_env = "SLACK_URL"
"""


def rows(found: object) -> list[Any]:
    """What a command lists."""
    assert isinstance(found, list)
    return found


class Bench:
    """A runtime with two receivers, and a target whose temperature is told."""

    def __init__(self, home: Path, pager: Service, channel: Service, rule: str, **env: str) -> None:
        self.pager, self.channel = pager, channel
        home.mkdir(exist_ok=True)
        (home / "alerts.toml").write_text(FILE.format(pager=pager.url, channel=channel.url, rule=rule))
        told = {"PD_KEY": ROUTING_KEY, "SLACK_URL": f"{channel.url}{WEBHOOK}"}
        self.env = {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1", "SOPHIA_METRICS__GPU": "off", **told, **env}
        self.transport = HttpTransport()
        self.runtime = Runtime(load_settings(self.env), transport=self.transport, env=self.env)
        self.alerts = self.runtime.alerts
        self.events: list[Event] = []
        self.degrees: float | None = 20.0
        self.alerts.sources.readings = self._readings
        self.runtime.bus.subscribe(self.events.append)

    def _readings(self) -> dict[str, Reading]:
        values = {} if self.degrees is None else {"gpu_temperature": self.degrees}
        return {"node": Reading("node", time.time(), "up", values=values)}

    def measured(self, degrees: float) -> None:
        """There is a newer number."""
        self.degrees = degrees
        self.runtime.bus.publish(MetricsMeasured(("node",)))

    def heard(self, kind: type[Event]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    async def until(self, so: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        """Waits until something is so."""
        async with asyncio.timeout(60):
            while True:
                found = so()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.01)

    async def all_told(self) -> bool:
        store = self.runtime.vault.store
        return store is not None and await store.deliveries.count() == DeliveryCount()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    monkeypatch.setattr(office, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(office, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(Slack, "pace_s", 0.0)
    opened: list[Bench] = []
    async with serving(pagerduty) as pager, serving(slack) as channel:

        async def start(rule: str = "", home: Path = tmp_path / "home", **env: str) -> Bench:
            made = Bench(home, pager, channel, rule, **env)
            opened.append(made)
            await made.runtime.start()
            return made

        yield start
        for each in opened:
            with suppress(asyncio.CancelledError):
                await each.runtime.close()
            await each.transport.aclose()


async def test_a_trouble_is_told_to_all_and_so_is_its_end(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    one.alerts.start()
    began = time.monotonic()
    one.measured(90.0)
    await one.until(lambda: len(one.pager.taken) == 1 and len(one.channel.taken) == 1)
    # A bound on a slow machine, not a measurement: benchmarks/alerts.py measures.
    assert time.monotonic() - began < 20
    (row,) = rows(await one.runtime.run("alerts.list"))
    assert (row.severity, row.standing, row.source, row.key) == ("warning", "told", "node", "hot/target=node")
    assert "acknowledged" in str(await one.runtime.run("alerts.ack", "1"))
    await one.until(lambda: len(one.pager.taken) == 2)
    (shown,) = Looking(one.runtime).now().alerts
    assert shown.action == "acknowledge", "at once, before the store is read again"
    one.measured(20.0)
    await one.until(one.all_told)
    await one.until(lambda: len(one.pager.taken) == 3 and len(one.channel.taken) == 3)
    assert one.pager.incidents == {"hot/target=node": ["trigger", "acknowledge", "resolve"]}
    assert await one.runtime.run("alerts.list") == []
    kinds = (AlertRaised, AlertAcknowledged, AlertResolved)
    assert [type(each) for each in one.events if isinstance(each, kinds)] == list(kinds)
    noted = [each.kind for each in await one.runtime.auditor.entries()]
    assert {"alert.raised", "alert.resolved", "alerts.ack"} <= set(noted)


async def test_what_ends_since_nobody_asks_its_target_is_told_with_why(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    one.alerts.sources.asked = lambda: {"node"}
    one.alerts.start()
    one.measured(90.0)
    await one.until(lambda: len(one.channel.taken) == 1)
    one.alerts.sources.readings, one.alerts.sources.asked = dict, frozenset
    one.runtime.bus.publish(MetricsMeasured(()))
    await one.until(lambda: len(one.channel.taken) == 2 and len(one.pager.taken) == 2)
    assert "Over, as its target is not asked any more." in one.channel.texts[1]
    assert one.heard(Notice)[-1].text.endswith("this is over, as its target is not asked any more.")
    assert [each.why for each in one.heard(AlertResolved)] == ["its target is not asked any more"]


async def test_what_fails_is_tried_again_until_it_is_taken(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    one.pager.faults = [500, "drop", (429, {"retry-after": "0"}), "garbage"]
    one.channel.faults = ["html", 503]
    one.alerts.start()
    one.measured(90.0)
    await one.until(lambda: len(one.pager.taken) == 1 and len(one.channel.taken) == 1)
    await one.until(one.all_told)
    assert [each.final for each in one.heard(DeliveryFailed)] == [False, False], "said once for each receiver"


async def test_what_is_refused_for_good_waits_for_a_person(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    one.channel.faults = [410]
    one.alerts.start()
    one.measured(90.0)
    await one.until(lambda: any(each.final for each in one.heard(DeliveryFailed)))
    await one.until(lambda: len(one.pager.taken) == 1)
    run = one.runtime.run
    (row,) = rows(await run("alerts.dead"))
    assert (row.receiver, row.standing) == ("team", "given up, 1 failed") and "410" in row.error
    receivers = {each.receiver: each for each in rows(await run("alerts.receivers"))}
    assert (receivers["team"].dead, receivers["team"].secret) == (1, "environment")
    with pytest.raises(NeedsConfirmation, match="team: hot/target=node"):
        await run("alerts.drop", "all")
    with pytest.raises(CommandError, match="no delivery"):
        await run("alerts.drop", "7")
    store = one.runtime.vault.store
    assert store is not None
    await store.deliveries.post([Post("nobody yet", "k", packed(Alert("k", "r", "error", "s", "x", 0.0)))])
    assert "2 alerts are told again now" in str(await run("alerts.retry", "all")), "also what waits for its next try"
    await one.until(lambda: len(one.channel.taken) == 1)
    with pytest.raises(CommandError, match="Nothing was given up"):
        await run("alerts.drop", "all")


async def test_while_the_store_is_locked_alerts_are_told_all_the_same(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench(SOPHIA_PASSPHRASE="a good long one")
    one.alerts.start()
    await one.runtime.vault.lock()
    one.measured(90.0)
    await one.until(lambda: len(one.pager.taken) == 1 and len(one.channel.taken) == 1)
    assert await one.runtime.vault.unlock("a good long one", None)

    async def written() -> bool:
        store = one.runtime.vault.store
        return store is not None and [each.key for each in await store.alerts.list()] == ["hot/target=node"]

    await one.until(written)
    one.measured(20.0)
    await one.until(lambda: len(one.pager.taken) == 2 and len(one.channel.taken) == 2)
    assert one.pager.incidents == {"hot/target=node": ["trigger", "resolve"]}


async def test_a_restart_resolves_what_stood_before(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    one.alerts.start()
    one.measured(90.0)
    await one.until(lambda: len(one.pager.taken) == 1)
    await one.until(one.all_told)
    await one.runtime.close()
    two = await bench()
    two.degrees = 90.0
    two.alerts.start()
    two.measured(90.0)
    await two.until(lambda: len(two.alerts.guard.watch.standing()) == 1)
    two.measured(20.0)
    await two.until(lambda: len(two.pager.taken) == 2)
    assert two.pager.incidents == {"hot/target=node": ["trigger", "resolve"]}


async def test_two_processes_tell_one_trouble_once(bench: Callable[..., Awaitable[Bench]]) -> None:
    one, two = await bench(), await bench()
    for each in (one, two):
        each.alerts.start()
    for each in (one, two):
        each.measured(90.0)
    await one.until(lambda: bool(one.heard(AlertRaised)) and bool(two.heard(AlertRaised)))
    for each in (one, two):
        each.measured(20.0)
    await one.until(lambda: bool(one.heard(AlertResolved)) and bool(two.heard(AlertResolved)))
    await one.until(one.all_told)
    await one.until(lambda: len(one.pager.taken) >= 2 and len(one.channel.taken) >= 2)
    assert one.pager.incidents == {"hot/target=node": ["trigger", "resolve"]} and len(one.channel.taken) == 2


async def test_silence_and_unsilence(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    await one.runtime.dispatch('alerts.silence target=node rule="h*" during=2h reason=work')
    one.alerts.start()
    one.measured(90.0)
    await one.until(lambda: [each.silenced for each in one.heard(AlertRaised)] == [True])
    (row,) = rows(await one.runtime.run("alerts.list"))
    (silence,) = rows(await one.runtime.run("alerts.silences"))
    assert (row.standing, silence.match, silence.reason) == ("silenced", 'target=node rule="h*"', "work")
    assert one.pager.requests == 0
    await one.runtime.run("alerts.unsilence", "1")
    await one.until(lambda: len(one.pager.taken) == 1)
    for line in ("alerts.silence target=", "alerts.silence x during=soon", "alerts.unsilence 9", "alerts.ack nothing"):
        with pytest.raises(CommandError):
            await one.runtime.dispatch(line)


async def test_a_test_alert_reaches_a_receiver_or_says_why_not(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench(SLACK_URL="")
    assert "has taken a test alert" in str(await one.runtime.run("alerts.test", "pd"))
    ((key, actions),) = one.pager.incidents.items()
    assert key.startswith("sophia/test/") and actions == ["trigger", "resolve"]
    with pytest.raises(CommandError, match="its webhook address is not set") as caught:
        await one.runtime.run("alerts.test", "team")
    assert caught.value.hint == "Set SLACK_URL, or keep it: sophia login alert:team --with-token"
    from backend_client.auth import Secret

    await one.runtime.login.keep_key("alert:team", Secret(f"{one.channel.url}{WEBHOOK}"))
    assert "has taken" in str(await one.runtime.run("alerts.test", "team"))
    with pytest.raises(CommandError, match="no receiver 'x'"):
        await one.runtime.run("alerts.test", "x")
    log = one.runtime.paths.log_file.read_text()
    assert ROUTING_KEY not in log and WEBHOOK not in log


async def test_a_changed_file_counts_and_a_broken_one_changes_nothing(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench(rule='summary = "{target} burns"')
    guard, path = one.alerts.guard, one.runtime.paths.config_file.with_name("alerts.toml")
    await guard.look()
    assert {each.name for each in guard.file.receivers} == {"pd", "team"}
    good = path.read_text()
    path.write_text("[[rule\n")
    guard.look_again()
    await guard.look()
    assert {each.name for each in guard.file.receivers} == {"pd", "team"} and not guard.file.readable
    path.write_text(good.replace("burns", "is on fire"))
    one.degrees = 90.0
    guard.look_again()
    await guard.look()
    assert [each.summary for each in one.heard(AlertRaised)] == ["node is on fire"]


async def test_under_failing_receivers_nothing_is_lost(bench: Callable[..., Awaitable[Bench]]) -> None:
    """The small version of benchmarks/alerts.py."""
    one = await bench()
    luck = random.Random(7)  # noqa: S311 - the same each time
    bad: tuple[int | Fault, ...] = (500, 503, 429, "drop", "garbage")
    one.pager.choose = lambda: luck.choice(bad) if luck.random() < 0.3 else None
    one.alerts.start()
    await one.until(lambda: bool(one.alerts.receivers()))
    store = one.runtime.vault.store
    assert store is not None
    count = 100
    posts = [
        Post("pd", f"k{number}", packed(Alert(f"k{number}", "r", "error", "s", "x", 0.0))) for number in range(count)
    ]
    await store.deliveries.post(posts)
    one.alerts.office.poke()
    await one.until(one.all_told)
    assert one.pager.counted() == {f"k{number}": 1 for number in range(count)}
    assert one.pager.requests > count


async def test_what_is_too_old_is_not_told(bench: Callable[..., Awaitable[Bench]]) -> None:
    """A backup that is put back holds what was to be told when it was made."""
    one = await bench()
    store = one.runtime.vault.store
    assert store is not None
    await one.alerts.guard.look()
    late = Alerts(
        one.runtime.vault,
        one.runtime.bus,
        one.transport,
        one.runtime.settings.alerts,
        one.runtime.paths.config_file.with_name("alerts.toml"),
        one.env,
        clock=lambda: time.time() + 2 * 86_400,
    )
    await store.deliveries.post([Post("pd", "k", packed(Alert("k", "r", "error", "s", "x", 0.0)))])
    late.start()
    await one.until(lambda: any(each.final for each in one.heard(DeliveryFailed)))
    await late.close()
    (dead,) = await store.deliveries.list("dead")
    assert "too old" in dead.error and one.pager.requests == 0


async def test_whoever_watches_does_not_end_unseen(bench: Callable[..., Awaitable[Bench]]) -> None:
    one = await bench()
    broken = True

    def readings() -> dict[str, Reading]:
        if broken:
            raise OverflowError
        return one._readings()

    one.alerts.sources.readings = readings
    one.alerts.start()
    for _ in range(2):
        one.measured(90.0)
        await one.until(lambda: any("cannot be judged" in each.text for each in one.heard(Notice)))
    assert sum("cannot be judged" in each.text for each in one.heard(Notice)) == 1
    broken = False
    one.alerts.guard.look_again()
    await one.until(lambda: len(one.pager.taken) == 1)
