"""`sophia export` and `sophia import`: conversations that leave and come in."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, STORE, USAGE, Quit
from sophia_cli.opening import Notices, as_quit, opened, require_store
from sophia_cli.progress import ProgressLine
from sophia_cli.results import as_json
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store.errors import StoreError
    from sophia_core.exchange.exchange import Exchange

DRAIN_CHARACTERS = 1 << 20
"""Written to a pipe that somebody reads slowly, before more is read from the store."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    action = bring_in if args.action == "import" else export
    return interrupts.run(lambda: action(args, loaded, console), console)


async def export(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Writes sessions to a file or to stdout; returns the exit code. Raises Quit."""
    from local_store.errors import StoreError

    if args.id and args.all:
        raise Quit(USAGE, "--all is every session, so none is named", "Leave one of the two out.")
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        exchange = runtime.store_side.exchange
        try:
            ids = await exchange.chosen("all" if args.all else args.id)
            if args.to in (None, "-"):
                await _to_stdout(exchange, ids, args, console)
            else:
                await _to_file(exchange, ids, args, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
        except StoreError as error:
            raise _store_trouble(error) from None
    return OK


async def _to_file(exchange: Exchange, ids: list[str], args: argparse.Namespace, console: Console) -> None:
    from sophia_core.exchange.exchange import format_of, typed_path

    progress = _Progress(console, "Exporting", "sessions", 1)
    try:
        done = await exchange.export_to(typed_path(args.to), ids, format_of(args.format, args.to), progress)
    finally:
        progress.end()
    if console.err_stream.terminal:
        console.err(f"Exported {len(ids):,} session{'s' if len(ids) != 1 else ''} to {done.path}\n")
    if done.left_out:
        console.err(f"{done.left_out}\n")


async def _to_stdout(exchange: Exchange, ids: list[str], args: argparse.Namespace, console: Console) -> None:
    from sophia_core.exchange.contents import LeftOut

    console.require_stdout()
    waiting = 0
    # JSON that is to be read again must survive a terminal's or a pipe's encoding, whatever it is.
    ascii_only = console.out_stream.encoding.lower().replace("-", "") != "utf8"
    left_out = LeftOut()
    async for piece in exchange.pieces(ids, args.format or "md", ascii_only=ascii_only, left_out=left_out):
        console.out(piece)
        waiting += len(piece)
        if waiting >= DRAIN_CHARACTERS:
            await asyncio.to_thread(console.drain)
            waiting = 0
    if said := left_out.told():
        console.err(f"{said}\n")


async def bring_in(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Imports a file; 0 also when some of it was left out, 1 when the file broke off. Raises Quit."""
    from local_store.errors import StoreError
    from sophia_core.exchange.exchange import typed_path

    async with opened(loaded, console, [Notices(console)], create=not args.dry_run) as runtime:
        require_store(runtime)
        progress = _Progress(console, "Importing", "MB", 1_000_000)
        try:
            path = typed_path(args.file)
            done = await runtime.store_side.exchange.bring_in(
                path, args.source, dry_run=args.dry_run, progress=progress
            )
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
        except StoreError as error:
            raise _store_trouble(error) from None
        finally:
            progress.end()
    if args.json:
        console.out_raw(as_json(done) + "\n")
    else:
        from sophia_core.exchange.report import told

        console.out("".join(f"{line}\n" for line in told(done)))
    return FAILED if done.problem else OK


def _store_trouble(error: StoreError) -> Quit:
    return Quit(STORE, error.message, error.hint)


class _Progress:
    """How far it is, on stderr, when it takes longer than a moment."""

    def __init__(self, console: Console, what: str, unit: str, size: int) -> None:
        self._line, self._what, self._unit, self._size = ProgressLine(console), what, unit, size

    def __call__(self, done: int, total: int) -> None:
        detail = f"{self._what}: {done / self._size:,.0f} of {total / self._size:,.0f} {self._unit}"
        self._line.show(self._what, done / total if total else None, detail)

    def end(self) -> None:
        self._line.clear()
