"""A real runtime on a temporary home; only the wire is scripted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backend_client import BackendError
from sophia_core.events import Event
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedReply, ScriptedTransport
from tests.sophia_core.desk import Desk, Script

ENV = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted", "SOPHIA_NO_KEYRING": "1"}


class Bench:
    """A started runtime, what its bus said, and the wire it speaks to."""

    def __init__(self, runtime: Runtime, wire: ScriptedTransport) -> None:
        self.runtime, self.wire = runtime, wire
        self.events: list[Event] = []
        runtime.bus.subscribe(self.events.append)

    def heard(self, kind: type[Event]) -> list[Event]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


OpenBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[OpenBench]:
    """Starts a runtime that will get these answers; closed at the end."""
    opened: list[Runtime] = []

    async def start(*script: ScriptedReply | BackendError, home: Path = tmp_path, **env: str) -> Bench:
        variables = {**ENV, "SOPHIA_HOME": str(home), **env}
        wire = ScriptedTransport(*script)
        runtime = Runtime(load_settings(variables), transport=wire, env=variables)
        opened.append(runtime)
        made = Bench(runtime, wire)
        await runtime.start()
        return made

    yield start
    for runtime in opened:
        await runtime.close()


OpenDesk = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[OpenDesk]:
    """Opens a chat whose backend plays this script; closed at the end."""
    opened: list[Desk] = []

    async def open_one(
        *script: Script, home: Path = tmp_path, queue: bool = True, cache: bool = False, window: int = 0
    ) -> Desk:
        made = Desk(home, *script, queue=queue, cache=cache, window=window)
        opened.append(made)
        return await made.open()

    yield open_one
    for each in opened:
        await each.close()
