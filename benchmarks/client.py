"""What the client costs beside a bare HTTP call with the same decoder, and beside the official SDK.

    python -m benchmarks.client [--only cpu first failover many memory] [--rounds 7]

All talk to one server in a process of its own, over connections that are kept alive, and take turns. CPU is that of
this process. `bare` is httpx2 with our decoder and nothing else; `sdk` is the openai package without its retries.
`fast` is a stream as fast as it is read, `paced` one that comes event by event.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmarks import ROOT, child_env, resident_mb, spread, table
from benchmarks.wire import stream

if TYPE_CHECKING:
    from backend_client import BackendClient, HttpTransport

PARTS = ("cpu", "first", "failover", "many", "memory")
FAST_EVENTS, PACED_EVENTS, PACED_RATE = 10_000, 1500, 1000
TRIPLES = 300
STREAMS, STREAM_EVENTS = 64, 1000
TURNS, SETTLED_TURNS, TURN_EVENTS = 10_000, 1000, 20
FAILOVERS, HANGS, FIRST_TOKEN_S = 60, 20, 0.25
CPU_TARGET, SDK_TARGET, FIRST_TARGET_MS, DEAD_TARGET_MS, HANG_TARGET_MS, FAIR_TARGET = 1.3, 4.0, 2.0, 50.0, 100.0, 1.5
BATCH = 64
"""Events written at once when nothing paces them."""
ASKED = re.compile(r"events=(\d+) rate=(\d+)")


@dataclass(frozen=True, slots=True)
class Answered:
    """What one question took."""

    first_s: float
    """Until the first text."""
    first_cpu_s: float
    total_s: float
    cpu_s: float


Ask = Callable[[int, int], Awaitable[Answered]]
"""Asks for so many events at so many a second, and reads the answer."""


# -- the server


@lru_cache
def _chunks(events: int) -> list[bytes]:
    pieces = [b"%x\r\n%s\r\n" % (len(event), event) for event in stream(events)]
    return [*pieces, b"0\r\n\r\n"]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if " /hang/" in head.partition("\r\n")[0]:
                await reader.read()
                break
            asked = ASKED.search(body.decode())
            assert asked is not None
            await _send(writer, _chunks(int(asked[1])), int(asked[2]))
    writer.close()


async def _send(writer: asyncio.StreamWriter, chunks: list[bytes], rate: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    step = 1 if rate else BATCH
    began = time.monotonic()
    for start in range(0, len(chunks), step):
        if rate:
            await asyncio.sleep(max(0.0, began + start / rate - time.monotonic()))
        writer.write(b"".join(chunks[start : start + step]))
        await writer.drain()
        # Draining alone goes on at once while there is room, and one answer would be over before the next begins.
        await asyncio.sleep(0)


async def _until_stdin_closes() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=2 * STREAMS)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@contextlib.contextmanager
def _serving() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.client", "--serve"]
    with subprocess.Popen(
        command, cwd=ROOT, env=child_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# -- the three ways to ask


class _Watch:
    """Notes when the first text of an answer came, and whether all of it did."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self._first = self._first_cpu = 0.0
        self._size = 0

    def text(self, text: str) -> None:
        if not self._size:
            self._first, self._first_cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        self._size += len(text)

    def end(self, events: int) -> Answered:
        assert self._size == sum(len(f" word{number % 100}") for number in range(events)), "text is missing"
        total_s, cpu_s = time.perf_counter() - self._began, time.process_time() - self._cpu
        return Answered(self._first, self._first_cpu, total_s, cpu_s)


@contextlib.asynccontextmanager
async def _bare(base: str) -> AsyncIterator[Ask]:
    import ssl

    import httpx2

    from backend_client import TextChunk
    from backend_client.wire import StreamDecoder

    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=8, keepalive_expiry=30.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with httpx2.AsyncClient(verify=context, trust_env=False, limits=limits, timeout=60.0) as http:

        async def ask(events: int, rate: int) -> Answered:
            watch, decoder = _Watch(), StreamDecoder()
            body = {"model": "m", "messages": [{"role": "user", "content": _question(events, rate)}], "stream": True}
            headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
            async with http.stream("POST", f"{base}/v1/chat/completions", json=body, headers=headers) as response:
                async for piece in response.aiter_raw():
                    for chunk in decoder.feed(piece):
                        if type(chunk) is TextChunk:
                            watch.text(chunk.text)
            return watch.end(events)

        yield ask


@contextlib.asynccontextmanager
async def _sdk(base: str) -> AsyncIterator[Ask]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=60.0) as client:

        async def ask(events: int, rate: int) -> Answered:
            watch = _Watch()
            messages: Any = [{"role": "user", "content": _question(events, rate)}]
            async with await client.chat.completions.create(model="m", messages=messages, stream=True) as answer:
                async for chunk in answer:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        watch.text(text)
            return watch.end(events)

        yield ask


@contextlib.asynccontextmanager
async def _ours(base: str) -> AsyncIterator[Ask]:
    from backend_client import HttpTransport

    async with _client(HttpTransport(), base) as client:
        await client.warm()
        yield lambda events, rate: _ask(client, events, rate)


def _client(transport: HttpTransport, *bases: str, first_token: float = 60.0) -> BackendClient:
    from backend_client import BackendClient, Endpoint, NoAuth, Provider, StaticEndpoint, Timeouts

    timeouts = Timeouts(first_token=first_token)
    providers = [
        Provider(f"p{number}", StaticEndpoint(Endpoint(f"{base}/v1", "m", NoAuth())), timeouts, max_concurrent=STREAMS)
        for number, base in enumerate(bases)
    ]
    return BackendClient(providers, transport=transport)


async def _ask(client: BackendClient, events: int, rate: int) -> Answered:
    from backend_client import ChatMessage, ChatRequest, TextChunk

    watch = _Watch()
    async for chunk in client.stream(ChatRequest((ChatMessage("user", _question(events, rate)),))):
        if type(chunk) is TextChunk:
            watch.text(chunk.text)
    return watch.end(events)


def _question(events: int, rate: int) -> str:
    return f"events={events} rate={rate}"


# -- what is measured


async def cpu(base: str, rounds: int) -> None:
    """CPU for one event of a stream."""
    rows = []
    async with _bare(base) as bare, _ours(base) as ours, _sdk(base) as sdk:
        ways = {"bare": bare, "ours": ours, "sdk": sdk}
        for name, events, rate in (("fast", FAST_EVENTS, 0), ("paced", PACED_EVENTS, PACED_RATE)):
            spent = await _in_turn(ways, events, rate, rounds if not rate else max(2, rounds // 2))
            cost = {way: statistics.median(each) * 1e6 / events for way, each in spent.items()}
            rows.append(
                {
                    "CPU per event, µs": f"{name}, {events} events",
                    **cost,
                    "ours / bare": _judged(cost["ours"] / cost["bare"], "<=", CPU_TARGET),
                    # What wakes up for every event pays mostly for waking up, whoever reads it.
                    "sdk / ours": cost["sdk"] / cost["ours"]
                    if rate
                    else _judged(cost["sdk"] / cost["ours"], ">=", SDK_TARGET),
                }
            )
    print(table(rows))


async def _in_turn(ways: dict[str, Ask], events: int, rate: int, rounds: int) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, ask in ways.items():
            answered = await ask(events if number else 10, rate)
            if number:
                spent[name].append(answered.cpu_s)
    return spent


async def first(base: str, rounds: int) -> None:
    """What the client adds to the time until the first text, how much of that is noise, and how much is CPU."""
    async with _bare(base) as bare, _ours(base) as ours:
        ways = {"bare": bare, "ours": ours, "again": bare}
        taken: dict[str, list[Answered]] = {name: [] for name in ways}
        for number in range(TRIPLES + 10):
            # Whoever comes later finds everything warm, so the order goes round.
            for name in (*ways, *ways)[number % 3 :][:3]:
                answered = await ways[name](4, 0)
                taken[name] += [answered] if number >= 10 else []
    wall = {name: [each.first_s * 1000 for each in answers] for name, answers in taken.items()}
    used = {name: [each.first_cpu_s * 1000 for each in answers] for name, answers in taken.items()}
    rows = [_first_row(name, wall[name]) for name in ("bare", "ours")]
    rows.append(_first_row("ours - bare, each time", _added(wall, "ours"), FIRST_TARGET_MS))
    rows.append(_first_row("bare - bare: the noise", _added(wall, "again")))
    rows.append(_first_row("ours - bare, CPU only", _added(used, "ours")))
    print(table(rows))


def _added(taken: dict[str, list[float]], name: str) -> list[float]:
    return [late - early for late, early in zip(taken[name], taken["bare"], strict=True)]


def _first_row(name: str, values: list[float], target: float | None = None) -> dict[str, object]:
    found = spread(values)
    p95 = found.p95 if target is None else _judged(found.p95, "<=", target)
    return {"first text, ms": name, "p50": found.p50, "p95": p95, "p99": found.p99}


async def failover(base: str, rounds: int) -> None:
    """Time until the first text comes from the second provider, when the first is dead or hangs."""
    from backend_client import HttpTransport

    transport = HttpTransport()
    with socket.socket() as dead:
        # Bound, but nobody listens: connections are refused, and nobody else gets the port.
        dead.bind(("127.0.0.1", 0))
        port = f"http://127.0.0.1:{dead.getsockname()[1]}"
        rows = [
            await _failovers(transport, "healthy", FAILOVERS, 0.0, None, base),
            await _failovers(transport, "dead port", FAILOVERS, 0.0, DEAD_TARGET_MS, port, base),
            await _failovers(transport, "hanging", HANGS, FIRST_TOKEN_S, HANG_TARGET_MS, f"{base}/hang", base),
        ]
    await transport.aclose()
    print(table(rows))


async def _failovers(
    transport: HttpTransport, name: str, count: int, budget_s: float, target_ms: float | None, *bases: str
) -> dict[str, object]:
    """Each time with a client that does not know yet that the provider is out."""
    taken = []
    for number in range(count + 3):
        answered = await _ask(_client(transport, *bases, first_token=budget_s or 60.0), 4, 0)
        taken += [answered.first_s * 1000] if number >= 3 else []
    found = spread(taken)
    over = found.p95 - budget_s * 1000
    return {
        "failover, ms until the first text": name,
        "budget": f"{budget_s * 1000:.0f}" if budget_s else "",
        "p50": found.p50,
        "p95": found.p95,
        "over budget": _judged(over, "<=", target_ms) if target_ms else "",
    }


async def many(base: str, rounds: int) -> None:
    """Many streams at once: how much longer the slowest takes than the fastest."""
    ratios: dict[str, list[float]] = {"bare": [], "ours": []}
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(max(2, rounds // 2)):
        for name, way in (("bare", _bare), ("ours", _ours)):
            # A new client each time: a few connections kept alive would give some streams a head start.
            async with way(base) as ask:
                began = time.perf_counter()
                answers = await asyncio.gather(*(ask(STREAM_EVENTS, 0) for _ in range(STREAMS)))
                rates[name].append(STREAMS * STREAM_EVENTS / (time.perf_counter() - began))
            taken = [each.total_s for each in answers]
            ratios[name].append(max(taken) / min(taken))
    rows = []
    for name in ratios:
        ratio = statistics.median(ratios[name])
        rows.append(
            {
                f"{STREAMS} streams at once": name,
                "events/s": f"{statistics.median(rates[name]):.0f}",
                "slowest / fastest": _judged(ratio, "<=", FAIR_TARGET) if name == "ours" else ratio,
                "worst round": max(ratios[name]),
            }
        )
    print(table(rows))


async def memory(base: str, rounds: int) -> None:
    """What thousands of turns leave in memory, each way in a process of its own."""
    ways = ("bare", "ours")
    commands = [[sys.executable, "-m", "benchmarks.client", "--turns", way, base] for way in ways]
    told = await asyncio.gather(*(asyncio.to_thread(_output, command) for command in commands))
    rows = []
    for way, sizes in zip(ways, told, strict=True):
        settled, ended = json.loads(sizes)
        rows.append(
            {
                f"{TURNS} turns, MB": way,
                f"after {SETTLED_TURNS}": settled,
                f"after {TURNS}": ended,
                "grown": f"{ended - settled:+.2f}",
            }
        )
    print(table(rows))


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, env=child_env(), stdout=subprocess.PIPE, check=True, text=True).stdout


async def _turns(way: str, base: str) -> None:
    sizes = []
    async with (_bare if way == "bare" else _ours)(base) as ask:
        for number in range(1, TURNS + 1):
            await ask(TURN_EVENTS, 0)
            if number in (SETTLED_TURNS, TURNS):
                sizes.append(resident_mb(os.getpid()))
    print(json.dumps(sizes))


def _judged(value: float, sign: str, target: float) -> str:
    met = value <= target if sign == "<=" else value >= target
    return f"{value:.2f} ({'' if met else 'NOT '}{sign} {target:g})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--turns", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_until_stdin_closes())
    elif args.turns:
        asyncio.run(_turns(*args.turns))
    else:
        parts = {"cpu": cpu, "first": first, "failover": failover, "many": many, "memory": memory}
        with _serving() as base:
            for name in args.only:
                asyncio.run(parts[name](base, args.rounds))
                print(flush=True)


if __name__ == "__main__":
    main()
