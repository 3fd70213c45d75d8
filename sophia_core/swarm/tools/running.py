"""The tool that runs a command: in the sandbox, or, where there is none, after a person has seen the very words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.swarm.ports import ToolResult
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.confined import Confined, OutOfReach
from sophia_core.swarm.tools.hand import Arguments, Hand, for_model, spec_of
from sophia_core.swarm.tools.sandbox import Box, Limits, NoBox, Ran

LONGEST_COMMAND: Final = 8_000
DEFAULT_S: Final = 120
MOST_S: Final = 1800


class Running:
    """The tool that starts programs in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        writable: bool,
        lends: Path | None = None,
        limits: Limits | None = None,
        hidden: Sequence[str] = (),
    ) -> None:
        self._folder, self._writable, self._lends = folder, writable, lends
        self._limits, self._files = limits or Limits(), Confined(folder, hidden=hidden)
        self._seen: set[str] = set()
        """Commands that somebody was asked about as what runs without a sandbox."""

    def tools(self) -> list[Hand]:
        run = spec_of(
            "run",
            "Run a command with sh in the folder. It has no network unless that is asked for, and no git.",
            "run",
            "command",
            command=("string", "The command line"),
            seconds=("integer", f"After so long it is ended; {DEFAULT_S} when not given"),
            network=("boolean", "Whether it needs to reach out; a person is asked for that"),
        )
        return [Hand(run, self._ask, self._run)]

    def _ask(self, arguments: Arguments) -> ApprovalRequest:
        command, network = _command(arguments), arguments.get("network", False)
        missing = sandbox.trouble()
        if missing:
            self._seen.add(command)
        reach = " It can reach the network." if network else ""
        where = "" if not missing else " It runs without a sandbox, with your rights."
        return request(
            "run",
            "run",
            f"Run a command.{reach}{where}",
            command=command,
            why=missing or ("It wants to reach the network." if network else ""),
            arguments=arguments,
            folder=str(self._lends or self._folder),
            boxed=not missing,
            network=network,
        )

    async def _run(self, arguments: Arguments) -> ToolResult:
        command = _command(arguments)
        seconds = min(MOST_S, max(1, arguments.get("seconds", DEFAULT_S)))
        ran = await self._start(("sh", "-c", command), float(seconds), network=arguments.get("network", False))
        return ToolResult(ran.ok, told(ran))

    async def _start(self, argv: tuple[str, ...], seconds: float, *, network: bool) -> Ran:
        limits = Limits(seconds, self._limits.memory, self._limits.processes, self._limits.file_size)
        covered = await asyncio.to_thread(self._files.covered)
        box = Box(self._folder, self._writable, network, self._lends, limits, covered=covered)
        try:
            return await sandbox.run_boxed(box, argv)
        except NoBox:
            if argv[-1] not in self._seen:
                # It was allowed where there is a sandbox, and is another thing here.
                raise OutOfReach("There is no sandbox here, and nobody was asked to run it without.") from None
            return await sandbox.run_unboxed(self._folder, argv, limits)


def told(ran: Ran) -> str:
    """How a program ended and what it said, for a model."""
    how = f"It was ended: {ran.ended}." if ran.ended else f"It ended with {ran.code} after {ran.seconds:.1f} s."
    return f"{how}\n{for_model(ran.text).strip() or '(it said nothing)'}"


def _command(arguments: Arguments) -> str:
    command = str(arguments["command"])
    if not command.strip() or len(command) > LONGEST_COMMAND or "\0" in command:
        raise OutOfReach("Give a command line, and not too long a one.")
    return command
