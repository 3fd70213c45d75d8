"""The servers that `chaos` asks: four contract servers, here or in a process of their own, and their moods."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from benchmarks import ROOT, child_env
from tests.backend_client.essays import CUTS
from tests.contract_server import ContractServer

NAMES: Final = ("gh200-a", "gh200-b", "openrouter", "embedded")
WELL: Final = "well"
DOWN: Final = "down"
FAULTS: Final = {
    "hangs": "stall_headers",
    "hangs later": "stall_first",
    "a byte now and then": "slow_loris:head",
    "busy": "vllm_busy",
    "too many requests": "busy:429:1",
    "out of order": "vllm_dead",
    "bad gateway": "status:502",
    "resets": "reset_headers",
    "resets later": "reset_first",
    "error first": "sse_error_first",
    "says nothing": "empty",
    "a web page": "html_200",
    **{f"breaks off: {cut}": f"essay:NAME:{cut}" for cut in CUTS},
}
"""What a server's mood makes of every chat."""
MOODS: Final = (DOWN, *FAULTS)
LINE_MAX: Final = 16 << 20
_SICK: Final = frozenset({"hangs", "a byte now and then"})
"""Moods in which not even the health page answers."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the servers saw of each question, all of them together."""

    arrived: dict[str, int]
    """How often it was asked."""
    completed: dict[str, int]
    """How often it was answered to the end, as far as a server can tell."""


class Farm(Protocol):
    """Four servers whose moods can be changed."""

    urls: dict[str, str]

    async def change(self, name: str, mood: str) -> None:
        """Put one server into a mood: WELL or one of MOODS."""
        ...

    async def counts(self) -> Counts:
        """Return what the servers saw of all questions."""
        ...


class LocalFarm:
    """The servers in this very loop."""

    def __init__(self, servers: dict[str, ContractServer]) -> None:
        self._servers = servers
        self.urls = {name: server.base_url for name, server in servers.items()}

    async def change(self, name: str, mood: str) -> None:
        server = self._servers[name]
        if mood == DOWN:
            await server.go_down()
            return
        await server.come_up()
        server.fault = FAULTS[mood].replace("NAME", name) if mood != WELL else None
        server.health = None if mood in _SICK else (200, b"") if mood == WELL else (503, {"error": "not now"})

    async def counts(self) -> Counts:
        servers = self._servers.values()
        arrived = sum((each.deliveries for each in servers), Counter[str]())
        completed = sum((each.completions for each in servers), Counter[str]())
        return Counts(_asked(arrived), _asked(completed))

    def forget(self) -> None:
        """Let go of the requests so far, of which only the counts matter."""
        for server in self._servers.values():
            server.requests.clear()


@asynccontextmanager
async def here() -> AsyncIterator[LocalFarm]:
    """Four servers in this loop."""
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(ContractServer()) for name in NAMES}
        for name, server in servers.items():
            server.usual = f"essay:{name}"
        yield LocalFarm(servers)


class RemoteFarm:
    """The servers in another process, so that this one's time and memory are the client's."""

    def __init__(self, process: asyncio.subprocess.Process, urls: dict[str, str]) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.urls = urls

    async def change(self, name: str, mood: str) -> None:
        await self._ask(name, mood)

    async def counts(self) -> Counts:
        found = await self._ask("", "")
        assert isinstance(found, dict)
        return Counts(**found)

    async def _ask(self, name: str, mood: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps([name, mood]).encode() + b"\n")
            await self._process.stdin.drain()
            return json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def elsewhere() -> AsyncIterator[RemoteFarm]:
    """Four servers in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.chaos_servers",
        cwd=ROOT,
        env=child_env(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield RemoteFarm(process, json.loads(await process.stdout.readline()))
    finally:
        # The end of its input ends it.
        process.stdin.close()
        await process.wait()


async def _serve() -> None:
    """Obeys the lines that come on stdin until there are no more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with here() as farm:
        print(json.dumps(farm.urls), flush=True)
        while line := await reader.readline():
            name, mood = json.loads(line)
            if name:
                await farm.change(name, mood)
                farm.forget()
            print(json.dumps(None if name else asdict(await farm.counts())), flush=True)


def _asked(counter: Counter[str]) -> dict[str, int]:
    """What was asked by a turn, without the probes of the client."""
    return {key: times for key, times in counter.items() if key.startswith("turn-")}


async def flap(farm: Farm, name: str, chance: random.Random, seen: Counter[str], pace: float = 1.0) -> None:
    """Lets a server be well and unwell in turn, in a way and for a time that chance decides, until cancelled."""
    while True:
        await asyncio.sleep(pace * chance.uniform(0.2, 1.5))
        mood = chance.choice(MOODS)
        seen[mood] += 1
        await farm.change(name, mood)
        await asyncio.sleep(pace * chance.uniform(0.2, 2.0))
        await farm.change(name, WELL)


if __name__ == "__main__":
    asyncio.run(_serve())
