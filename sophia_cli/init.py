"""`sophia init`: the encrypted store, made before its first use and, with `--yes`, without a question."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import OK, usage_error
from sophia_cli.keys import WEAK_HINT, recovery_into
from sophia_cli.opening import Notices, as_quit, opened, require_store, store_exists
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import SlotInfo
    from sophia_core.runtime import Runtime


def execute(args: argparse.Namespace, console: Console) -> int:
    """Makes the store. Raises Quit."""
    if not args.yes and not console.interactive:
        raise usage_error("there is no terminal to ask on", "Pass --yes to be asked nothing.")
    loaded = load_settings()
    return interrupts.run(lambda: init(args, loaded, console), console)


async def init(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Makes the store and its recovery key; returns the exit code. Raises Quit. A store that exists is left as it is,
    but gets a recovery key when a file for one is named and it has none."""
    existed = store_exists(loaded)
    file = Path(args.recovery_key_file) if args.recovery_key_file else None
    if file is not None and not existed:
        _refuse_early(file)
    if not existed and not args.yes:
        loaded = await _with_passphrase(loaded, console)
    async with opened(loaded, console, [Notices(console)]) as runtime:
        require_store(runtime)
        where = str(loaded.paths.store_dir)
        console.out(f"The store exists already: {where}\n" if existed else f"Made the store: {where}\n")
        try:
            await _recovery(args, file, runtime, console, existed=existed)
            await _report(runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


def _refuse_early(file: Path) -> None:
    """A file that will not do is found out before there is a store without a recovery key."""
    if os.path.lexists(file):
        raise usage_error(f"{str(file)!r} exists already and is not overwritten", "Name a new file.")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise usage_error(f"{str(file)!r} cannot be made there", "Name a file in a folder that exists and is writable.")


async def _with_passphrase(loaded: Loaded, console: Console) -> Loaded:
    if loaded.settings.passphrase is not None:
        return loaded
    from pydantic import SecretStr

    title = "Passphrase for the new store (Enter: none, this machine's own key guards it)"
    typed = await TerminalAsker(console).ask_secret(title, confirm=True)
    secret = SecretStr(typed) if typed else None
    return replace(loaded, settings=loaded.settings.model_copy(update={"passphrase": secret}))


async def _recovery(
    args: argparse.Namespace, file: Path | None, runtime: Runtime, console: Console, *, existed: bool
) -> None:
    store = await runtime.vault.get()
    confirmed = store.keys.recovery_confirmed()
    if file is not None and confirmed:
        console.out("It has a recovery key already; no file was written. `sophia keys recovery` makes another.\n")
    elif file is not None:
        await recovery_into(file, runtime)
        console.out(f"Recovery key: {file}\n")
    elif not args.yes and not confirmed and not existed:
        await _shown_recovery(runtime, console)


async def _shown_recovery(runtime: Runtime, console: Console) -> None:
    try:
        console.err(f"{await runtime.run('keys.recovery')}\n")
    except CommandError as error:
        console.say(str(error), "`sophia keys recovery` shows another one at any time.")


async def _report(runtime: Runtime, console: Console) -> None:
    slots = cast("list[SlotInfo]", await runtime.run("keys.list"))
    console.out(f"Unlocked by: {', '.join(slot.kind for slot in slots)}\n")
    if any(slot.weak for slot in slots):
        console.say("the store is guarded by this device's own key file only, which is weak", WEAK_HINT)
