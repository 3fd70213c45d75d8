"""A wait that was learnt counts only where somebody else can be asked, in the real client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest

from backend_client import BackendClient, Call, Endpoint, NoAuth, Provider, StaticEndpoint, Timeouts
from backend_client.fleet import Hurry
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.scripted import DONE, EVENT_STREAM, delta


class Slow:
    """Every server begins after a while of its own."""

    def __init__(self, **after: float) -> None:
        self.after, self.asked = after, list[tuple[str, float]]()

    async def open(self, call: Call) -> Any:
        name = call.url.split("//")[1].partition(".")[0]
        self.asked.append((name, call.timeouts.first_token))
        await asyncio.sleep(self.after[name])
        return _Answer(name)

    async def aclose(self) -> None:
        """Nothing is kept."""


class _Answer:
    status, headers = 200, EVENT_STREAM

    def __init__(self, name: str) -> None:
        self.body = self._body(name)

    async def _body(self, name: str) -> AsyncGenerator[bytes, None]:
        yield delta(content=name)
        yield delta("stop")
        yield DONE

    async def aclose(self) -> None:
        """Nothing is open."""


def named(name: str) -> Provider:
    return Provider(name, StaticEndpoint(Endpoint(f"http://{name}.test", None, NoAuth())), Timeouts(), 1)


async def asked(slow: Slow, *names: str, hurried: Hurry, pinned: str | None = None) -> str:
    loop = asyncio.get_running_loop()
    client = BackendClient(
        [named(name) for name in names],
        transport=slow,
        rng=random.Random(1),  # noqa: S311
        clock=loop.time,
    )
    for station in client.fleet.stations.values():
        station.hurry = hurried
    async with client:
        chunks, error = await collect(client.stream(ASK, pinned))
    assert error is None
    return text_of(chunks)


HURRY = Hurry(10.0, 100_000)


def test_who_is_silent_for_too_long_is_left_and_the_last_one_is_waited_for() -> None:
    slow = Slow(near=60, far=60)
    assert in_virtual_time(partial(asked, slow, "near", "far", hurried=HURRY)) == "far"
    assert slow.asked == [("near", 10.0), ("far", 120.0)]


@pytest.mark.parametrize(("names", "pinned"), [(("near",), None), (("near", "far"), "near")])
def test_who_stands_alone_is_waited_for_as_the_settings_say(names: tuple[str, ...], pinned: str | None) -> None:
    slow = Slow(near=60, far=0)
    assert in_virtual_time(partial(asked, slow, *names, hurried=HURRY, pinned=pinned)) == "near"
    assert slow.asked == [("near", 120.0)]


def test_a_longer_request_than_all_that_were_measured_has_its_time() -> None:
    slow = Slow(near=60, far=0)
    assert in_virtual_time(partial(asked, slow, "near", "far", hurried=Hurry(10.0, 5))) == "near"
