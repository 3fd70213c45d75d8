"""`sophia auth`: who is signed in where. Never a secret."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, cast

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import OK
from sophia_cli.opening import Notices, as_quit, opened, require_store
from sophia_cli.results import as_json, table
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from sophia_core.login import Account

HEADINGS = ("provider", "how", "who", "roles", "expires", "kept in")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Shows the accounts. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: status(args, loaded, console), console)


async def status(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Shows the accounts of all providers; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        try:
            accounts = cast("list[Account]", await runtime.run("auth.status"))
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if args.json:
        console.out_raw(f"{as_json(accounts)}\n")
    elif accounts:
        rows = [(a.provider, a.how, a.who, a.roles, expires(a, time.time()), a.kept) for a in accounts]
        console.out(table(HEADINGS, rows, console))
    else:
        console.say("the settings name no provider", "docs/settings.md tells how to add one.")
    return OK


def expires(account: Account, now: float) -> str:
    """When the access token ends, in words; a renewable one is renewed by itself."""
    if account.expires_at is None:
        return ""
    left = account.expires_at / 1000 - now
    if left <= 0:
        return "renewed when needed" if account.renewable else "expired"
    return f"in {_span(left)}{', then renewed' if account.renewable else ''}"


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
