"""`sophia board`: what is to be done, from a shell."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit, usage_error
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.swarm import printed, quoted, run_asked
from sophia_core.commands import CommandError
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.transport import Transport

LONGEST_STDIN: Final = 200_000
GIVEN: Final = (
    *("task", "state", "title", "body", "priority", "labels", "before"),
    *("kind", "target", "remove", "message", "plan", "values", "file", "format"),
)
"""What arguments and commands call by the same names."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    given = _given(args)
    if args.action == "edit" and given.keys() == {"task"}:
        raise usage_error("Nothing is to be changed.", "Give --title, --body, --labels or --priority.")
    loaded = load_settings()
    return interrupts.run(lambda: board(args, loaded, console), console)


async def board(
    args: argparse.Namespace, loaded: Loaded, console: Console, *, transport: Transport | None = None
) -> int:
    """Lists, shows or changes tasks; returns the exit code. Raises Quit."""
    given = _given(args)
    async with opened(loaded, console, [Notices(console)], transport=transport) as runtime:
        try:
            found = await run_asked(runtime, console, f"board.{args.action}", yes=args.yes, **given)
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    printed(found, args, console)
    return OK


def _given(args: argparse.Namespace) -> dict[str, object]:
    """What the command is given: what was said, by name."""
    found = {name: getattr(args, name, None) for name in GIVEN}
    if isinstance(found["title"], list):
        found["title"] = " ".join(found["title"])
    if isinstance(found["values"], list):
        found["plan"], found["values"] = _plan_and_values(args.plan, args.values)
    if found["body"] == "-":
        args.body = found["body"] = _from_stdin()
    return {name: value for name, value in found.items() if value is not None}


def _plan_and_values(plan: str, values: list[str]) -> tuple[str, str]:
    """The plan may be left out: what has a sign of equality is a value."""
    if "=" in plan:
        plan, values = "", [plan, *values]
    return plan, " ".join(map(quoted, values))


def _from_stdin() -> str:
    text = sys.stdin.read(LONGEST_STDIN + 1)
    if len(text) > LONGEST_STDIN:
        raise Quit(FAILED, "the text on stdin is too long", "A task has at most 100,000 characters.")
    return text.strip()
