"""Starts the child process that holds the model, hears its port, and ends it."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sophia_core.embedded import loopback
from sophia_core.embedded.types import LaunchFailed

CHILD = Path(__file__).with_name("child.py")
LOAD_SECONDS = 300.0
CHECK_SECONDS = 30.0
GRACE_SECONDS = 2.0
NICENESS = 5
TAIL_BYTES = 4096
WORDS_LINES = 2
LOG_PREFIX = re.compile(r"^[\d.]+ [EW] +")


@dataclass(eq=False, slots=True)
class Child:
    """A running server of the embedded model."""

    process: asyncio.subprocess.Process
    key: str = field(repr=False)
    port: int = 0
    _tail: bytearray = field(default_factory=bytearray, repr=False)
    listening: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def last_words(self) -> str:
        """The most telling of what it wrote to stderr: the first complaints, without their clock."""
        said = self._tail.decode("utf-8", "replace").splitlines()
        return "; ".join(list(dict.fromkeys(LOG_PREFIX.sub("", line) for line in said if line.strip()))[:WORDS_LINES])

    async def wait(self) -> int:
        """Its exit status, once it has ended and all it said was heard."""
        status = await self.process.wait()
        if self.listening:
            await asyncio.wait([self.listening])
        return status

    async def stop(self) -> None:
        """End it: first by the end of its stdin, after two seconds by force."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), GRACE_SECONDS)
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def listen(self) -> None:
        """Keep the tail of its stderr until it ends."""
        stream = self.process.stderr
        while stream and (block := await stream.read(TAIL_BYTES)):
            self._tail += block
            del self._tail[:-TAIL_BYTES]


async def launch(model: Path, *, alias: str, context: int, threads: int, prompt_threads: int) -> Child:
    """A child that answers on its port; raises LaunchFailed. When cancelled or failed, no process is left."""
    key = secrets.token_urlsafe(32)
    config: dict[str, object] = {"model": str(model), "alias": alias, "context": context, "nice": NICENESS}
    config |= {"threads": threads, "prompt_threads": prompt_threads, "key": key, "parent": os.getpid()}
    try:
        child = Child(await _spawn(), key)
        await _bring_up(child, config)
    except (OSError, ValueError) as error:
        raise LaunchFailed(f"{type(error).__name__}: {error}") from error
    return child


async def _bring_up(child: Child, config: dict[str, object]) -> None:
    child.listening = asyncio.create_task(child.listen())
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            port = await _ask(child, config)
            await _check(port, child.key)
        child.port = port
    finally:
        if not child.port:
            child.kill()
            await asyncio.shield(child.wait())


async def _spawn() -> asyncio.subprocess.Process:
    """The process, in a session of its own so that Ctrl-C in the terminal is not for it, without our secrets."""
    pipe = asyncio.subprocess.PIPE
    # -P and a path instead of -m: the folder a person works in must never provide a module.
    command = (sys.executable, "-P", str(CHILD))
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("SOPHIA_")},
    )


async def _ask(child: Child, config: dict[str, object]) -> int:
    """The port on which the child serves the model of the config, once it is loaded."""
    stdin, stdout = child.process.stdin, child.process.stdout
    if stdin is None or stdout is None:
        raise LaunchFailed("its pipes are closed")
    stdin.write(json.dumps(config).encode() + b"\n")
    with contextlib.suppress(ConnectionError):
        await stdin.drain()
    line = await stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    if "port" in answer:
        return int(answer["port"])
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), GRACE_SECONDS)
    raise LaunchFailed(child.last_words or answer.get("error") or f"it ended with status {child.process.returncode}")


async def _check(port: int, key: str) -> None:
    status, _ = await loopback.request(port, "GET", "/health", key=key, seconds=CHECK_SECONDS)
    if status != 200:
        raise LaunchFailed(f"its health check answered {status}")
