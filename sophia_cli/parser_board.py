"""The arguments of `sophia board`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

STATES: Final = ("backlog", "doing", "review", "done")
KINDS: Final = ("run", "session", "commit", "message", "plan")
TASK: Final = "its number in the list, or the beginning of its id"
Configure: TypeAlias = Callable[[argparse.ArgumentParser], None]


def board(parser: argparse.ArgumentParser) -> None:
    """Adds what `sophia board` takes."""
    parser.set_defaults(action="list", state=None, yes=False)
    parser.add_argument("--json", action="store_true", help="an array; of show and run, one object")
    names = "[list | show | add | move | edit | link | drop | run | take | import | export]"
    actions = parser.add_subparsers(metavar=names, parser_class=type(parser))
    for name, (text, configure) in ACTIONS.items():
        each = actions.add_parser(name, help=text, allow_abbrev=False)
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
        configure(each)


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("state", nargs="?", choices=STATES, metavar="COLUMN", help=f"one of {', '.join(STATES)}")


def _task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help=TASK)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("title", nargs="+", metavar="TITLE", help="what is to be done, in one line")
    parser.add_argument("--column", dest="state", choices=STATES, default="backlog", help="where it goes (backlog)")
    _said(parser)


def _said(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--body", metavar="TEXT", help="the rest of it; `-` takes it from stdin")
    parser.add_argument("--labels", metavar="A,B", help="labels, separated by commas")
    parser.add_argument("--priority", type=int, metavar="N", help="the higher the sooner")


def _move(parser: argparse.ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("state", choices=STATES, metavar="COLUMN", help=f"one of {', '.join(STATES)}")
    parser.add_argument("--before", default="", metavar="TASK", help="the task that it comes to stand above")


def _edit(parser: argparse.ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("--title", metavar="TITLE", help="what is to be done, in one line")
    _said(parser)


def _link(parser: argparse.ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("target", metavar="ID", help="its id, hash or name")
    parser.add_argument("--remove", action="store_true", help="it belongs to it no more")


def _run(parser: argparse.ArgumentParser) -> None:
    _task(parser)
    parser.add_argument("plan", nargs="?", default="", metavar="PLAN", help="the plan; the one it had, or the usual")
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help="what the plan has to be told besides")
    parser.add_argument("--yes", action="store_true", help="begin without asking")


def _take(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("message", metavar="MESSAGE", help="the id of the answer")


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="Markdown, or JSON by its ending")
    parser.add_argument("--format", choices=("md", "json"), help="what it is, whatever its ending")


ACTIONS: Final[Mapping[str, tuple[str, Configure]]] = MappingProxyType(
    {
        "list": ("list the tasks, column by column (the default)", _list),
        "show": ("show a task with what belongs to it", _task),
        "add": ("put a task on the board", _add),
        "move": ("move a task to a column", _move),
        "edit": ("change what a task says", _edit),
        "link": ("say that a run, session, commit, message or plan belongs to a task", _link),
        "drop": ("take a task off the board", _task),
        "run": ("let a plan do a task", _run),
        "take": ("put the points of an answer on the board", _take),
        "import": ("take tasks over from a file", _file),
        "export": ("write the board to a new file", _file),
    }
)
