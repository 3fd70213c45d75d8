"""`sophia swarm`: runs of plans from a shell; what they do is done by a worker, which outlives this command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit, usage_error
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime
    from sophia_core.swarm.rows import Begun

ONE_RUN: Final = frozenset({"show", "pause", "resume", "cancel", "kill", "undo", "delete"})
LISTS: Final = frozenset({"plans", "inputs", "workers", "start", "drain"})
LONGEST_STDIN: Final = 64 * 1024


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    if args.action == "worker":
        from sophia_cli.swarm_worker import execute as work

        return work(args, console)
    if args.action == "dead" and (args.what == "list") == bool(args.step):
        raise usage_error("`sophia swarm dead` lists them; retry and drop need a number, or `all`.")
    loaded = load_settings()
    return interrupts.run(lambda: swarm(args, loaded, console), console)


async def swarm(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Lists, begins, follows or changes runs; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        try:
            return await _ACTIONS.get(args.action, _simple)(args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None


async def _simple(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """What is one command whose result is printed."""
    name, words = _command_of(args)
    printed(await run_asked(runtime, console, name, *words, yes=args.yes), args, console)
    return OK


def _command_of(args: argparse.Namespace) -> tuple[str, list[str]]:
    """The command of an action, and what it is given."""
    action = args.action
    if action in ONE_RUN:
        return f"swarm.{action}", [args.run]
    if action in LISTS:
        return f"swarm.{action}", []
    match action:
        case "ls":
            return "swarm.list", [args.status]
        case "plan":
            return ("swarm.plan.trust" if args.trust else "swarm.plan.show"), [args.name]
        case "retry":
            return "swarm.retry", [args.run, args.step, " ".join(args.goal)]
        case "fork":
            return "swarm.fork", [args.run, args.step]
        case "answer":
            return "swarm.answer", [args.question, _text(args.text)]
    raise usage_error(f"there is no action {action!r}", "See `sophia swarm --help`.")


async def run_asked(runtime: Runtime, console: Console, name: str, *words: object, yes: bool, **more: object) -> object:
    """Runs a command; where it cannot be undone or spends, the person at the terminal is asked. Raises CommandError."""
    try:
        return await runtime.run(name, *words, confirmed=yes, **more)
    except NeedsConfirmation as question:
        if not console.interactive or not TerminalAsker(console).confirm(f"{question.about or question.what}. Do it?"):
            raise
        return await runtime.run(name, *words, confirmed=True, **more)


def printed(value: object, args: argparse.Namespace, console: Console) -> None:
    """Prints a result as it was asked for."""
    if args.json:
        console.out_raw(f"{as_json(value)}\n")
    else:
        show(value, console)


async def _run(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    values = " ".join(quoted(each) for each in args.values)
    given = {"values": values, "usd": args.usd, "tokens": args.tokens}
    if args.dry_run:
        printed(await runtime.swarm_side.steering.would(args.plan, **given), args, console)
        return OK
    begun = await run_asked(runtime, console, "swarm.run", args.plan, yes=args.yes, **given)
    if args.watch:
        return await _follow(begun.id, args, runtime, console)  # type: ignore[attr-defined]
    if args.wait:
        return _ended(await runtime.swarm_side.steering.result(begun.id), args, console)  # type: ignore[attr-defined]
    printed(begun, args, console)
    return OK


async def _watch(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    return await _follow((await runtime.swarm.run(args.run)).id, args, runtime, console)


async def _follow(run_id: str, args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """Tells what happens in a run until it has ended."""
    from sophia_core.swarm.telling import as_data, line_of

    async for event in runtime.swarm.follow(run_id):
        console.out_raw(f"{as_json(as_data(event))}\n" if args.json else f"{line_of(event)}\n")
    ended = await runtime.swarm_side.steering.result(run_id)
    return OK if args.json and ended.status == "finished" else _ended(ended, args, console)


def _ended(begun: Begun, args: argparse.Namespace, console: Console) -> int:
    if not (args.json and args.action == "watch"):
        printed(begun, args, console)
    return OK if begun.status == "finished" else FAILED


async def _replay(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    from sophia_core.swarm.telling import as_data
    from sophia_core.swarm.view.folding import fold

    if not args.json:
        printed(await runtime.run("swarm.replay", args.run, args.at), args, console)
        return OK
    row = await runtime.swarm.run(args.run)
    happened = await runtime.swarm.all_events(row.id)
    if args.at is not None:
        console.out_raw(f"{as_json(fold(row.id, happened[: args.at]).data())}\n")
    else:
        console.out_raw("".join(f"{as_json(as_data(each))}\n" for each in happened))
    return OK


async def _show(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    from sophia_core.swarm.view.folding import fold

    if not args.json:
        return await _simple(args, runtime, console)
    row = await runtime.swarm.run(args.run)
    console.out_raw(f"{as_json(fold(row.id, await runtime.swarm.all_events(row.id)).data())}\n")
    return OK


async def _dead(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    if args.what == "list":
        dead = await runtime.swarm.dead_steps()
        printed(dead, args, console)
        return FAILED if dead else OK
    words = [args.step, *([" ".join(args.goal)] if args.what == "retry" else [])]
    printed(await run_asked(runtime, console, f"swarm.dead.{args.what}", *words, yes=args.yes), args, console)
    return OK


async def _decide(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    from sophia_cli.approvals import decided

    return await decided("allow" if args.action == "approve" else "deny", args, runtime, console)


def quoted(pair: str) -> str:
    """`name=value` as a command line takes it, whatever stands in the value."""
    name, equals, value = pair.partition("=")
    if not equals:
        return pair
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _text(words: list[str]) -> str:
    if words != ["-"]:
        return " ".join(words)
    text = sys.stdin.read(LONGEST_STDIN + 1)
    if len(text) > LONGEST_STDIN:
        raise Quit(FAILED, "the answer on stdin is too long", "Put it in a file, and name that.")
    return text.strip()


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Runtime, Console], Awaitable[int]]]] = {
    "run": _run,
    "watch": _watch,
    "show": _show,
    "replay": _replay,
    "dead": _dead,
    "approve": _decide,
    "deny": _decide,
}
