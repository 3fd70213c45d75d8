"""`sophia sessions`: what was said, for people and for scripts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import OK, USAGE, Quit
from sophia_cli.opening import Notices, as_quit, opened, require_store, store_exists
from sophia_cli.purging import purge
from sophia_cli.results import as_json, show, table
from sophia_cli.search import search
from sophia_core.commands import CommandError
from sophia_core.present import when
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from local_store import Message, Session
    from sophia_core.runtime import Runtime


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    loaded = load_settings()
    return interrupts.run(lambda: sessions(args, loaded, console), console)


async def sessions(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Lists, shows, searches or deletes; returns the exit code. Raises Quit. Makes no store where there is none."""
    action = _ACTIONS[args.action]
    if args.action in ("list", "search") and not store_exists(loaded):
        show_list([], args, console)
        return OK
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        try:
            await action(args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


def show_list(rows: list[Any], args: argparse.Namespace, console: Console) -> None:
    """Prints the rows as a JSON array or as a table."""
    if args.json:
        console.out_raw(f"{as_json(rows)}\n")
    else:
        show(rows, console)


async def _list(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    chosen = {"folder": args.folder, "tag": args.tag, "archived": args.archived}
    found = cast("list[Session]", await runtime.run("session.list", limit=args.limit, **chosen))
    if args.json or not found:
        show_list(found, args, console)
        return
    columns = _columns(found)
    rows = [tuple(word(each) for _, word in columns) for each in found]
    console.out(table(tuple(name for name, _ in columns), rows, console))


def _columns(found: list[Session]) -> list[tuple[str, Callable[[Session], object]]]:
    """What is told of each; where nobody put anything in order there is nothing to see of it."""
    columns: list[tuple[str, Callable[[Session], object]]] = [
        ("id", lambda each: each.id),
        ("used", lambda each: when(each.updated_at)),
        ("messages", lambda each: each.message_count),
    ]
    if any(each.pinned for each in found):
        columns.append(("pinned", lambda each: "yes" if each.pinned else ""))
    if any(each.folder for each in found):
        columns.append(("folder", lambda each: each.folder))
    if any(each.tags for each in found):
        columns.append(("tags", lambda each: ", ".join(each.tags)))
    return [*columns, ("title", lambda each: each.title)]


async def _show(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    session = cast("Session", await runtime.run("session.open", args.id))
    store = await runtime.vault.get()
    if args.json:
        messages = await store.messages.all(session.id)
        console.out_raw(as_json({"id": session.id, "messages": [_described(each) for each in messages]}) + "\n")
        return
    console.out(f"{session.title}\n{session.id} · {when(session.updated_at)}\n")
    for message in await store.messages.path(session.id):
        console.out(f"\n{_heading(message)}\n{message.text}\n")


def _described(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "parent": message.parent_id,
        "role": message.role,
        "text": message.text,
        "status": message.status,
        "provider": message.provider,
    }


def _heading(message: Message) -> str:
    if message.role != "assistant":
        return f"── {message.role}"
    source = " · ".join(part for part in (message.provider, message.model) if part)
    return " · ".join(part for part in ("── answer", source, _unless_complete(message.status)) if part)


def _unless_complete(status: str) -> str:
    return "" if status == "complete" else status


async def _remove(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    session = cast("Session", await runtime.run("session.open", args.id))
    if not args.yes:
        _ask_first(session, console)
    await runtime.run("session.delete", session.id, confirmed=True)
    if args.json:
        console.out_raw(as_json({"id": session.id, "deleted": True}) + "\n")
    elif console.err_stream.terminal:
        console.err(f"Deleted {session.title!r}.\n")


def _ask_first(session: Session, console: Console) -> None:
    if not console.interactive:
        raise Quit(USAGE, f"deleting {session.title!r} cannot be undone", "Pass --yes to do it.")
    if not TerminalAsker(console).confirm(f"Delete {session.title!r} and everything said in it?"):
        raise Quit(USAGE, "nothing was deleted")


_ACTIONS = {"list": _list, "show": _show, "search": search, "rm": _remove, "purge": purge}
