"""`sophia keys`: what unlocks the store, and how to change it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sophia_cli import interrupts
from sophia_cli.asker import KeyFile, TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, USAGE, Quit, usage_error
from sophia_cli.opening import Notices, as_quit, opened, require_store
from sophia_cli.results import as_json, table
from sophia_core.commands import CommandError
from sophia_core.present import when
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import SlotInfo
    from sophia_core.runtime import Runtime

WEAK_HINT = "Anybody who copies this machine's files can read the store; `sophia keys passphrase` changes that."
LARGEST_KEY_FILE = 64 * 1024


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: keys(args, loaded, console), console)


async def keys(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Lists or changes the key slots; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        try:
            if args.action == "recover":
                await _recover(args, runtime, console)
            else:
                require_store(runtime)
                await _ACTIONS[args.action](args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


async def _list(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    found = cast("list[SlotInfo]", await runtime.run("keys.list"))
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
        return
    rows = [(slot.id, slot.kind, _strength(slot), slot.label, when(slot.created_at)) for slot in found]
    console.out(table(("id", "kind", "strength", "label", "since"), rows, console))
    if any(slot.weak for slot in found):
        console.say("the store is guarded by this device's own key file only, which is weak", WEAK_HINT)
    elif due := (await runtime.vault.get()).keys.rotation_due():
        console.say(f"the store should have new keys: {due}", "`sophia keys rotate` makes them.")


def _strength(slot: SlotInfo) -> str:
    return "weak" if slot.weak else "strong"


async def _run(name: str, args: argparse.Namespace, runtime: Runtime, console: Console, *values: object) -> None:
    due = (await runtime.vault.get()).keys.rotation_due()
    console.err(f"{cast(str, await runtime.run(name, *values, confirmed=True))}\n")
    now = (await runtime.vault.get()).keys.rotation_due()
    if now and now != due and console.interactive and TerminalAsker(console).confirm("Give the store new keys now?"):
        await _rotate(args, runtime, console)


async def _passphrase(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    await _run("keys.passphrase", args, runtime, console)


async def _recovery(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    if args.recovery_key_file:
        await recovery_into(Path(args.recovery_key_file), runtime)
    else:
        await _run("keys.recovery", args, runtime, console)


async def _add(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    if args.kind == "ssh-agent":
        await _run("keys.agent", args, runtime, console, _public_line(args.key))
    elif args.key:
        raise usage_error(f"a {args.kind} has no KEY", "Only `sophia keys add ssh-agent` takes one.")
    else:
        await _run(f"keys.{args.kind}", args, runtime, console)


def _public_line(key: str) -> str:
    """The key as it was named, or the line of the public key file that was named. Raises Quit."""
    path = Path(key)
    try:
        if not key or not path.is_file():
            return key
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(LARGEST_KEY_FILE).splitlines()
    except (OSError, ValueError):
        return key
    if not lines or lines[0].startswith("-----"):
        raise usage_error(f"{key!r} is no public key file", f"Name the file that ends in .pub: {key}.pub")
    return lines[0]


async def _remove(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    if not args.yes:
        if not console.interactive:
            raise Quit(USAGE, f"removing {args.slot!r} cannot be undone", "Pass --yes to do it.")
        if not TerminalAsker(console).confirm(f"Remove the key slot {args.slot!r}? It opens the store no more."):
            raise Quit(USAGE, "nothing was removed")
    await _run("keys.remove", args, runtime, console, args.slot)


async def _rotate(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    if console.err_stream.terminal:
        console.err("Writing the store anew under new keys; Ctrl-C leaves it as it is.\n")
    console.err(f"{cast(str, await runtime.run('keys.rotate'))}\n")


async def _recover(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    """Sets a new passphrase by way of the recovery key, which a person may have typed while the store was opened."""
    vault = runtime.vault
    if vault.store is None and args.recovery_key_file:
        await vault.unlock(recovery_key=_key_in(Path(args.recovery_key_file)))
        require_store(runtime)
    if vault.store is None:
        console.err(f"{cast(str, await runtime.run('keys.recover'))}\n")
    elif vault.store.unlocked_by == "recovery":
        await _passphrase(args, runtime, console)
    else:
        by = vault.store.unlocked_by
        hint = "`sophia keys passphrase` sets another passphrase."
        raise Quit(FAILED, f"there is nothing to recover: the store opens with its {by}", hint)


def _key_in(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(LARGEST_KEY_FILE).strip()
    except OSError as error:
        raise usage_error(f"{str(path)!r} cannot be read: {error.strerror}", "Name the recovery key's file.") from None


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


_ACTIONS = {
    "list": _list,
    "passphrase": _passphrase,
    "recovery": _recovery,
    "add": _add,
    "remove": _remove,
    "rotate": _rotate,
}
