"""`sophia mcp`: other people's servers from a shell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, usage_error
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.mcp.asked import Answer, Question
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime

WORDS = {"list": (0, 0), "show": (1, 1), "add": (2, 200), "remove": (1, 1), "trust": (1, 1), "test": (0, 1)}
WORDS |= {"tools": (1, 1), "accept": (1, 1), "call": (1, 2), "resources": (1, 1), "read": (2, 2), "prompts": (1, 1)}
WORDS |= {"prompt": (2, 50), "login": (1, 1), "logout": (1, 1)}
"""The actions, and how many words each takes."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    least, most = WORDS[args.action]
    if not least <= len(args.words) <= most:
        raise usage_error(f"`sophia mcp {args.action}` takes {_count(least, most)}.", "See docs/mcp.md.")
    loaded = load_settings()
    return interrupts.run(lambda: mcp(args, loaded, console), console)


async def mcp(args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None) -> int:
    """Does it and prints what came of it; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        if console.interactive:
            runtime.mcp.asked.person = _Person(console)
        try:
            found, failed = await _run(args, runtime, console)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    if args.json:
        console.out_raw(f"{as_json(found)}\n")
    else:
        show(found, console)
    return FAILED if failed else OK


async def _run(args: argparse.Namespace, runtime: Runtime, console: Console) -> tuple[object, bool]:
    """What came of it, and whether something is wrong."""
    words = list(args.words)
    if args.action == "test" and not words:
        return await _test_all(runtime, console)
    if args.action in ("add", "prompt"):
        kept = 1 if args.action == "add" else 2
        words = [*words[:kept], _joined(words[kept:])]
    name = f"mcp.{args.action}"
    try:
        return await runtime.run(name, *words, confirmed=args.yes), False
    except NeedsConfirmation as question:
        if not console.interactive or not TerminalAsker(console).confirm(f"{question.what} {question.about} Do it?"):
            raise
        return await runtime.run(name, *words, confirmed=True), False


async def _test_all(runtime: Runtime, console: Console) -> tuple[object, bool]:
    """How every server that may be used answers."""
    tried, failed = [], False
    for each in await runtime.mcp.servers.usable():
        try:
            tried.append(await runtime.mcp.test(each.name))
        except CommandError as error:
            console.say(str(error), error.hint)
            failed = True
    return tried, failed


class _Person:
    """The person at the terminal, who is asked what a server wants to know."""

    def __init__(self, console: Console) -> None:
        self._asker = TerminalAsker(console)

    async def __call__(self, question: Question) -> Answer:
        where = f" It wants you to open {question.address}" if question.address else ""
        if not self._asker.confirm(f"The MCP server {question.server} asks: {question.message}{where} Answer?"):
            return None
        given: dict[str, object] = {}
        for each in question.fields:
            about = f" – {each.about}" if each.about else ""
            choices = f" ({', '.join(each.choices)})" if each.choices else ""
            if said := self._asker.line(f"{each.name}{about}{choices}: "):
                try:
                    given[each.name] = each.value(said)
                except ValueError:
                    return None
        return given


def _joined(words: list[str]) -> str:
    """The words of a shell as one line that means the same."""
    import shlex

    return words[0] if len(words) == 1 else shlex.join(words)


def _count(least: int, most: int) -> str:
    if most == 0:
        return "nothing more"
    return f"{least} word{'' if least == 1 else 's'}" + (" or more" if most > least else "")
