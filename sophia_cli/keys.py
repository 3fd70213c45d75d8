"""`sophia keys`: what unlocks the store, and how to change it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sophia_cli import interrupts
from sophia_cli.asker import KeyFile
from sophia_cli.console import Console
from sophia_cli.exits import OK, Quit
from sophia_cli.opening import Notices, as_quit, opened, require_store
from sophia_cli.results import as_json, table
from sophia_core.commands import CommandError
from sophia_core.present import when
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import SlotInfo
    from sophia_core.runtime import Runtime

WEAK_HINT = "Anybody who copies this machine's files can read the store; `sophia keys passphrase` changes that."


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: keys(args, loaded, console), console)


async def keys(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Lists or changes the key slots; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        try:
            if args.action == "list":
                await _list(args, runtime, console)
            elif args.action == "recovery" and args.recovery_key_file:
                await recovery_into(Path(args.recovery_key_file), runtime)
            else:
                said = cast(str, await runtime.run(f"keys.{args.action}"))
                console.err(f"{said}\n")
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


async def _list(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    found = cast("list[SlotInfo]", await runtime.run("keys.list"))
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
        return
    rows = [(slot.kind, "weak" if slot.weak else "strong", slot.label, when(slot.created_at)) for slot in found]
    console.out(table(("kind", "strength", "label", "since"), rows, console))
    if any(slot.weak for slot in found):
        console.say("the store is guarded by this device's own key file only, which is weak", WEAK_HINT)


async def recovery_into(path: Path, runtime: Runtime) -> None:
    """Makes a recovery key that stands in a new private file, and is valid from then on. Raises Quit, CommandError."""
    file = KeyFile(path)
    asker, runtime.vault.asker = runtime.vault.asker, file
    try:
        await runtime.run("keys.recovery")
    except OSError as error:
        file.discard()
        raise Quit(1, f"{str(path)!r} cannot be written: {error.strerror}", "No recovery key was made.") from None
    except BaseException:
        file.discard()
        raise
    finally:
        runtime.vault.asker = asker
