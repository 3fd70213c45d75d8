"""What receivers are to be told: kept until it is taken, by one process at a time, in order for one thing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from local_store import BadValue, NotFound, Store, WrongState
from local_store import deliveries as module
from local_store.alerts import Standing
from local_store.deliveries import DeliveryCount, Post

from .conftest import OpenStore

TRIGGER, RESOLVE = Post("pd", "k", "trigger"), Post("pd", "k", "resolve")


async def test_a_delivery_is_claimed_once_and_then_gone(store: Store) -> None:
    (id_,) = await store.deliveries.post([TRIGGER])
    (claimed,) = await store.deliveries.claim("pd", 1, 5)
    assert (claimed.id, claimed.payload, claimed.state) == (id_, "trigger", "sending")
    assert await store.deliveries.claim("pd", 1, 5) == []
    await store.deliveries.done(id_)
    await store.deliveries.done(id_)
    assert await store.deliveries.count() == DeliveryCount()


async def test_what_concerns_one_thing_goes_in_order_and_other_things_do_not_wait(store: Store) -> None:
    await store.deliveries.post([TRIGGER, RESOLVE, Post("pd", "other", "x"), Post("slack", "k", "trigger")])
    claimed = await store.deliveries.claim("pd", 1, 5)
    assert [each.payload for each in claimed] == ["trigger", "x"]
    assert await store.deliveries.due() == {"slack": 0}
    await store.deliveries.release(claimed[0].id, retry_at_ms=50, error="busy")
    assert [each.payload for each in await store.deliveries.claim("pd", 49, 5)] == []
    (again,) = await store.deliveries.claim("pd", 50, 5)
    assert (again.payload, again.attempts, again.error) == ("trigger", 1, "busy")
    await store.deliveries.bury(again.id, "never")
    assert [each.payload for each in await store.deliveries.claim("pd", 1, 5)] == ["resolve"]
    assert await store.deliveries.count() == DeliveryCount(ready=1, sending=2, dead=1)


async def test_the_dead_wait_for_a_person(store: Store) -> None:
    (id_,) = await store.deliveries.post([TRIGGER])
    with pytest.raises(WrongState, match="not claimed"):
        await store.deliveries.bury(id_, "no")
    await store.deliveries.claim("pd", 1)
    with pytest.raises(WrongState, match="being sent"):
        await store.deliveries.retry(id_)
    with pytest.raises(WrongState, match="being sent"):
        await store.deliveries.drop(id_)
    await store.deliveries.bury(id_, "x" * 5_000)
    assert await store.deliveries.claim("pd", 2**60) == []
    (dead,) = await store.deliveries.list("dead")
    assert dead.error == "x" * 1_000
    again = await store.deliveries.retry(id_)
    assert (again.state, again.attempts) == ("ready", 0)
    await store.deliveries.drop(id_)
    with pytest.raises(NotFound):
        await store.deliveries.drop(id_)


async def test_the_claims_of_a_process_that_is_gone_are_taken_back(opening: OpenStore, store: Store) -> None:
    other = await opening()
    await store.deliveries.post([TRIGGER])
    assert len(await other.deliveries.claim("pd", 1)) == 1
    assert await store.deliveries.claim("pd", 1) == []
    await other.close()
    (again,) = await store.deliveries.claim("pd", 1)
    assert again.attempts == 1


async def test_a_claim_that_nobody_waited_for_is_taken_back(store: Store) -> None:
    await store.deliveries.post([TRIGGER])
    claiming = asyncio.ensure_future(store.deliveries.claim("pd", 1))
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.wait([claiming])
    assert len(await store.deliveries.claim("pd", 1)) == 1


async def test_two_processes_share_the_work(opening: OpenStore, store: Store) -> None:
    other = await opening()
    await store.deliveries.post([Post("pd", str(number), "x") for number in range(40)])
    taken: list[str] = []

    async def work(one: Store) -> None:
        while claimed := await one.deliveries.claim("pd", 1, 3):
            for each in claimed:
                taken.append(each.key)
                await one.deliveries.done(each.id)

    await asyncio.gather(work(store), work(other))
    assert sorted(taken, key=int) == [str(number) for number in range(40)]


async def test_too_many_and_too_much_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    first = await store.deliveries.post([Post("pd", str(number), "x") for number in range(3)])
    with pytest.raises(BadValue, match="wait already"):
        await store.deliveries.post([TRIGGER])
    await store.deliveries.claim("pd", 1)
    await store.deliveries.bury(first[0], "no")
    await store.deliveries.post([TRIGGER])
    assert [each.key for each in await store.deliveries.list()] == ["1", "2", "k"]
    for wrong in (Post("r" * 65, "k", "x"), Post("r", "k" * 256, "x"), Post("r", "k", "x" * 70_000)):
        with pytest.raises(BadValue, match="has at most"):
            await store.deliveries.post([wrong])


STANDING = Standing("k", "hot", "error", "it is hot", "node", 5, "docs/x.md", {"value": 9.5, "gpu": "0"})


async def test_an_alert_is_written_down_and_told_together_and_once(opening: OpenStore, store: Store) -> None:
    other = await opening()
    assert await store.alerts.begin(STANDING, [TRIGGER])
    assert not await other.alerts.begin(STANDING, [TRIGGER])
    (standing,) = await other.alerts.list()
    assert (standing.details, standing.told, standing.owner) == (STANDING.details, True, store.alerts.me)
    assert (await store.deliveries.count()).ready == 1
    assert await other.alerts.acknowledge("k", [])
    assert not await store.alerts.acknowledge("k", [TRIGGER])
    assert not await other.alerts.end("k", [RESOLVE]), "it is another's"
    assert await store.alerts.end("k", [RESOLVE])
    assert not await store.alerts.end("k", [RESOLVE])
    assert [each.payload for each in await store.deliveries.list()] == ["trigger", "resolve"]


async def test_what_was_kept_quiet_ends_quietly(store: Store) -> None:
    await store.alerts.begin(replace(STANDING, told=False))
    assert await store.alerts.end("k", [RESOLVE])
    await store.alerts.begin(replace(STANDING, told=False))
    assert await store.alerts.tell("k", [TRIGGER]) and not await store.alerts.tell("k", [TRIGGER])
    assert await store.alerts.end("k", [RESOLVE])
    assert [each.payload for each in await store.deliveries.list()] == ["trigger", "resolve"]


async def test_the_alerts_of_a_process_that_is_gone_are_taken_over(opening: OpenStore, store: Store) -> None:
    other = await opening()
    await other.alerts.begin(STANDING)
    assert await store.alerts.take_over() == []
    await other.close()
    assert [each.key for each in await store.alerts.take_over()] == ["k"]
    assert await store.alerts.end("k", [])


async def test_silences_end_by_themselves_or_by_hand(store: Store) -> None:
    short = await store.alerts.silence("rule=a", until=2**50)
    long = await store.alerts.silence("rule=b", reason="at work")
    assert await store.alerts.silences(2**50 - 1) == [short, long]
    assert await store.alerts.silences(2**50) == [long]
    await store.alerts.unsilence(long.id)
    with pytest.raises(NotFound):
        await store.alerts.unsilence(long.id)


async def test_an_alert_that_is_too_long_is_refused(store: Store) -> None:
    for wrong in (replace(STANDING, key="k" * 256), replace(STANDING, summary="s" * 5_000)):
        with pytest.raises(BadValue, match="at most"):
            await store.alerts.begin(wrong)


async def test_a_store_with_alerts_is_sound(store: Store) -> None:
    await store.alerts.begin(STANDING, [TRIGGER])
    checks = await store.check(full=True)
    assert {each.name for each in checks if not each.ok} <= {"recovery key", "key slots"}
