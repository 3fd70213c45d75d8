"""`sophia`: picks the front end or the subcommand, and turns whatever happens into a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sophia_cli.exits import FAILED, OK, SIGNALLED, STORE, UNANSWERED, USAGE, Quit
from sophia_cli.version import VERSION

if TYPE_CHECKING:
    from backend_client.chaos_profile import ChaosProfile
    from sophia_cli.console import Console

SIGINT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns the exit code. Never raises for what a person, a disk or a server did."""
    from sophia_cli.console import open_console

    # Plugins of other packages have no business in our settings, and looking for them costs time at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    words = list(sys.argv[1:] if argv is None else argv)
    console = open_console(os.environ)
    try:
        code = _guarded(words, console)
        _flush(console)
        return console.exit_code(code)
    except KeyboardInterrupt:
        return SIGNALLED + SIGINT


def _guarded(words: list[str], console: Console) -> int:
    try:
        return _dispatch(words, console)
    except Quit as ending:
        if ending.message:
            console.say(ending.message, ending.hint)
        return ending.code
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else OK
    except KeyboardInterrupt:
        if console.err_stream.terminal:
            console.err("\n")
        return SIGNALLED + SIGINT
    except Exception as error:
        return _explain(error, console)


def _dispatch(words: list[str], console: Console) -> int:
    if not words:
        return _start_app(console)
    if words == ["--linear"]:
        return _talk_in_lines(console)
    if words[0] == "--chaos":
        return _rehearse(words[1:], console)
    from sophia_cli.parser import parse, top_help

    match words[0]:
        case "--help" | "-h" | "help":
            console.out_raw(f"{top_help()}\n")
            return OK
        case "--version" | "-V":
            console.out_raw(f"sophia {VERSION}\n")
            return OK
        case name:
            entry, args = parse(name, words[1:])
            return entry.load()(args, console)


def _rehearse(words: list[str], console: Console) -> int:
    """Starts the app with the faults of a profile in front of every server."""
    from sophia_cli.rehearsal import profile_of

    if len(words) != 1:
        raise Quit(USAGE, "--chaos needs one file, and goes alone", "sophia --chaos profile.toml; see docs/chaos.md")
    return _start_app(console, profile_of(words[0]))


def _talk_in_lines(console: Console) -> int:
    """Talks in plain lines, for screen readers and for terminals that cannot draw."""
    from sophia_cli.linear import execute

    console.require_stdout()
    return execute(console)


def _start_app(console: Console, chaos: ChaosProfile | None = None) -> int:
    from sophia_core.first_look import first_look

    hint = 'In scripts, use `sophia ask "…"`, or `sophia --linear`; `sophia --help` lists what else there is.'
    if chaos is None and console.stdin_terminal and first_look().linear:
        return _talk_in_lines(console)
    if not (console.stdin_terminal and console.out_stream.terminal):
        raise Quit(USAGE, "the terminal app needs a terminal on stdin and stdout", hint)
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise Quit(USAGE, f"the terminal app cannot draw on TERM={os.environ.get('TERM', '')!r}", hint)
    import gc
    from importlib import import_module

    from sophia_cli.later import read_later

    read_later()
    # Nothing that is imported becomes garbage; looking for it costs a tenth of a second before the first paint.
    # The app turns the collector on again, calmer, once it stands.
    gc.disable()
    code = import_module("sophia_tui.start").run(chaos)
    return code if isinstance(code, int) else OK


def _explain(error: Exception, console: Console) -> int:
    """The last resort. What is known has a message of its own; the rest goes to the log, never on the screen."""
    from backend_client.errors import BackendError
    from local_store.errors import StoreError
    from sophia_core.commands import CommandError

    if isinstance(error, StoreError | BackendError | CommandError):
        console.say(str(error), error.hint)
        return STORE if isinstance(error, StoreError) else UNANSWERED if isinstance(error, BackendError) else FAILED
    try:
        where = _log(error)
    except Exception as second:
        where = f"It could not be logged either: {second}"
    console.say(f"something unforeseen went wrong: {type(error).__name__}: {error}", where)
    return FAILED


def _log(error: Exception) -> str:
    import traceback

    from sophia_core.logs import Log
    from sophia_core.paths import resolve_paths

    path = resolve_paths().log_file
    log = Log(path)
    log.line("crash", {"traceback": "".join(traceback.format_exception(error))}, "error")
    log.close()
    return log.problem or f"The details are in {path}"


def _flush(console: Console) -> None:
    """Writes out what argparse printed; a reader that has gone must not be found out by the interpreter's own exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        console.failure = error
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
