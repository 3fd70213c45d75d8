"""`sophia sessions purge`: conversations that are to be gone, also from where deleting leaves them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sophia_cli.asker import TerminalAsker
from sophia_cli.backup import MegabytesProgress
from sophia_cli.console import Console
from sophia_cli.exits import USAGE, Quit
from sophia_cli.results import as_json
from sophia_core.care import told_of_purged

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime


async def purge(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    """Removes the sessions that are meant. Raises Quit or CommandError."""
    care = runtime.care
    ids = await care.chosen(args.ids, older_than=args.older_than, deleted=args.all_deleted)
    if not args.yes:
        await _ask_first(ids, runtime, console)
    watching = MegabytesProgress(console, "Removing")
    try:
        done = await care.purge(ids, deleted=args.all_deleted, backups=args.backups, progress=watching)
    finally:
        watching.end()
    if args.json:
        fields = {name: getattr(done, name) for name in done.__slots__}
        console.out_raw(as_json(fields) + "\n")
    else:
        console.out("".join(f"{line}\n" for line in told_of_purged(done)))


async def _ask_first(ids: list[str], runtime: Runtime, console: Console) -> None:
    what = f"{len(ids)} sessions and everything said in them"
    if len(ids) == 1:
        what = f"{(await (await runtime.vault.get()).sessions.get(ids[0])).title!r} and everything said in it"
    elif not ids:
        what = "what is left of deleted sessions"
    if not console.interactive:
        raise Quit(USAGE, f"removing {what} cannot be undone", "Pass --yes to do it.")
    if not TerminalAsker(console).confirm(f"Remove {what}, for good?"):
        raise Quit(USAGE, "nothing was removed")
