"""`sophia audit`: what was done with the store and the keys, and whether the log of it is what was written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, STORE, Quit, usage_error
from sophia_cli.opening import Notices, opened, require_store, store_exists
from sophia_cli.results import as_json, table
from sophia_core.present import when
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import AuditEntry
    from sophia_core.runtime import Runtime


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: audit(args, loaded, console), console)


async def audit(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Shows, verifies or exports the log; returns the exit code: 3 for a log that was changed. Raises Quit."""
    if not store_exists(loaded):
        raise Quit(STORE, "there is no store here, and no audit log", "`sophia init` makes one.")
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        return await _ACTIONS[args.action](args, runtime, console)


async def _show(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    found = await (await runtime.vault.get()).audit.entries(args.limit)
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    elif found:
        rows = [(each.seq, when(each.at), each.kind, each.subject, _words(each)) for each in found]
        console.out(table(("entry", "when", "what", "subject", "detail"), rows, console))
    elif console.err_stream.terminal:
        console.err("(none)\n")
    return OK


def _words(entry: AuditEntry) -> str:
    return ", ".join(f"{name}={text}" for name, text in entry.detail.items())


async def _verify(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    report = await (await runtime.vault.get()).audit.verify()
    if args.json:
        console.out_raw(f"{as_json(report)}\n")
    elif report.ok:
        behind = f"; the last {report.behind} are not anchored yet" if report.behind else ""
        console.out(f"{report.entries} entries, every one as it was written{behind}.\nHead: {report.head}\n")
    else:
        where = f" at entry {report.first}" if report.first else ""
        console.say(f"the audit log does not verify ({report.fault}{where}): {report.detail}", report.hint)
    return OK if report.ok else STORE


async def _export(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    store = await runtime.vault.get()
    if args.file == "-":
        await store.audit.export(lambda line: console.out_raw(f"{line}\n"))
        return OK
    with _new_file(Path(args.file)) as write:
        count = await store.audit.export(write)
    if console.err_stream.terminal:
        console.err(f"{count} entries are in {args.file!r}.\n")
    return OK


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[str], object]]:
    """Gives what takes the lines of a new private file; one that did not get all of them is removed. Raises Quit."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise usage_error(f"{str(path)!r} exists already and is not overwritten", "Name a new file.") from None
    except (OSError, ValueError) as error:
        raise usage_error(f"{str(path)!r} cannot be made: {error}", "Name a file elsewhere.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            yield lambda line: file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Quit(FAILED, f"{str(path)!r} cannot be written: {error.strerror}", "Nothing was exported.") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


_ACTIONS = {"show": _show, "verify": _verify, "export": _export}
