"""`sophia top`: the metrics pane alone."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

from sophia_cli.console import Console
from sophia_cli.exits import OK, USAGE, Quit


def execute(args: argparse.Namespace, console: Console) -> int:
    """Shows it until the person leaves. Raises Quit where there is no terminal to show it on."""
    hint = "In scripts, use `sophia metrics --json`."
    if not (console.stdin_terminal and console.out_stream.terminal):
        raise Quit(USAGE, "`sophia top` needs a terminal on stdin and stdout", hint)
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise Quit(USAGE, f"`sophia top` cannot draw on TERM={os.environ.get('TERM', '')!r}", hint)
    code = import_module("sophia_tui.top").run(args.section)
    return code if isinstance(code, int) else OK
