"""Targets are asked, their numbers remembered and kept; whatever a target does, the others are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backend_client.errors import Unreachable
from backend_client.scraping.exposition import Reader
from backend_client.scraping.scraper import Scraped, ScrapeTarget
from local_store import Argon2Cost, KeyPolicy, StorePaths, open_store
from local_store.errors import StoreFull
from local_store.metrics import Metrics as Kept
from sophia_core.commands import BadArguments
from sophia_core.events import MetricsMeasured, Notice, SettingChanged
from sophia_core.metrics import collecting, keeping
from sophia_core.metrics.metrics import HOW_TO, LOCKED, OFF
from sophia_core.metrics.ports import Reading, Target
from tests.metrics.bench import BOX, NODE, TWO, Measuring, until
from tests.metrics.test_own import finished

Open = Callable[..., Measuring]


@pytest.fixture
async def measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    monkeypatch.setattr(collecting, "TELL_S", 0.1)
    opened: list[Measuring] = []

    def make(config: str = TWO, passphrase: str | None = None, home: Path = tmp_path / "h") -> Measuring:
        opened.append(Measuring(home, config, passphrase))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def kept(it: Measuring, signal: str, **labels: str) -> list[float]:
    """The samples of the last minute in the store: of each second the lowest and the highest."""
    assert it.vault.store is not None
    series = await it.vault.store.metrics.series(signal, labels)
    now = int(time.time() * 1000)
    told = await it.vault.store.metrics.range(series, now - 60_000, now + 2000, 1000)
    return [value for points in told.points.values() for point in points for value in {point.min, point.max}]


async def test_numbers_are_told_remembered_and_kept(measuring: Open) -> None:
    it = measuring()
    await it.vault.open()
    it.metrics.attend()
    await until(lambda: len(it.metrics.readings()) == 2)
    readings = it.metrics.readings()
    assert readings["box"].health == "up" and readings["box"].values["requests_running"] == 3
    assert readings["node"].values["node_load1"] == 0.5
    assert [each.kind for each in it.metrics.targets] == ["vllm", "node"], "their names say what they are"
    await until(lambda: len(it.heard(MetricsMeasured)) >= 2)
    now = time.time()
    tracks = await it.metrics.history("requests_running", now - 5, now + 1, 50)
    assert [track.name for track in tracks] == ["box"] and {value for _, value in tracks[0].points} == {3.0}
    await it.metrics.close()
    assert set(await kept(it, "requests_running", target="box")) == {3.0}
    assert set(await kept(it, "up", target="node")) == {1.0}
    assert not it.heard(Notice)


async def test_a_target_that_fails_says_why_and_disturbs_nobody(measuring: Open) -> None:
    it = measuring()
    await it.vault.open()
    it.wire.pages[BOX] = Unreachable("nothing answers at http://box:8000\x1b[31m")
    it.metrics.attend()
    await until(lambda: "node" in it.metrics.readings() and "box" in it.metrics.readings())
    box = it.metrics.readings()["box"]
    assert (
        (box.health, box.values) == ("down", {})
        and "\x1b" not in box.reason
        and "nothing answers" in box.reason.lower()
    )
    assert it.metrics.readings()["node"].health == "up"
    it.wire.pages[BOX] = "vllm:num_requests_running 1\n"
    await until(lambda: it.metrics.readings()["box"].health == "up")


async def test_a_page_of_nonsense_is_no_reading_of_zeros(measuring: Open) -> None:
    it = measuring()
    it.wire.pages.update({BOX: "<<< \x00 not metrics {{{ \n" * 50, NODE: "node_load1 NaN\nnode_load1{x=} 3\n"})
    readings = await it.metrics.look()
    assert {name: dict(each.values) for name, each in readings.items()} == {"box": {}, "node": {}}
    assert all(each.reason for each in readings.values())


async def test_one_look_that_failed_leaves_the_last_numbers_for_a_moment(measuring: Open) -> None:
    it = measuring()
    collector, now = it.metrics._collector, time.time()
    collector.watch((Target("box", "vllm"),))
    collector.measured(Reading("box", now, "up", values={"x": 1.0}))
    collector.measured(Reading("box", now + 1, "down", reason="Why."))
    assert (stale := collector.readings()["box"]).health == "stale" and stale.values == {"x": 1.0}
    assert stale.reason == "Why."
    collector.measured(Reading("box", now + 60, "down", reason="Why."))
    assert collector.readings()["box"].health == "down" and not collector.readings()["box"].values


async def test_what_was_not_asked_lately_is_stale_also_when_the_clock_jumps(measuring: Open) -> None:
    it = measuring()
    collector = it.metrics._collector
    collector.watch((Target("box", "vllm"),))
    for at in (time.time() - 60, time.time() + 3600):
        collector.measured(Reading("box", at, "up"))
        assert collector.readings()["box"].health == "stale"


async def test_who_tells_too_much_is_asked_less_often_and_not_stale_for_that(measuring: Open) -> None:
    it = measuring()
    collector, asked = it.metrics._collector, ScrapeTarget("box", "http://box/metrics", "vllm")
    collector.watch((Target("box", "vllm"),))
    page = await Reader().read(b"vllm:num_requests_running 1\n")
    for again, health in ((0.0, "stale"), (9.0, "up")):
        collector.scraped(Scraped(asked, time.time() - 12, 1.0, 0.1, page, again_s=again))
        assert collector.readings()["box"].health == health
    assert collector.readings()["box"].reason == "It tells so much that it is asked every 9 s only."


async def test_readings_of_a_second_are_told_once(measuring: Open) -> None:
    it = measuring()
    collector = it.metrics._collector
    collector.watch(tuple(Target(f"t{number}", "other") for number in range(20)))
    for number in range(20):
        collector.measured(Reading(f"t{number}", time.time(), "up"))
    assert len(it.heard(MetricsMeasured)) == 1
    await until(lambda: len(it.heard(MetricsMeasured)) == 2)
    assert len(it.heard(MetricsMeasured)[1].targets) == 19


async def test_nothing_is_asked_and_nothing_wakes_without_targets(measuring: Open) -> None:
    it = measuring("[metrics]\ngpu = 'off'\n")
    await it.vault.open()
    it.metrics.attend()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not it.wire.calls and not it.heard(MetricsMeasured)
    assert not [task for task in asyncio.all_tasks() if task.get_name() in ("metrics-asking", "metrics-keeping")]
    assert it.vault.store is not None and not (it.vault.store.paths.root / "metrics.db").exists()


async def test_switched_off_is_off(measuring: Open) -> None:
    it = measuring(TWO.replace("[metrics]", "[metrics]\nenabled = false"))
    assert it.metrics.targets == () and it.metrics.note == OFF
    assert await it.metrics.show() == OFF


async def test_while_locked_asking_goes_on_and_is_kept_afterwards(measuring: Open, tmp_path: Path) -> None:
    home = tmp_path / "h"
    cheap = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
    made = await open_store(
        StorePaths(home / "store", home / "device"), passphrase="pw", policy=cheap, allow_keyring=False
    )
    await made.close()
    it = measuring(passphrase="pw")
    await it.vault.open()
    it.metrics.attend()
    await until(lambda: len(it.metrics.readings()) == 2)
    await it.vault.lock()
    it.wire.pages[NODE] = "node_load1 7\n"
    await until(lambda: it.metrics.readings()["node"].values.get("node_load1") == 7)
    assert it.metrics.note == LOCKED
    await until(lambda: any(each.value == 7.0 for _, taken in it.metrics._keeper._waiting for each in taken))
    it.wire.pages[NODE] = "node_load1 0.1\n"
    await until(lambda: it.metrics.readings()["node"].values.get("node_load1") == 0.1)
    assert await it.vault.unlock("pw")
    await it.metrics.close()
    assert {7.0, 0.1} <= set(await kept(it, "node_load1", target="node"))
    assert it.metrics._keeper.lost == 0


async def test_what_waits_for_too_long_is_lost_and_said(measuring: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_WAITING", 3)
    it = measuring()
    keeper = it.metrics._keeper
    keeper.start()
    for second in range(10):
        keeper.keep("box", time.time() - 100 + second, {("x", ()): float(second)})
        keeper._gather()
    assert keeper.lost == 7
    await it.vault.open()
    await keeper.written()
    assert [each.text.split()[0] for each in it.heard(Notice)] == ["7"]
    assert keeper.lost == 0


async def test_a_store_that_refuses_is_said_to_once(measuring: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: object) -> None:
        raise StoreFull("the disk is full")

    monkeypatch.setattr(Kept, "append", refuse)
    it = measuring()
    await it.vault.open()
    keeper = it.metrics._keeper
    keeper.start()
    for _ in range(3):
        keeper.keep("box", time.time(), {("x", ()): 1.0})
        await keeper.written()
    assert [each.text for each in it.heard(Notice)] == ["Measurements are not kept now: the disk is full"]
    monkeypatch.undo()
    await keeper.written()
    assert await kept(it, "x", target="box")


async def test_of_two_apps_one_keeps_the_targets_and_both_what_they_counted(measuring: Open, tmp_path: Path) -> None:
    one, other = measuring(), measuring()
    for each in (one, other):
        await each.vault.open()
        each.metrics._keeper.start()
    for value, each in ((1.0, one), (2.0, other)):
        each.metrics._keeper.keep("box", time.time(), {("x", ()): value})
        each.bus.publish(finished())
        await each.metrics._keeper.written()
    assert await kept(one, "x", target="box") == [1.0]
    totals = await kept(one, "chat_requests_total", target="sophia")
    assert sum(totals) in (1.0, 2.0), "two ticks, of one second or of two"
    await one.metrics.close()
    other.metrics._keeper._look_at = 0.0
    other.metrics._keeper.keep("box", time.time(), {("y", ()): 3.0})
    await other.metrics._keeper.written()
    assert await kept(other, "y", target="box") == [3.0], "the other goes on where the one has left"


async def test_targets_are_added_and_removed_while_it_runs(measuring: Open) -> None:
    it = measuring(TWO.partition('[[metrics.targets]]\nname = "node"')[0])
    await it.vault.open()
    it.metrics.attend()
    await until(lambda: "box" in it.metrics.readings())
    said = await it.naming.add("node", NODE, "node")
    assert said == "node is asked from now on."
    await until(lambda: "node" in it.metrics.readings())
    assert f'url = "{NODE}"' in (it.home / "config.toml").read_text()
    for name, url in (("node", "http://else/metrics"), ("other", NODE + "/"), ("gpus", "http://x/m"), ("x", "ftp://x")):
        with pytest.raises(BadArguments):
            await it.naming.add(name, url)
    with pytest.raises(BadArguments, match="a name is a letter or a digit"):
        await it.naming.add("two words", "http://else/metrics")
    assert await it.naming.remove("node") == "node is not asked any more."
    assert "node" not in it.metrics.readings() and NODE not in (it.home / "config.toml").read_text()
    with pytest.raises(BadArguments, match="No target"):
        await it.naming.remove("node")
    assert [each.after for each in it.heard(SettingChanged)] == [NODE, None]


async def test_a_shell_looks_twice_so_that_there_are_rates(measuring: Open) -> None:
    it = measuring()
    counted = iter(range(0, 10_000, 100))
    opened = it.wire.open

    async def counting(call):  # type: ignore[no-untyped-def]
        it.wire.pages[BOX] = f"vllm:generation_tokens_total {next(counted)}\n"
        return await opened(call)

    it.wire.open = counting  # type: ignore[method-assign]
    rows = await it.metrics.show("box")
    assert isinstance(rows, list)
    rate = next(row.value for row in rows if row.signal == "generation_tokens_per_s")
    assert rate > 0
    with pytest.raises(BadArguments):
        await it.metrics.show("nobody")


async def test_without_anybody_to_ask_it_is_said_how_to(measuring: Open) -> None:
    it = measuring("")
    if not it.metrics.targets:
        assert HOW_TO in str(await it.metrics.list_targets()) and HOW_TO in str(await it.metrics.show())
