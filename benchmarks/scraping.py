"""Looking at 20 servers with 3,000 series each, every second: CPU, the longest block of the event loop, first looks.

    .venv/bin/python -m benchmarks.scraping [--targets 20] [--seconds 15] [--everything] [--plain]

The servers are one other process, which hands out pages as a busy vLLM writes them. What is counted is everything
that this process does: fetching, reading, signals. `--everything` reads all series, not only those that mean
something. The servers compress their pages, as they do for Prometheus; with `--plain` they do not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import multiprocessing
import random
import selectors
import time
from multiprocessing.connection import Connection
from typing import Final

from backend_client.auth import NoAuth
from backend_client.scraping.exposition import MAX_BODY
from backend_client.scraping.fetching import fetch
from backend_client.scraping.scraper import Scraped, Scraper, ScrapeTarget
from backend_client.scraping.signals import Signals
from backend_client.transport import HttpTransport
from tests.metrics.pages import VllmPage

ENGINES: Final = 11
"""Of one server: so many make 3,000 series."""
PAGES: Final = 6
WARM_S: Final = 3.0
PROMISED_SHARE: Final = 0.10
PROMISED_BLOCK_S: Final = 0.016


class Watched(selectors.DefaultSelector):
    """Notes for how long the loop did not look at its sockets: wall-clock time, and its own CPU time."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        self.wall = self.cpu = 0.0
        self._since: tuple[float, float] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._since is not None:
            self.wall = max(self.wall, time.perf_counter() - self._since[0])
            self.cpu = max(self.cpu, time.thread_time() - self._since[1])
        found = super().select(timeout)
        self._since = time.perf_counter(), time.thread_time()
        return found


def serve(ready: Connection, plain: bool) -> None:
    """Hand out pages, each time the next one, over connections that stay open."""
    page, dice, pages = VllmPage(engines=ENGINES), random.Random(1), []
    for _ in range(PAGES):
        page.work(dice)
        pages.append((_page(page.text(), ""), _page(gzip.compress(page.text(), 6), "content-encoding: gzip\r\n")))
    at = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at
        while True:
            try:
                asked = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return writer.close()
            at += 1
            writer.write(pages[at % PAGES][not plain and b"gzip" in asked])
            await writer.drain()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ready.send((server.sockets[0].getsockname()[1], page.text().count(b"\n")))
        await server.serve_forever()

    asyncio.run(main())


def _page(body: bytes, more: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body


async def measure(watched: Watched, options: argparse.Namespace, port: int) -> None:
    transport = HttpTransport()
    await transport.warm()
    targets = [ScrapeTarget(f"t{n}", f"http://127.0.0.1:{port}/{n}/metrics", "vllm") for n in range(options.targets)]
    signals = {target.name: Signals("vllm") for target in targets}
    looks: list[Scraped] = []

    def heard(scraped: Scraped) -> None:
        looks.append(scraped)
        if scraped.exposition is not None:
            signals[scraped.target.name].read(scraped.exposition, at=scraped.at, tick=scraped.tick)

    alone = await fetching_alone(transport, targets[0].url)
    print(f"  fetching alone, nothing read: {alone * 1000:.2f} ms of CPU each")
    gc.freeze()
    running = asyncio.create_task(Scraper(targets, transport, heard, everything=options.everything).run())
    watched.forget()
    began = time.process_time()
    await asyncio.sleep(WARM_S)
    tell(f"the first {WARM_S:g} s", time.process_time() - began, WARM_S, watched, looks)
    looks.clear()
    watched.forget()
    began, since = time.process_time(), time.perf_counter()
    await asyncio.sleep(options.seconds)
    cpu, wall = time.process_time() - began, time.perf_counter() - since
    tell(f"then {options.seconds:g} s", cpu, wall, watched, looks)
    kept = cpu / wall <= PROMISED_SHARE and watched.cpu <= PROMISED_BLOCK_S
    print(
        f"  promised: {PROMISED_SHARE:.0%} of a core, {PROMISED_BLOCK_S * 1000:g} ms: {'kept' if kept else 'NOT KEPT'}"
    )
    running.cancel()
    await asyncio.wait([running])
    await transport.aclose()


async def fetching_alone(transport: HttpTransport, url: str, times: int = 60) -> float:
    """What the HTTP library takes for such a page: CPU seconds, the baseline."""
    began = time.process_time()
    for _ in range(times):
        await fetch(url, NoAuth(), transport, MAX_BODY)
    return (time.process_time() - began) / times


def tell(what: str, cpu: float, wall: float, watched: Watched, looks: list[Scraped]) -> None:
    failed = [each.error for each in looks if each.error]
    each_ms = 1000 * cpu / max(len(looks), 1)
    print(
        f"  {what:<16} {cpu / wall:6.1%} of a core   {len(looks):4} looks, {each_ms:5.2f} ms each   "
        f"longest block {watched.cpu * 1000:5.1f} ms CPU, {watched.wall * 1000:5.1f} ms wall   failed: {len(failed)}"
    )
    if failed:
        print(f"    {failed[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--everything", action="store_true")
    parser.add_argument("--plain", action="store_true", help="the servers do not compress")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, options.plain), daemon=True)
    server.start()
    try:
        port, lines = ours.recv()
        print(f"scraping: {options.targets} targets, {lines} lines each, every second")
        watched = Watched()
        loop = asyncio.SelectorEventLoop(watched)
        loop.run_until_complete(measure(watched, options, port))
        loop.close()
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
