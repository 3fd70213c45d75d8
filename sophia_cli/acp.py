"""`sophia acp`: an editor, or another program that speaks the Agent Client Protocol, uses SOPHIA as its agent."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import OK, USAGE, Quit
from sophia_cli.opening import Notices
from sophia_cli.version import VERSION
from sophia_core.settings import load_settings

if TYPE_CHECKING:
    from sophia_core.settings import Loaded


def execute(args: argparse.Namespace, console: Console) -> int:
    """Serves until the other end has gone. Raises Quit."""
    if console.stdin_terminal:
        hint = "It is started by an editor; docs/acp.md tells how to set one up."
        raise Quit(USAGE, "sophia acp speaks with a program, not with a person", hint)
    loaded = load_settings()
    return interrupts.run(lambda: _serve(loaded, console), console)


async def _serve(loaded: Loaded, console: Console) -> int:
    from sophia_core.acp.stdio import pipes, serve
    from sophia_core.runtime import Runtime

    console.drain()
    async with pipes(sys.stdin.fileno(), _own_stdout()) as (reader, writer):
        runtime = Runtime(loaded)
        runtime.bus.subscribe(Notices(console))
        try:
            await runtime.start()
            await serve(runtime, reader, writer, VERSION)
        finally:
            await asyncio.shield(runtime.close())
    return OK


def _own_stdout() -> int:
    """The real stdout, for the protocol alone; whatever else is printed by anybody goes to stderr."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own
