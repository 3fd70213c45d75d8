"""`sophia metrics`: what servers and this machine's GPUs tell, once or as it comes; and told on to Prometheus."""

from __future__ import annotations

import argparse
import asyncio
import shutil
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError
from sophia_core.events import Event, MetricsMeasured
from sophia_core.metrics.view.looking import Looking
from sophia_core.metrics.view.page import page
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from sophia_core.metrics.view.seen import Seen
    from sophia_core.runtime import Runtime

ANYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - looked for, to warn of it
PIPE_WIDTH = 120


def execute(args: argparse.Namespace, console: Console) -> int:
    """Tells the numbers. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: metrics(args, loaded, console), console)


async def metrics(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Shows once, watches, or serves; returns the exit code: 1 where nobody told anything. Raises Quit."""
    async with opened(loaded, console, [Notices(console)]) as runtime:
        try:
            if args.action == "serve":
                return await _serve(args, runtime, console)
            if args.action == "business":
                return await _business(args, runtime, console)
            if args.watch:
                return await _watch(args, runtime, console)
            await runtime.metrics.look()
            looking = Looking(runtime, measures=runtime.metrics)
            await looking.catch_up()
            return _tell(looking.now(), args, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None


def _tell(seen: Seen, args: argparse.Namespace, console: Console) -> int:
    if args.json:
        told = {"at": seen.at, "note": seen.note, "targets": seen.targets, "readings": seen.readings, "own": seen.own}
        console.out_raw(f"{as_json(told)}\n")
    else:
        width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if console.out_stream.terminal else PIPE_WIDTH
        console.out("".join(f"{line}\n" for line in page(seen, width)))
    return OK if any(each.health == "up" for each in seen.readings.values()) else FAILED


async def _business(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    found = await runtime.run("metrics.business", since=args.since)
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    else:
        show(found, console)
    return OK


async def _watch(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """Tells it anew whenever there is something new, until it is interrupted or nobody reads it any more."""
    newer, looking = asyncio.Event(), Looking(runtime, measures=runtime.metrics)

    def heard(event: Event) -> None:
        if isinstance(event, MetricsMeasured):
            newer.set()

    runtime.bus.subscribe(heard)
    runtime.metrics.attend()
    if not runtime.metrics.targets:
        await looking.catch_up()
        return _tell(looking.now(), args, console)
    code = OK
    while console.failure is None:
        await newer.wait()
        newer.clear()
        await looking.catch_up()
        code = _tell(looking.now(), args, console)
        console.out("" if args.json else "\n")
    return code


async def _serve(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    from sophia_core.metrics.exposing import Exposer

    port = runtime.settings.metrics.serve_port if args.port is None else args.port
    if args.host in ANYWHERE:
        console.say("anybody who reaches this machine can read its metrics", "Without --host only this machine can.")
    runtime.metrics.attend()

    def ready(host: str, port: int) -> None:
        console.err(f"Metrics are told at http://{f'[{host}]' if ':' in host else host}:{port}/metrics\n")

    await Exposer(runtime.metrics, runtime.vault).serve(args.host, port, ready=ready)
    return OK
