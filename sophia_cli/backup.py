"""`sophia backup` and `sophia restore`: the store in one file, and back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, STORE, USAGE, Quit
from sophia_cli.opening import Notices, as_quit, opened, require_store, store_exists
from sophia_cli.progress import ProgressLine
from sophia_cli.results import as_json, cell, table
from sophia_core.backups import told_of_made, told_of_restored, told_of_verified
from sophia_core.commands import CommandError
from sophia_core.events import Bus
from sophia_core.paths import resolve_paths
from sophia_core.present import when
from sophia_core.settings import Loaded, load_settings
from sophia_core.state import Current
from sophia_core.store_side import StoreSide

if TYPE_CHECKING:
    from sophia_core.backups import BackupRow

COLUMNS = ("made", "sessions", "messages", "size", "opens with", "file")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: _ACTIONS[args.action](args, loaded, console), console)


async def make(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Makes a backup; prints its path. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        with_progress = MegabytesProgress(console, "Backing up")
        try:
            made = await runtime.store_side.backups.make(args.to, args.keep, with_progress)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
        finally:
            with_progress.end()
    if args.json:
        console.out_raw(as_json({**_fields(made.info), "deleted": made.deleted}) + "\n")
        return OK
    said, *warnings = told_of_made(made)
    _say(said, warnings, console)
    return OK


async def show_list(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Lists the backups in a folder; needs no key. Raises Quit."""
    rows = await without_opening(loaded, console).backups.rows(args.folder)
    if args.json:
        console.out_raw(f"{as_json(rows)}\n")
        return OK
    sound = [_cells(row) for row in rows if not row.problem]
    if sound:
        console.out(table(COLUMNS, sound, console))
    elif console.err_stream.terminal:
        console.err("(none)\n")
    for row in rows:
        if row.problem:
            console.say(row.problem)
    return OK


def _cells(row: BackupRow) -> tuple[object, ...]:
    size = f"{row.bytes / 1e6:,.1f} MB"
    return (when(row.made_at), row.sessions, row.messages, size, cell("opens_with", row.opens_with), row.path)


async def verify(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Reads a whole backup; 3 when it is not sound or does not open. Raises Quit."""
    backups = without_opening(loaded, console).backups
    with_progress = MegabytesProgress(console, "Reading")
    try:
        found = await backups.verify(args.file, with_progress)
    finally:
        with_progress.end()
    if args.json:
        opened_by = {"opened_by": found.opened_by, "own_keys": found.own_keys}
        lost = {"attachments_lost": found.attachments_lost}
        console.out_raw(as_json({**_fields(found.info), **opened_by, **lost}) + "\n")
        return OK
    said, *warnings = told_of_verified(found)
    _say(said, warnings, console)
    return OK


async def restore(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Puts a backup in the place of the store; opens what came back. Raises Quit."""
    if args.to:
        loaded = replace(loaded, paths=resolve_paths({"SOPHIA_HOME": args.to}))
    side = without_opening(loaded, console)
    vault, backups = side.vault, side.backups
    if not args.yes and store_exists(loaded):
        _ask_first(loaded, console)
    with_progress = MegabytesProgress(console, "Restoring")
    try:
        done = await backups.restore(args.file, with_progress)
        with_progress.end()
        if vault.store is None:
            raise Quit(STORE, f"the backup is in place, but the store does not open: {vault.detail}", vault.hint)
    except CommandError as error:
        raise Quit(FAILED, str(error), error.hint) from None
    finally:
        with_progress.end()
        await vault.close()
    if args.json:
        more = {"opened_by": done.opened_by, "own_keys": done.own_keys, "aside": done.aside, "waiting": done.waiting}
        more |= {"attachments_lost": done.attachments_lost}
        console.out_raw(as_json({**_fields(done.info), **more}) + "\n")
        return OK
    console.out("".join(f"{line}\n" for line in told_of_restored(done)))
    return OK


def _ask_first(loaded: Loaded, console: Console) -> None:
    where = str(loaded.paths.store_dir)
    if not console.interactive:
        raise Quit(USAGE, f"there is a store in {where!r} already", "Pass --yes to put it aside; it is not deleted.")
    if not TerminalAsker(console).confirm(f"Put the store in {where!r} aside, and the backup in its place?"):
        raise Quit(USAGE, "nothing was restored")


def without_opening(loaded: Loaded, console: Console) -> StoreSide:
    """The side of the store that may be damaged or not there: nothing is opened."""
    side = StoreSide(loaded, Bus(), Current(), os.environ, busy=lambda: False)
    if console.interactive:
        side.vault.asker = TerminalAsker(console)
    return side


def _fields(info: object) -> dict[str, object]:
    return {name: getattr(info, name) for name in getattr(info, "__slots__", ())}


def _say(said: str, warnings: list[str], console: Console) -> None:
    console.out(f"{said}\n")
    for warning in warnings:
        console.say(warning)


class MegabytesProgress:
    """How far it is, on a terminal, when it takes longer than a moment."""

    def __init__(self, console: Console, what: str, unit: int = 1) -> None:
        self._line, self._what, self._watched = ProgressLine(console), what, console.look.rewrites
        self._unit = unit

    def __call__(self, done: int, total: int) -> None:
        if not self._watched:
            return
        detail = f"{self._what}: {done * self._unit / 1e6:,.0f} of {total * self._unit / 1e6:,.0f} MB"
        self._line.show(self._what, done / total if total else None, detail)

    def end(self) -> None:
        self._line.clear()


_ACTIONS: dict[str, Callable[[argparse.Namespace, Loaded, Console], Coroutine[Any, Any, int]]] = {
    "now": make,
    "list": show_list,
    "verify": verify,
    "restore": restore,
}
