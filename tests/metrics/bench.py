"""The metrics of an app on a real store; only the pages of the targets are made up, and may change at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from backend_client.errors import BackendError
from backend_client.seam import Call
from local_store import StorePaths
from sophia_core.events import Bus, Event
from sophia_core.metrics.metrics import Metrics
from sophia_core.metrics.naming import Naming
from sophia_core.settings import load_settings
from sophia_core.vault import Vault
from tests.scripted import PlayedReply, ScriptedReply

Kind = TypeVar("Kind")
BOX = "http://box:8000/metrics"
NODE = "http://box:9100/metrics"
TWO = f"""
[metrics]
interval_s = 0.2
[[metrics.targets]]
name = "box"
url = "{BOX}"
[[metrics.targets]]
name = "node"
url = "{NODE}"
"""
RUNNING = 'vllm:num_requests_running{model_name="m",engine="0"} 3\n'
LOAD = "node_load1 0.5\nnode_memory_MemTotal_bytes 100\nnode_memory_MemAvailable_bytes 40\n"


class Wire:
    """Tells the page of an address, or fails as it says."""

    def __init__(self) -> None:
        self.pages: dict[str, str | BackendError] = {}
        self.calls: list[Call] = []

    async def open(self, call: Call) -> PlayedReply:
        self.calls.append(call)
        page = self.pages.get(call.url)
        if isinstance(page, BackendError):
            raise page
        if page is None:
            return PlayedReply(ScriptedReply((b"no",), status=404))
        return PlayedReply(ScriptedReply((page.encode(),), headers={"content-type": "text/plain; version=0.0.4"}))

    async def aclose(self) -> None:
        pass


class Measuring:
    """Metrics, the store they are kept in, and what was said."""

    def __init__(self, home: Path, config: str = TWO, passphrase: str | None = None) -> None:
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(config)
        env = {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1"}
        loaded = load_settings(env)
        self.home, self.bus, self.events = home, Bus(), list[Event]()
        self.bus.subscribe(self.events.append)
        paths = StorePaths(home / "store", home / "device")
        self.vault = Vault(paths, self.bus, passphrase=passphrase, allow_keyring=False)
        self.wire = Wire()
        self.wire.pages.update({BOX: RUNNING, NODE: LOAD})
        self.metrics = Metrics(loaded, self.vault, self.bus, self.wire, [], env, after_s=0.0, between_s=0.01)
        self.metrics._keeper._every_s = 0.1  # nobody waits for a whole second
        self.bus.subscribe(self.metrics.own)
        self.naming = Naming(self.metrics, None, loaded.paths.config_file, self.bus)  # type: ignore[arg-type]
        self.vault.before_lock.append(self.metrics.rest)

    def heard(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]

    async def close(self) -> None:
        await self.metrics.close()
        await self.vault.close()


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until it is so, however busy the machine is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.005)
