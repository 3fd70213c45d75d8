"""Looking at targets over real connections: good ones, and every kind of bad one beside them."""

from __future__ import annotations

import asyncio
import gzip
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from backend_client.auth import ApiKey, NoAuth, Secret
from backend_client.scraping.exposition import Exposition, Reader
from backend_client.scraping.scraper import LONGEST_PAUSE_S, Scraped, Scraper, ScrapeTarget
from backend_client.transport import HttpTransport
from tests.backend_client.certificates import self_signed, serving_with

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 30.0
GZIP = "content-encoding: gzip\r\n"


def page(body: bytes, *, status: str = "200 OK", more: str = "", kind: str = "text/plain; version=0.0.4") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def saying(answer: bytes) -> Answer:
    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return say


async def hangs(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def stalls(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 999\r\n\r\na 1\n")
    await asyncio.Event().wait()


async def never_ends(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nnode_load1 1\n")
    while True:
        writer.write(b"# and on\n" * 7000)
        await writer.drain()


async def breaks_off(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 999\r\n\r\nnode_load1 1\n")
    writer.close()


GOOD = saying(page(b"node_load1 1.5\n"))


@asynccontextmanager
async def server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answers every request the same way; gives the address of its metrics."""
    busy: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await answer(await reader.readuntil(b"\r\n\r\n"), writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/metrics"
    finally:
        listening.close()
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


@asynccontextmanager
async def transport() -> AsyncIterator[HttpTransport]:
    http = HttpTransport()
    try:
        yield http
    finally:
        await http.aclose()


async def look(url: str, *, within: float = PATIENCE_S, key: str = "") -> Scraped:
    async with transport() as http:
        auth = ApiKey(Secret(key)) if key else NoAuth()
        target = ScrapeTarget("it", url, "node", auth, timeout_s=within)
        return await Scraper([target], http, lambda _: None).look("it")


async def test_a_look() -> None:
    async with server(GOOD) as url:
        found = await look(url)
    assert found.error == "" and found.exposition is not None
    assert found.exposition.of("node_load1") == [({}, 1.5)]
    assert found.took_s > 0 and found.at > 1.7e9


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (saying(page(b"no", status="404 Not Found")), "has no metrics at that address (HTTP 404)."),
        (saying(page(b"no", status="401 Unauthorized")), "wants a key for its metrics, or another one (HTTP 401)."),
        (saying(page(b"no", status="503 Busy")), "answers HTTP 503 where its metrics should be."),
        (saying(page(b"<html>", kind="text/html")), "answers with something that is no metrics page."),
        (saying(page(b"x", more="content-encoding: br\r\n")), "answers in a compression that was not asked for."),
        (saying(page(b"node_load1 1\n", more=GZIP)), "Its metrics page is packed, but cannot be unpacked."),
        (
            saying(page(gzip.compress(b"node_load1 1\n")[:-9], more=GZIP)),
            "Its metrics page is packed, and ends too soon.",
        ),
        (saying(page(b"", status="302 Found", more="location: http://elsewhere.example/?k=s\r\n")), "not followed."),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "does not speak HTTP"),
        (breaks_off, "closed the connection before the answer was complete."),
    ],
)
async def test_what_is_no_metrics_page_is_said(answer: Answer, sentence: str) -> None:
    async with server(answer) as url:
        found = await look(url)
    assert found.exposition is None and sentence in found.error
    assert ("\n" not in found.error and found.error[0].isupper()) or found.error.startswith("http")


@pytest.mark.parametrize("answer", [hangs, stalls])
async def test_who_hangs_is_not_waited_for(answer: Answer) -> None:
    async with server(answer) as url:
        found = await look(url, within=0.2)
    assert found.exposition is None and found.error == "It did not tell everything within 0.2 s."


async def test_a_page_without_end_is_read_as_far_as_is_sensible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend_client.scraping.scraper.MAX_BODY", 200_000)
    async with server(never_ends) as url:
        found = await look(url)
    assert found.exposition is not None and found.exposition.of("node_load1") == [({}, 1.0)]
    assert sum(found.dropped.values()) == 1 and "everything after" in next(iter(found.dropped))


async def test_a_packed_page() -> None:
    asked: list[bytes] = []

    async def packs(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head.lower())
        writer.write(page(gzip.compress(b"node_load1 1.5\n"), more=GZIP))

    async with server(packs) as url:
        found = await look(url)
    assert b"accept-encoding: gzip" in asked[0]
    assert found.exposition is not None and found.exposition.of("node_load1") == [({}, 1.5)]


async def test_a_packed_bomb_is_unpacked_as_far_as_is_sensible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend_client.scraping.scraper.MAX_BODY", 2_000_000)
    bomb = gzip.compress(b"node_load1 1\n" + b"#\n" * 5_000_000, 1)
    async with server(saying(page(bomb, more=GZIP))) as url:
        found = await look(url)
    assert found.exposition is not None and found.exposition.of("node_load1") == [({}, 1.0)]
    assert "everything after" in next(iter(found.dropped))


async def test_a_certificate_that_is_not_trusted_is_said(tmp_path: Path) -> None:
    async with server(GOOD, serving_with(self_signed(tmp_path))) as url:
        found = await look(url)
    assert found.exposition is None and "is not trusted" in found.error


async def test_a_key_is_sent_and_never_told() -> None:
    asked: list[bytes] = []

    async def echoes(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        where = head.partition(b"Bearer ")[2].partition(b"\r")[0].decode()
        writer.write(page(b"", status="307 Away", more=f"location: http://x.example/{where}\r\n"))

    async with server(echoes) as url:
        found = await look(url, key="sk-very-secret")
    assert b"authorization: Bearer sk-very-secret" in asked[0].replace(b"Authorization", b"authorization")
    assert "redirects" in found.error and "sk-very-secret" not in repr(found)


@pytest.mark.parametrize("url", ["ftp://x/metrics", "http://a:b@x/metrics", "nonsense", "http://x/m?key=1"])
async def test_an_address_that_is_none(url: str) -> None:
    found = await look(url)
    assert found.exposition is None and found.error.startswith("The base URL")


async def test_bad_ones_do_not_disturb_the_good_one() -> None:
    enough, heard = asyncio.Event(), dict[str, list[Scraped]]()

    def hear(scraped: Scraped) -> None:
        heard.setdefault(scraped.target.name, []).append(scraped)
        if len(heard.get("good", ())) >= 5 and {"hangs", "gone", "ends not"} <= heard.keys():
            enough.set()

    async with server(GOOD) as good, server(hangs) as hanging, server(never_ends) as endless, transport() as http:
        urls = {"good": good, "hangs": hanging, "ends not": endless, "gone": "http://127.0.0.1:9/metrics"}
        targets = [
            ScrapeTarget(name, url, "node", interval_s=0.1, timeout_s=PATIENCE_S if name == "good" else 0.3)
            for name, url in urls.items()
        ]
        scraper = Scraper(targets, http, hear)
        running = asyncio.create_task(scraper.run())
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
        running.cancel()
        await asyncio.wait([running])
    assert all(each.exposition is not None for each in heard["good"])
    assert all(each.exposition is None for each in heard["hangs"] + heard["gone"])
    assert scraper.standings["gone"].failures == len(heard["gone"])


class Steady:
    """A clock that a scraper's sleeping moves."""

    def __init__(self, length: float) -> None:
        self.now, self.end = 1000.0, 1000.0 + length
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if self.now + seconds > self.end:
            self.over.set()
            await asyncio.Event().wait()
        self.now += seconds
        await asyncio.sleep(0)


async def times_of_looks(url: str, clock: Steady, reader: type[Reader] = Reader) -> list[float]:
    looks = list[float]()
    async with transport() as http:
        scraper = Scraper(
            [ScrapeTarget("it", url, "node", interval_s=1.0, timeout_s=PATIENCE_S)],
            http,
            lambda scraped: looks.append(scraped.tick),
            ticks=lambda: clock.now,
            sleep=clock.sleep,
            rng=random.Random(1),  # noqa: S311
            reader=reader,
        )
        running = asyncio.create_task(scraper.run())
        await asyncio.wait_for(clock.over.wait(), PATIENCE_S)
        running.cancel()
        await asyncio.wait([running])
        assert scraper.standings["it"].asked == len(looks)
    return looks


async def test_looks_keep_their_distance() -> None:
    async with server(GOOD) as url:
        looks = await times_of_looks(url, Steady(10.0))
    assert len(looks) == 10
    assert {round(after - before, 6) for before, after in pairwise(looks)} == {1.0}


async def test_who_is_down_is_asked_less_and_less_often() -> None:
    looks = await times_of_looks("http://127.0.0.1:9/metrics", Steady(600.0))
    pauses = [after - before for before, after in pairwise(looks)]
    assert pauses[0] < 1.5 and len(pauses) < 20
    assert max(pauses) <= LONGEST_PAUSE_S * 1.2 and pauses[-1] >= LONGEST_PAUSE_S * 0.8


async def test_nothing_to_look_at_is_over_at_once() -> None:
    async with transport() as http:
        await asyncio.wait_for(Scraper([], http, lambda _: None).run(), PATIENCE_S)


async def test_who_keeps_us_busy_is_asked_less_often() -> None:
    class Slow(Reader):
        async def read(self, body: bytes, *, cut: bool = False) -> Exposition:
            clock.now += 0.5
            return await super().read(body, cut=cut)

    clock = Steady(60.0)
    async with server(GOOD) as url:
        looks = await times_of_looks(url, clock, Slow)
    assert {round(after - before) for before, after in pairwise(looks[2:])} == {5}
    assert looks[1] - looks[0] == pytest.approx(1.0), "the first text is always new"
