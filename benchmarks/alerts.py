"""Alerts that have to arrive: receivers that fail, processes that are killed, and how soon the first is told.

    python -m benchmarks.alerts [--deliveries 1000] [--failing 0.3] [--kills 20] [--seed 1]

A process delivers to a server that speaks PagerDuty's contract and fails now and then: with statuses, cut connections,
garbage, or by taking an alert and then breaking off before it says so. It is killed with `kill -9` again and again, and
another goes on. In the end every key has to be known there, in the right order. Then the way from a number that is
measured to the alert that is taken is timed, and what a look costs that finds nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from backend_client import HttpTransport
from benchmarks import table
from local_store import Store
from local_store.deliveries import DeliveryCount, Post
from sophia_core.alerts import office
from sophia_core.alerts.findings import Look
from sophia_core.alerts.rule_file import SHIPPED, read
from sophia_core.alerts.rules import Watch
from sophia_core.alerts.telling import packed
from sophia_core.events import MetricsMeasured
from sophia_core.metrics.ports import Alert, Reading
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.alerts.services import ROUTING_KEY, Fault, Service, pagerduty, serving

FILE = """
[[rule]]
name = "hot"
signal = "gpu_temperature"
above = 80
resolve_after = 0
cooldown = 0

[[receiver]]
name = "pd"
kind = "pagerduty"
url = "{url}/v2/enqueue"
secret_env = "PD_KEY"
"""
BAD: tuple[int | Fault, ...] = (500, 503, 429, "drop", "garbage")


def runtime(home: Path, transport: HttpTransport) -> Runtime:
    """SOPHIA on this home, with one receiver."""
    env = {
        "SOPHIA_HOME": str(home),
        "SOPHIA_NO_KEYRING": "1",
        "SOPHIA_METRICS__GPU": "off",
        "PD_KEY": ROUTING_KEY,
        "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1",
    }
    return Runtime(load_settings(env), transport=transport, env=env)


async def deliver(home: Path) -> None:
    """What the process does that is killed: deliver until nothing is left."""
    office.FIRST_PAUSE_S, office.LONGEST_PAUSE_S = 0.02, 0.1  # type: ignore[misc]
    transport = HttpTransport()
    one = runtime(home, transport)
    await one.start()
    one.alerts.start()
    store = _store(one)
    while await store.deliveries.count() != DeliveryCount():
        await _until(lambda: False, longest=0.05)
    await one.close()
    await transport.aclose()


async def _until(so: Callable[[], bool], longest: float = 120.0) -> None:
    """Waits until it is so, or for as long."""
    ends = time.monotonic() + longest
    while not so() and time.monotonic() < ends:  # noqa: ASYNC110 - other processes have no events
        await asyncio.sleep(0.002)


def _enough(service: Service, want: int, child: asyncio.subprocess.Process | None = None) -> bool:
    return len(service.taken) >= want or (child is not None and child.returncode is not None)


def _store(one: Runtime) -> Store:
    store = one.vault.store
    if store is None:
        raise SystemExit(f"The store is {one.vault.state}: {one.vault.detail}")
    return store


async def survive(args: argparse.Namespace, home: Path) -> list[str]:
    """Kill the delivering process again and again; return the row that tells what came of it."""
    luck = random.Random(args.seed)
    transport = HttpTransport()
    async with serving(pagerduty) as service:
        service.choose = lambda: luck.choice(BAD) if luck.random() < args.failing else None
        (home / "alerts.toml").write_text(FILE.format(url=service.url))
        one = runtime(home, transport)
        await one.start()
        posts = [
            Post("pd", f"k{number}", packed(Alert(f"k{number}", "r", "error", "s", "x", 0.0, action=action)))
            for number in range(args.deliveries // 2)
            for action in ("trigger", "resolve")
        ]
        await _store(one).deliveries.post(posts)
        await one.close()
        began = time.monotonic()
        kills = await _kill(args, home, luck, service)
        took = time.monotonic() - began
        late = runtime(home, transport)
        await late.start()
        left = await _store(late).deliveries.count()
        await late.close()
    await transport.aclose()
    lost, wrong, twice = _judged(args.deliveries // 2, service)
    return [
        f"{len(posts)}, {args.failing:.0%} failing, {kills} kills",
        f"{lost} lost, {wrong} out of order, {left.dead} given up",
        f"{twice} told twice under one key, {service.requests} requests, {took:.0f} s",
    ]


async def _kill(args: argparse.Namespace, home: Path, luck: random.Random, service: Service) -> int:
    kills = 0
    while True:
        command = (sys.executable, "-m", "benchmarks.alerts", "--deliver", str(home))
        child = await asyncio.create_subprocess_exec(*command)
        want = len(service.taken) + luck.randint(1, max(1, 2 * args.deliveries // max(1, args.kills)))
        if kills < args.kills:
            await _until(partial(_enough, service, want, child))
        if kills < args.kills and child.returncode is None:
            os.kill(child.pid, 9)
            await child.wait()
            kills += 1
        elif await child.wait() == 0:
            return kills
        else:
            raise SystemExit("The delivering process failed.")


def _judged(keys: int, service: Service) -> tuple[int, int, int]:
    lost = wrong = twice = 0
    told: Mapping[str, list[str]] = service.incidents
    for number in range(keys):
        actions = told.get(f"k{number}", [])
        lost += ("trigger" not in actions) + ("resolve" not in actions)
        wrong += actions != sorted(actions, key=("trigger", "resolve").index)
        twice += max(0, len(actions) - 2)
    return lost, wrong, twice


async def latency(home: Path, times: int = 30) -> list[str]:
    """From the number that is measured until the receiver has taken the alert."""
    took: list[float] = []
    transport = HttpTransport()
    async with serving(pagerduty) as service:
        (home / "alerts.toml").write_text(FILE.format(url=service.url))
        one = runtime(home, transport)
        await one.start()
        degrees = 20.0
        one.alerts.sources.readings = lambda: {
            "node": Reading("node", time.time(), "up", values={"gpu_temperature": degrees})
        }
        one.alerts.start()
        for number in range(2 * times):
            degrees = 90.0 if number % 2 == 0 else 20.0
            began = time.monotonic()
            one.bus.publish(MetricsMeasured(("node",)))
            await _until(partial(_enough, service, number + 1))
            took.append(time.monotonic() - began)
        await one.close()
    await transport.aclose()
    return ["told after", f"median {statistics.median(took):.2f} s, longest {max(took):.2f} s", "2 looks: 2 s"]


def looking(targets: int = 20, times: int = 300) -> list[str]:
    """What a look costs at which nothing is wrong."""
    rules, watch = read(SHIPPED).rules, Watch("here")
    gpus = {str(number): {"gpu_temperature": 50.0, "gpu_memory_temperature": 60.0} for number in range(8)}
    values = {"errors_per_s": 0.0, "requests_waiting": 1.0, "kv_cache_usage": 0.4}
    readings = {f"n{each}": Reading(f"n{each}", 0.0, "up", values=values, by={"gpu": gpus}) for each in range(targets)}
    began = time.thread_time()
    for at in range(times):
        watch.step(rules, Look(at / times, readings))
    each_ms = (time.thread_time() - began) / times * 1000
    return [f"a look, {len(rules)} rules, {targets} targets of 8 GPUs", f"{each_ms:.2f} ms CPU", "16 ms"]


async def main(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "one", Path(folder) / "two"
        for home in (first, second):
            home.mkdir()
        rows = [await survive(args, first), await latency(second), looking()]
    names = ("what", "came of it", "beside it")
    print(table([dict(zip(names, row, strict=True)) for row in rows]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--failing", type=float, default=0.3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deliver", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    asyncio.run(deliver(given.deliver) if given.deliver else main(given))
