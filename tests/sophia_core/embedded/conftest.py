"""One real server for all tests here, on weights that are unpacked once and kept in pytest's cache between runs."""

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sophia_core.embedded import EmbeddedOptions, EmbeddedServer, Progress
from sophia_core.embedded.model import QWEN_CODER
from sophia_core.embedded.types import Stage

MakeServer = Callable[..., EmbeddedServer]


@pytest.fixture(scope="session")
def cache_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real weights are kept; skips the test where the real parts are not installed."""
    missing = [part.package for part in QWEN_CODER.parts if part.locate() is None]
    if missing or importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs the extra 'embedded'")
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    return cache.mkdir("embedded") if cache else tmp_path_factory.mktemp("embedded")


class Reported(list[Progress]):
    """What the servers of a test reported, and a way to wait for the next report."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        self._news.set()

    async def reached(self, stage: Stage) -> None:
        async with asyncio.timeout(60):
            while all(progress.stage != stage for progress in self):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def progress() -> Reported:
    """What the servers of this test reported."""
    return Reported()


@pytest_asyncio.fixture(loop_scope="session")
async def make_server(cache_dir: Path, progress: Reported) -> AsyncIterator[MakeServer]:
    """Makes servers that are stopped when the test ends."""
    made: list[EmbeddedServer] = []

    def make(options: EmbeddedOptions | None = None, *, clock: Callable[[], float] = time.monotonic) -> EmbeddedServer:
        options = options or EmbeddedOptions(context=1024)
        server = EmbeddedServer(options, cache_dir=cache_dir, on_progress=progress, clock=clock)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(cache_dir: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that all tests may ask and none may stop."""
    running = EmbeddedServer(EmbeddedOptions(context=2048), cache_dir=cache_dir, on_progress=lambda _: None)
    await running.ready()
    yield running
    await running.stop()
