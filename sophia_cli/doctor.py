"""`sophia doctor`: everything SOPHIA needs, looked at, with what mends it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK
from sophia_cli.opening import opened
from sophia_cli.results import as_json
from sophia_core.doctor import Check, examine
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport

MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}
PLAIN = "\x1b[0m"


def execute(args: argparse.Namespace, console: Console) -> int:
    """Prints every finding; 1 when anything fails."""
    loaded = load_settings()
    return interrupts.run(lambda: doctor(args, loaded, console), console)


async def doctor(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Prints every finding and returns the exit code. Makes no store where there is none."""
    found: list[Check] = []
    async with opened(loaded, console, [], create=False, transport=transport) as runtime:
        async for check in examine(loaded, runtime, full=args.full):
            found.append(check)
            if not args.json:
                _print(check, console)
    failed = [check for check in found if check.status == "fail"]
    if args.json:
        console.out_raw(as_json({"ok": not failed, "checks": [dataclasses.asdict(each) for each in found]}) + "\n")
    else:
        warned = sum(check.status == "warn" for check in found)
        console.out(f"\n{len(found)} checks: {len(failed)} failed, {warned} to look at.\n")
    return FAILED if failed else OK


def _print(check: Check, console: Console) -> None:
    mark = MARKS[check.status]
    if console.out_stream.terminal and console.look.colours:
        mark = f"{COLOURS[check.status]}{mark}{PLAIN}"
    console.out_raw(f"{mark}  ")
    console.out(f"{check.name}: {check.detail}\n")
    if check.fix and check.status != "ok":
        console.out(f"      → {check.fix}\n")
