"""`sophia swarm worker`: carries out runs on this machine, until it is stopped or there is nothing to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, SIGNALLED, STORE, Quit
from sophia_cli.opening import Notices, require_store
from sophia_cli.version import VERSION
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime

KEY_BYTES: Final = 4096
"""More than a key ever has."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    key = sys.stdin.buffer.read(KEY_BYTES) if args.key_on_stdin else None
    return asyncio.run(worker(args, loaded, console, key))


async def worker(args: argparse.Namespace, loaded: Loaded, console: Console, key: bytes | None) -> int:
    """Works until a signal, a word or a long rest ends it: the first signal lets steps keep what they do."""
    from sophia_core.runtime import Runtime

    runtime = Runtime(loaded)
    runtime.vault.handed = key
    runtime.bus.subscribe(Notices(console, verbose=not args.on_demand))
    received: list[int] = []
    try:
        await runtime.start(create=False)
        require_store(runtime)
        await _until_stopped(args, runtime, console, received)
    finally:
        await runtime.close()
    return SIGNALLED + received[0] if received and received[0] == signal.SIGINT else OK


async def _until_stopped(args: argparse.Namespace, runtime: Runtime, console: Console, received: list[int]) -> None:
    from local_store.errors import StoreError
    from sophia_core.swarm.engine.worker import AlreadyThere, work

    idle_s = runtime.settings.swarm.idle_minutes * 60 if args.on_demand else None
    ending = asyncio.Event()
    where: dict[str, Any] = {"slot": args.slot, "labels": args.label, "idle_s": idle_s, "version": VERSION}
    task = asyncio.create_task(work(runtime, ending, **where, trouble=lambda text: console.say(text)))
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        received.append(number)
        match len(received):
            case 1:
                ending.set()
            case 2:
                task.cancel()
            case _:
                os._exit(SIGNALLED + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        return
    except AlreadyThere:
        if not args.on_demand:
            raise Quit(FAILED, "a worker is there already", "`sophia swarm workers` lists them.") from None
    except StoreError as error:
        raise Quit(STORE, str(error), error.hint) from None
