"""Starting an outside agent: in the sandbox, with one folder to work in, a home of its own and nothing of the person's.

The sandbox is that of the programs our own agents run, with what such a program cannot do without: its own files to be
read, a home that lasts, the few variables it was granted, and a network where it asks a model somewhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.acp.agent_file import OutsideAgent
from sophia_core.acp.wire import LONGEST_LINE
from sophia_core.sanitize import one_line
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.confined import MOST_ENTRIES, Confined, is_secret
from sophia_core.swarm.tools.sandbox import Box, Limits

MEMORY: Final = 1 << 40
"""Of addresses: what JavaScript runs in reserves far more of them than it ever uses."""
PROCESSES: Final = 2_000
GRACE_S: Final = 2.0
MOST_SAID: Final = 64 << 10
MOST_COVERED: Final = 500
SYSTEM: Final = ("/usr", "/bin")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent works."""

    folder: Path
    home: Path
    writable: bool
    """Whether it can change the folder at all."""
    lends: Path | None = None
    hidden: tuple[str, ...] = ()
    """Patterns of files that rules keep from being read."""


class CannotStart(ValueError):
    """There is no such program, or it cannot be started; the text says why."""


class Started:
    """An agent's process."""

    def __init__(self, process: asyncio.subprocess.Process, seen_as: str, *, boxed: bool) -> None:
        self.process, self.boxed = process, boxed
        self.seen_as = seen_as
        """What the agent's folder is called where it is."""
        self._said = bytearray()

    @property
    def pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What it says, and what it is told."""
        assert self.process.stdout is not None and self.process.stdin is not None  # noqa: S101 - it was started so
        return self.process.stdout, self.process.stdin

    async def listen(self) -> None:
        """Keeps the end of what it complains of; read to its end, or it would stand still."""
        while self.process.stderr is not None and (piece := await self.process.stderr.read(8192)):
            self._said += piece
            del self._said[:-MOST_SAID]

    @property
    def complaint(self) -> str:
        """Its last words, made safe."""
        lines = [each for each in self._said.decode("utf-8", "replace").splitlines() if each.strip()]
        return one_line(lines[-1], 300) if lines else ""


@asynccontextmanager
async def started(agent: OutsideAgent, place: Place, env: Mapping[str, str]) -> AsyncIterator[Started]:
    """The agent, running; ended with all it started, whatever happens. Raises CannotStart."""
    boxed = not await asyncio.to_thread(sandbox.trouble)
    words, where, given = await asyncio.to_thread(_words if boxed else _bare, agent, place, env)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=where,
            env=given,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotStart(f"{agent.program[0]!r} cannot be started: {error.strerror}") from None
    found = Started(process, sandbox.HERE if boxed else str(place.folder), boxed=boxed)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        await asyncio.shield(_end(process))
        listening.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the box and everything in it; without a box, at least its whole group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await process.wait()


def home_of(root: Path, agent: OutsideAgent) -> Path:
    """The home of an agent, made where there is none: what it is told to keep, such as a login, lasts."""
    home = root / (_PLAIN.sub("-", agent.name).strip("-.")[:60] or "agent")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home


def _words(agent: OutsideAgent, place: Place, env: Mapping[str, str]) -> tuple[list[str], str, dict[str, str]]:
    found = _found(agent, env)
    shown = list(_shown(agent, found.resolve()))
    # By the name it was found under where that is there in the box: some programs know by it what belongs to them.
    seen = any(found.is_relative_to(each) for each in (*shown, *SYSTEM, sys.prefix))
    program = found if seen else found.resolve()
    limits = Limits(memory=MEMORY, processes=PROCESSES)
    box = Box(place.folder, place.writable, agent.network, place.lends, limits, _granted(agent, env), covered(place))
    words = sandbox.words_of(box, [str(program), *agent.program[1:]])
    more = [word for path in shown for word in ("--ro-bind", path, path)]
    more += ["--bind", str(place.home), sandbox.HOME]
    at = words.index("--chdir")
    return [*words[:at], *more, *words[at:]], "/", {}


def _bare(agent: OutsideAgent, place: Place, env: Mapping[str, str]) -> tuple[list[str], str, dict[str, str]]:
    """Without a sandbox; only after a person saw that. It is still given nothing but what it was granted."""
    kept = {name: env[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in env}
    given = {**_granted(agent, env), **kept, "HOME": str(place.home), "TERM": "dumb", "NO_COLOR": "1"}
    return [str(_found(agent, env)), *agent.program[1:]], str(place.folder), given


def _granted(agent: OutsideAgent, env: Mapping[str, str]) -> dict[str, str]:
    return {name: env[name] for name in agent.variables if name in env}


def _found(agent: OutsideAgent, env: Mapping[str, str]) -> Path:
    found = shutil.which(agent.program[0], path=env.get("PATH", _PATH))
    if found is None or not Path(found).is_absolute():
        raise CannotStart(f"there is no program {agent.program[0]!r}")
    return Path(found)


def _shown(agent: OutsideAgent, program: Path) -> Iterator[str]:
    """Folders to be read: those it was granted, and where its program lies."""
    yield from (each for each in agent.folders if Path(each).is_dir())
    if any(program.is_relative_to(each) for each in SYSTEM):
        return
    above = next((each for each in reversed(program.parents) if each.name == "node_modules"), program.parent)
    if above not in (Path("/"), Path.home(), *Path.home().parents):
        yield str(above)
    else:
        yield str(program)


def covered(place: Place) -> list[str]:
    """Files of the folder that hold secrets, or that a rule hides: in the box they are empty. Raises CannotStart."""
    hides, found = Confined(place.folder, hidden=place.hidden), list[str]()
    everything = list(Confined(place.folder).entries())
    for each in everything:
        if not each.folder and (is_secret(each.path) or hides.is_hidden(each.path)):
            found.append(each.path)
    if len(everything) >= MOST_ENTRIES or len(found) > MOST_COVERED:
        raise CannotStart("the folder is too large to be looked through for secrets")
    return found
