"""`sophia store`: whether it is sound, and what to do where it is not."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.backup import MegabytesProgress, without_opening
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, STORE, USAGE, Quit
from sophia_cli.opening import Notices, as_quit, opened, require_store, store_exists
from sophia_cli.results import as_json, table
from sophia_core.care import SALVAGE, told_of_repaired, told_of_salvaged
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import CheckResult

ADVICE = frozenset({"recovery key", "key slots"})
"""Checks about how the store could be safer, not about whether it is sound."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: store(args, loaded, console), console)


async def store(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Checks, repairs, salvages or accepts; 3 for a store that is not sound. Raises Quit."""
    if not store_exists(loaded):
        raise Quit(STORE, "there is no store here", "`sophia init` makes one.")
    return await _ACTIONS[args.action](args, loaded, console)


async def _check(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        if runtime.vault.store is None and runtime.vault.state == "failed":
            found = [_unopened(runtime.vault.detail, runtime.vault.hint)]
        else:
            require_store(runtime)
            found = cast("list[CheckResult]", await runtime.run("store.check", args.full))
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    else:
        rows = [("yes" if each.ok else "NO", each.name, _detail(each)) for each in found]
        console.out(table(("sound", "what", "detail"), rows, console))
        for each in found:
            if not each.ok and each.fix and each.name not in ADVICE:
                console.say(f"{each.name}: {each.detail}", each.fix)
    return STORE if any(not each.ok for each in found if each.name not in ADVICE) else OK


def _detail(result: CheckResult) -> str:
    return result.detail if result.ok or not result.fix else f"{result.detail} ({result.fix})"


def _unopened(detail: str, hint: str) -> CheckResult:
    from local_store import CheckResult

    return CheckResult("database", False, detail, hint or SALVAGE)


async def _repair(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        watching = MegabytesProgress(console, "Repairing")
        try:
            done = await runtime.care.repair(watching)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
        finally:
            watching.end()
    if args.json:
        mended = [{"what": each.what, "count": each.count} for each in done.mended]
        console.out_raw(as_json({"repaired": mended, "backup": done.backup}) + "\n")
    else:
        console.out("".join(f"{line}\n" for line in told_of_repaired(done)))
    return OK


async def _salvage(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    if not args.yes and not args.to:
        _ask_first(loaded, console)
    side = without_opening(loaded, console)
    vault, care = side.vault, side.care
    watching = MegabytesProgress(console, "Reading what can be read", unit=4096)
    try:
        done = await care.salvage(args.to, watching)
        watching.end()
        if not args.to and vault.store is None:
            raise Quit(STORE, f"the new store is in place, but does not open: {vault.detail}", vault.hint)
    except CommandError as error:
        raise Quit(FAILED, str(error), error.hint) from None
    finally:
        watching.end()
        await vault.close()
    if args.json:
        names = ("store", "aside", "pages", "damaged", "kept", "lost", "cut", "sessions")
        console.out_raw(as_json({name: getattr(done, name) for name in names}) + "\n")
    else:
        console.out("".join(f"{line}\n" for line in told_of_salvaged(done)))
    return OK


def _ask_first(loaded: Loaded, console: Console) -> None:
    where = str(Path(loaded.paths.store_dir))
    if not console.interactive:
        raise Quit(USAGE, f"this puts another store in the place of {where!r}", "Pass --yes; nothing is deleted.")
    if not TerminalAsker(console).confirm(f"Put the store in {where!r} aside, and what can be read in its place?"):
        raise Quit(USAGE, "nothing was changed")


async def _accept(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        found = runtime.vault.store.rolled_back if runtime.vault.store else None
        if found and not args.yes and not _agreed(found.detail, console):
            raise Quit(USAGE, "nothing was changed")
        try:
            said = await runtime.run("store.accept", args.reason, confirmed=True)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if args.json:
        console.out_raw(as_json({"accepted": found is not None, "detail": found.detail if found else ""}) + "\n")
    else:
        console.out(f"{said}\n")
    return OK


def _agreed(detail: str, console: Console) -> bool:
    if not console.interactive:
        raise Quit(USAGE, f"this is not the newest state of the store: {detail}", "Pass --yes to go on from it.")
    return TerminalAsker(console).confirm(f"{detail}\nGo on from this state?")


_ACTIONS: dict[str, Callable[[argparse.Namespace, Loaded, Console], Coroutine[Any, Any, int]]] = {
    "check": _check,
    "repair": _repair,
    "salvage": _salvage,
    "accept": _accept,
}
