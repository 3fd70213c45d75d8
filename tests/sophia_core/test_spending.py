"""The cost cap: true over restarts, days, instances and a store that does not take what it is given."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backend_client.fleet import CostCap
from local_store import Store, StorePaths
from local_store.errors import StoreError
from local_store.types import Usage
from sophia_core.events import Bus, TurnFinished, TurnStarted
from sophia_core.spending import LOOK_EVERY_S, Spending, midnight
from sophia_core.vault import Vault

PAID = frozenset({"router"})
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


class Till:
    """A store, a cap and whoever keeps it true."""

    def __init__(self, home: Path, limit: float | None = 5.0) -> None:
        self.bus, self.cap, self.now, self.changes = Bus(), CostCap(limit), time.time(), 0
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.spending = Spending(self.vault, self.cap, PAID, self._changed, lambda: self.now)
        self.bus.subscribe(self.spending)

    def _changed(self) -> None:
        self.changes += 1

    async def open(self) -> Till:
        await self.vault.open()
        await self.spending.settled()
        return self

    async def close(self) -> None:
        await self.spending.close()
        await self.vault.close()

    async def sync(self) -> float:
        await self.spending.settled()
        return round(self.cap.spent_usd, 6)

    @property
    def store(self) -> Store:
        assert self.vault.store
        return self.vault.store

    async def spend(self, cost: float, provider: str = "router", *, stored: bool = True) -> None:
        """What the client and a turn do, in their order."""
        self.bus.publish(TurnStarted("s", "q", "a", "r", "?"))
        if provider in PAID:
            self.cap.spent_usd += cost
        if stored:
            await put(self.store, cost, provider)
        self.told(cost, provider, saved=stored)

    def told(self, cost: float, provider: str = "router", *, saved: bool = True) -> None:
        self.bus.publish(TurnFinished("s", "a", "r", "x", "complete", provider, cost_usd=cost, saved=saved))


async def put(store: Store, cost: float, provider: str = "router") -> None:
    session = await store.sessions.create(title="t")
    turn = await store.turns.begin(session.id, None, "?", request_id="r")
    usage = Usage(1, 1, None, None, cost)
    await store.turns.finish(turn.answer.id, text="x", status="complete", provider=provider, usage=usage)


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    opened = await Till(tmp_path).open()
    yield opened
    await opened.close()


async def test_what_was_spent_counts_once_and_survives_a_restart(till: Till, tmp_path: Path) -> None:
    await till.spend(1.0)
    assert await till.sync() == 1.0
    await till.spend(0.5)
    assert await till.sync() == 1.5
    again = await Till(tmp_path).open()
    assert again.cap.spent_usd == 1.5, "known before the first question"
    await again.close()


async def test_several_instances_see_what_the_others_spend(till: Till, tmp_path: Path) -> None:
    other = await Till(tmp_path).open()
    await other.spend(2.0)
    await till.spend(1.0)
    assert await till.sync() == 3.0
    other.bus.publish(TurnStarted("s", "q", "a", "r", "?"))
    assert await other.sync() == 3.0, "seen with the next question"
    await other.close()


async def test_only_what_paid_providers_cost_counts(till: Till) -> None:
    await till.spend(4.0, "ours-with-a-price")
    assert await till.sync() == 0.0
    assert till.changes == 0


async def test_an_answer_that_is_still_coming_is_not_forgotten(till: Till) -> None:
    till.cap.spent_usd += 2.0
    await put(till.store, 1.0)
    till.spending.look()
    assert await till.sync() == 3.0
    await put(till.store, 2.0)
    till.told(2.0)
    assert await till.sync() == 3.0


async def test_an_answer_whose_cost_nobody_wrote_down_still_counts(till: Till) -> None:
    till.cap.spent_usd += 2.0
    till.bus.publish(TurnFinished("s", "a", "r", "", "cancelled", "router"))
    await till.spend(1.0)
    assert await till.sync() == 3.0


async def test_what_the_store_refuses_counts_until_it_is_taken(till: Till) -> None:
    refused = True

    async def write() -> None:
        if refused:
            raise StoreError("the disk is full")
        await put(till.store, 2.0)

    till.vault.keep(write)
    await till.spend(2.0, stored=False)
    assert await till.sync() == 2.0
    await till.spend(1.0)
    assert await till.sync() == 3.0
    refused = False
    await till.vault.write_kept()
    assert await till.sync() == 3.0
    await till.spend(0.5)
    assert await till.sync() == 3.5


async def test_what_is_never_written_counts_to_the_end_of_the_day(till: Till) -> None:
    await till.spend(2.0, stored=False)
    await till.spend(1.0)
    assert await till.sync() == 3.0
    till.now += 86_400
    till.spending.look()
    assert await till.sync() == 0.0


async def test_a_store_given_up_for_an_unsaved_one_leaves_its_sum_behind(till: Till) -> None:
    await till.spend(4.0)
    await till.vault.close()
    await till.vault.open_unsaved()
    assert await till.sync() == 4.0
    await till.spend(1.0)
    assert await till.sync() == 5.0
    assert till.cap.reached


async def test_a_store_that_is_opened_again_counts_once(till: Till) -> None:
    await till.spend(4.0)
    await till.vault.close()
    await till.vault.open()
    assert await till.sync() == 4.0
    await till.spend(1.0)
    await till.vault.close()
    await till.vault.open_unsaved()
    await till.spend(2.0)
    assert await till.sync() == 7.0


async def test_a_locked_store_leaves_what_this_process_spent(tmp_path: Path) -> None:
    till = Till(tmp_path)
    till.cap.spent_usd += 1.0
    till.spending.look()
    assert await till.sync() == 1.0
    await till.open()
    assert await till.sync() == 1.0
    await till.close()


@pytest.mark.parametrize("limit", [None, 5.0])
async def test_nothing_is_read_where_there_is_nothing_to_keep(tmp_path: Path, limit: float | None) -> None:
    till = Till(tmp_path, limit)
    till.spending = Spending(till.vault, till.cap, () if limit else PAID)
    till.bus.subscribe(till.spending)
    await till.open()
    till.cap.spent_usd = 7.0
    till.spending.look()
    await till.spending.settled()
    assert till.cap.spent_usd == 7.0
    await till.close()


async def test_a_cap_of_nothing_is_reached_from_the_start(tmp_path: Path) -> None:
    till = await Till(tmp_path, 0.0).open()
    assert till.cap.reached
    await till.close()


async def test_a_new_day_begins_with_nothing(till: Till) -> None:
    await till.spend(5.0)
    await till.spending.settled()
    assert till.cap.reached
    before = till.changes
    till.now = midnight(till.now) + 90_000
    till.spending.look()
    await till.spending.settled()
    assert (till.cap.reached, till.changes) == (False, before + 1)


async def test_the_timer_looks_often_enough_for_a_laptop_that_slept(till: Till) -> None:
    assert till.spending.next_look_in is not None
    assert 0 < till.spending.next_look_in <= LOOK_EVERY_S


async def test_closing_while_it_reads_leaves_nothing_running(till: Till) -> None:
    till.spending.look()
    await till.close()
    await till.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "spending"] == []


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-06-01", "2026-01-01"])
@pytest.mark.parametrize("hour", ["00:00", "01:30", "03:30", "12:00", "23:59"])
def test_a_day_begins_at_midnight_also_when_the_clocks_change(day: str, hour: str) -> None:
    at = datetime.fromisoformat(f"{day}T{hour}").replace(tzinfo=BERLIN)
    assert midnight(at.timestamp()) == datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN).timestamp()
