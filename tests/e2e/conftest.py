"""The real program, its own home, and a server that answers as the question says."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sophia_core.embedded.model import QWEN_CODER
from tests.contract_server import ContractServer
from tests.e2e import hostile
from tests.e2e.terminal import SOPHIA, Terminal, has_tmux, terminal

assert hostile  # it adds its scenario to the contract server's


@dataclass(frozen=True)
class Sophia:
    """`sophia` with a home of its own and one server."""

    home: Path
    url: str

    def environment(self, **more: str) -> dict[str, str]:
        """All that the program is told; nothing of this process gets through."""
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "SOPHIA_HOME": str(self.home),
            "SOPHIA_NO_KEYRING": "1",
            "SOPHIA_BASE_URL": self.url,
            "SOPHIA_MODEL": "contract-model",
            "SOPHIA_CHAT__TITLES": "words",  # a request that no test asked for would be in its way
        }
        return {name: value for name, value in {**own, **more}.items() if value}

    def app(self, size: tuple[int, int] = (90, 30), **env: str) -> AbstractAsyncContextManager[Terminal]:
        """The terminal app on a screen of its own."""
        return terminal(SOPHIA, self.environment(**env), size)

    async def run(self, *words: str, **env: str) -> str:
        """What a command line prints. Raises AssertionError when it fails."""
        process = await asyncio.create_subprocess_exec(
            *SOPHIA,
            *words,
            env=self.environment(**env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def messages(self, **env: str) -> list[dict[str, Any]]:
        """Everything said in the session used last."""
        shown = json.loads(await self.run("sessions", "show", await self.latest(**env), "--json", **env))
        return list(shown["messages"])

    async def latest(self, **env: str) -> str:
        """The id of the session used last."""
        return str(json.loads(await self.run("sessions", "--json", **env))[0]["id"])


@pytest.fixture(autouse=True)
def _tmux() -> None:
    if not has_tmux() and not os.environ.get("CI"):
        pytest.skip("tmux is not installed; it draws the screen that these tests look at")


@pytest.fixture
async def sophia(tmp_path: Path) -> AsyncIterator[Sophia]:
    """The program, pointed at a contract server of this test."""
    async with ContractServer() as server:
        yield Sophia(tmp_path, server.base_url)


@pytest.fixture
def weights(request: pytest.FixtureRequest) -> str:
    """The model's file, where another test has unpacked it already; else empty, and the app unpacks its own."""
    if importlib.util.find_spec("xllamacpp") is None or any(part.locate() is None for part in QWEN_CODER.parts):
        pytest.skip("needs the extra 'embedded'")
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    unpacked = sorted(cache.mkdir("embedded").glob("models/*.gguf")) if cache else []
    return str(unpacked[0]) if unpacked else ""
