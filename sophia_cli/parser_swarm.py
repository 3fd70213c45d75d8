"""The arguments of `sophia swarm` and `sophia approvals`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RUN: Final = ("run", "RUN", "its number in the list, its id, or the beginning of its id; the newest")

ONE_RUN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "show": "show how it goes: steps, use, what waits for you",
        "watch": "follow it to its end; one JSON object an event with --json",
        "pause": "begin no further step",
        "resume": "let it go on",
        "cancel": "stop it; what is at work may come to its end",
        "kill": "stop it at once",
        "undo": "take back what it put into your folder",
        "delete": "delete it, once it has ended",
    }
)
"""Actions that take a run and nothing else."""
LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "plans": "list the plans that can be run",
        "inputs": "list the questions that runs have for you",
        "workers": "list the workers",
        "start": "start the worker of this machine",
        "drain": "let the worker of this machine finish, and end",
    }
)


def swarm(parser: argparse.ArgumentParser) -> None:
    """Adds what `sophia swarm` takes."""
    parser.set_defaults(action="ls", status="", yes=False)
    parser.add_argument("--json", action="store_true", help="as JSON; of watch and replay, one object a line")
    names = "[ls | plans | run | show | watch | … | worker]"
    actions = parser.add_subparsers(metavar=names, parser_class=type(parser))
    listing = actions.add_parser("ls", help="list the runs, the newest first (the default)", allow_abbrev=False)
    listing.add_argument("--status", default="", metavar="STATUS", help="open, running, waiting, finished, failed …")
    made = {"ls": listing}
    made |= {name: actions.add_parser(name, help=text, allow_abbrev=False) for name, text in LISTS.items()}
    for name, text in ONE_RUN.items():
        made[name] = actions.add_parser(name, help=text, allow_abbrev=False)
        made[name].add_argument("run", nargs="?" if name != "delete" else None, default="1", metavar="RUN", help=RUN[2])
    made |= {"plan": _plan(actions), "run": _run(actions), "retry": _retry(actions), "fork": _fork(actions)}
    made |= {"replay": _replay(actions), "answer": _answer(actions), "dead": _dead(actions)}
    made |= {"approve": _decide(actions, "approve"), "deny": _decide(actions, "deny")}
    for name, each in made.items():
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    for name in ("cancel", "kill", "undo", "delete"):
        made[name].add_argument("--yes", action="store_true", help="do not ask")
    _worker(actions)


def _plan(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    plan = actions.add_parser("plan", help="print a plan, or let one of this folder run", allow_abbrev=False)
    plan.add_argument("name", metavar="NAME", help="the plan")
    plan.add_argument("--trust", action="store_true", help="let it run, as long as its text stays the same")
    return plan


def _run(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    run = actions.add_parser("run", help="run a plan", allow_abbrev=False)
    run.add_argument("plan", metavar="PLAN", help="the plan's name")
    run.add_argument("values", nargs="*", metavar="NAME=VALUE", help="what it has to be told")
    run.add_argument("--usd", type=float, metavar="N", help="end when it has cost so much")
    run.add_argument("--tokens", type=int, metavar="N", help="end when it has used so many")
    run.add_argument("--dry-run", action="store_true", help="only tell what it would do and use")
    how = run.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="wait for it, and print its result")
    how.add_argument("--watch", action="store_true", help="tell what happens until it has ended")
    run.add_argument("--yes", action="store_true", help="begin without asking")
    return run


def _retry(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    retry = actions.add_parser("retry", help="do a step again, and what comes after it", allow_abbrev=False)
    retry.add_argument("run", metavar="RUN", help=RUN[2])
    retry.add_argument("step", metavar="STEP", help="the step's id")
    retry.add_argument("goal", nargs="*", metavar="GOAL", help="what to do instead of its own goal")
    return retry


def _fork(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    fork = actions.add_parser("fork", help="go on from a step in a run of its own", allow_abbrev=False)
    fork.add_argument("run", metavar="RUN", help=RUN[2])
    fork.add_argument("step", metavar="STEP", help="the step to do anew")
    return fork


def _replay(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    replay = actions.add_parser("replay", help="tell what happened, or show it as it was", allow_abbrev=False)
    replay.add_argument("run", nargs="?", default="1", metavar="RUN", help=RUN[2])
    replay.add_argument("--at", type=int, metavar="EVENT", help="as it was after the event of this number")
    return replay


def _answer(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    answer = actions.add_parser("answer", help="answer a question of a run", allow_abbrev=False)
    answer.add_argument("question", metavar="QUESTION", help="its number in `inputs`")
    answer.add_argument("text", nargs="+", metavar="TEXT", help="the answer; `-` takes it from stdin")
    return answer


def _dead(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    dead = actions.add_parser("dead", help="list steps that failed for good; retry or drop them", allow_abbrev=False)
    dead.add_argument("what", nargs="?", choices=("list", "retry", "drop"), default="list", help="list")
    dead.add_argument("step", nargs="?", default="", metavar="STEP", help="its number in the list, or `all`")
    dead.add_argument("goal", nargs="*", metavar="GOAL", help="of retry: what to do instead of its own goal")
    dead.add_argument("--yes", action="store_true", help="do not ask")
    return dead


def _decide(actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> argparse.ArgumentParser:
    texts = {"approve": "allow what waits for you", "deny": "refuse what waits for you"}
    decide = actions.add_parser(name, help=texts[name], allow_abbrev=False)
    decide.add_argument("approval", metavar="ID", help="the start of its id in `sophia approvals`")
    _how(decide, name)
    decide.add_argument("--yes", action="store_true", help="do not ask")
    return decide


def _worker(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    worker = actions.add_parser("worker", help="carry out runs, until it is stopped", allow_abbrev=False)
    worker.set_defaults(action="worker")
    worker.add_argument("--slot", type=int, default=1, metavar="N", help="which of this machine's workers it is (1)")
    worker.add_argument("--label", action="append", default=[], metavar="LABEL", help="what it has: gpu, repo=NAME …")
    worker.add_argument("--on-demand", action="store_true", help="end when there has been nothing to do for a while")
    worker.add_argument("--key-on-stdin", action="store_true", help=argparse.SUPPRESS)


def approvals(parser: argparse.ArgumentParser) -> None:
    """Adds what `sophia approvals` takes."""
    parser.set_defaults(action="list", yes=False)
    parser.add_argument("--json", action="store_true", help="an array; of show, one object")
    names = "[list | show | allow | deny | rules | forget]"
    actions = parser.add_subparsers(metavar=names, parser_class=type(parser))
    texts = {
        "list": "list what waits for you (the default)",
        "show": "show all of one: its diff, its command",
        "allow": "allow one",
        "deny": "refuse one",
        "rules": "list what is allowed, asked and denied by rule",
        "forget": "forget a rule that was remembered",
    }
    for name, text in texts.items():
        each = actions.add_parser(name, help=text, allow_abbrev=False)
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
        if name in ("show", "allow", "deny", "forget"):
            each.add_argument("approval", metavar="ID", help="the start of its id")
        if name in ("allow", "deny"):
            _how(each, name)
        if name in ("allow", "deny", "forget"):
            each.add_argument("--yes", action="store_true", help="do not ask")


def _how(parser: argparse.ArgumentParser, name: str) -> None:
    if name in ("allow", "approve"):
        parser.add_argument(
            "--scope", choices=("once", "run", "rule"), default="once", help="how long it counts (once)"
        )
    else:
        parser.add_argument("reason", nargs="*", metavar="WHY", help="told to who asked")
