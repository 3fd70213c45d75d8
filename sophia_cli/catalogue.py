"""`sophia commands`: every command there is, from its declaration; nothing is opened for it."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Iterator

from sophia_cli.console import Console
from sophia_cli.exits import OK
from sophia_cli.results import as_json, table
from sophia_core.commands import Declaration, declarations, usage

SCREEN_MODULE = "sophia_tui.commands"


def execute(args: argparse.Namespace, console: Console) -> int:
    """Prints the list."""
    specs = every_command()
    if args.json:
        console.out_raw(as_json([_described(spec) for spec in specs]) + "\n")
        return OK
    rows = [(_written(spec), f"/{spec.slash}" if spec.slash else "", _keys(spec), spec.help) for spec in specs]
    console.out(table(("command", "slash", "keys", "help"), rows, console))
    return OK


def every_command() -> list[Declaration]:
    """All declarations, by name: those that work anywhere and those of the terminal app."""
    from sophia_core.runtime import COMMAND_OWNERS

    anywhere = [spec for owner in COMMAND_OWNERS for _, spec in declarations(owner)]
    return sorted([*anywhere, *screen_commands()], key=lambda spec: spec.name)


def screen_commands() -> Iterator[Declaration]:
    """What only the terminal app can do; nothing where the app is not installed."""
    if importlib.util.find_spec("sophia_tui") and importlib.util.find_spec(SCREEN_MODULE):
        owners: tuple[type, ...] = importlib.import_module(SCREEN_MODULE).SCREEN_OWNERS
        for owner in owners:
            for _, spec in declarations(owner):
                yield spec


def _described(spec: Declaration) -> dict[str, object]:
    return {
        "name": spec.name,
        "help": spec.help,
        "params": spec.params,
        "keys": spec.keys,
        "slash": spec.slash,
        "dangerous": spec.dangerous,
        "needs_app": spec.needs_app,
    }


def _written(spec: Declaration) -> str:
    return usage(spec).removeprefix("Usage: ")


def _keys(spec: Declaration) -> str:
    return " ".join(spec.keys)
