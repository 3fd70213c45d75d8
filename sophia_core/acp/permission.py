"""What an outside agent asks to be allowed, as our gate's own requests; and the answer as it expects it. Pure.

What it says of itself is only what it says. It is shown and judged by the person's rules, but nothing is held by it:
what the agent can really do is what its box lets it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest, Danger
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.tools.changing import warning
from sophia_core.swarm.tools.confined import OutOfReach, is_secret, parts_of
from sophia_core.swarm.tools.diffs import diff_of

if TYPE_CHECKING:
    from acp.schema import PermissionOption, ToolCallUpdate

MOST_CONTENT: Final = 1 << 20
LONGEST_COMMAND: Final = 8_000
REACHES: Final = "It runs in the agent's own box, which reaches the network."
_LOOKS: Final = frozenset({"read", "search", "think", "switch_mode"})
_CHANGES: Final = frozenset({"edit", "delete", "move"})


@dataclass(frozen=True, slots=True)
class Standing:
    """What the agent can do by itself, as we started it."""

    folder: Path
    """Where it works, as it lies on this machine."""
    shown_folder: str
    """What rules know the folder as: the person's own."""
    boxed: bool
    network: bool
    isolated: bool
    """It can change nothing but a worktree of its own."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A permission that is wanted: the request to the gate; None for what it may do anyway. `never` says why not."""

    request: ApprovalRequest | None = None
    never: str = ""
    writes: tuple[str, ...] = ()
    """Marks of the very contents that were asked for, by file."""


def wanted(call: ToolCallUpdate, standing: Standing) -> Wanted:
    """What is asked for by a call of the agent's."""
    title, kind = one_line(call.title or "something", 200), call.kind or "other"
    diffs = [each for each in call.content or () if each.type == "diff"]
    named = [each.path for each in diffs] + [each.path for each in call.locations or ()]
    try:
        paths = tuple(dict.fromkeys("/".join(parts_of(each, standing.folder)) or "." for each in named))
    except OutOfReach as error:
        return Wanted(never=str(error))
    if diffs or kind in _CHANGES:
        return _change(title, paths, diffs, standing)
    if kind in _LOOKS:
        return _look(title, paths, standing)
    return _run(title, kind, call.raw_input, standing)


def _change(title: str, paths: tuple[str, ...], diffs: Sequence[Any], standing: Standing) -> Wanted:
    if any(len(each.new_text) + len(each.old_text or "") > MOST_CONTENT for each in diffs):
        return Wanted(never="The change is too large to be shown.")
    names = ["/".join(parts_of(each.path, standing.folder)) for each in diffs]
    diff = "".join(diff_of(name, each.old_text, each.new_text) for name, each in zip(names, diffs, strict=True))
    asked = request(
        "edit_file",
        "write",
        f"The outside agent wants: {title}.",
        diff=diff,
        why=warning(paths),
        arguments={"paths": list(paths), "marks": [mark(n, d.new_text) for n, d in zip(names, diffs, strict=True)]},
        folder=standing.shown_folder,
        paths=paths,
        # Without the box, or without naming what it changes, nothing says that it is only the worktree.
        isolated=standing.isolated and bool(paths),
    )
    return Wanted(asked, writes=tuple(mark(n, d.new_text) for n, d in zip(names, diffs, strict=True)))


def _look(title: str, paths: tuple[str, ...], standing: Standing) -> Wanted:
    if standing.boxed and not any(is_secret(each) for each in paths):
        return Wanted()
    asked = request(
        "read_file",
        "read",
        f"The outside agent wants: {title}.",
        why=warning(paths),
        arguments={"paths": list(paths)},
        folder=standing.shown_folder,
        paths=paths,
    )
    return Wanted(asked)


def _run(title: str, kind: str, given: object, standing: Standing) -> Wanted:
    command = command_of(given)
    if len(command) > LONGEST_COMMAND:
        return Wanted(never="The command is too long to be shown.")
    runs = kind == "execute" or bool(command)
    danger: Danger = "run" if runs else "net"
    asked = request(
        "run" if runs else f"outside.{kind}",
        danger,
        f"The outside agent wants: {title}.",
        command=command or (title if runs else ""),
        why=REACHES if standing.boxed and standing.network else "" if standing.boxed else "It runs with your rights.",
        arguments=_plain(given),
        folder=standing.shown_folder,
        boxed=standing.boxed,
        network=standing.network,
    )
    return Wanted(asked)


def command_of(given: object) -> str:
    """The command in what a tool was given, where agents put it; empty where there is none."""
    value = given.get("command", given.get("cmd", "")) if isinstance(given, Mapping) else ""
    if isinstance(value, list):
        return " ".join(str(each) for each in value[:200])
    return value if isinstance(value, str) else ""


def _plain(given: object) -> dict[str, Any]:
    """What a tool was given, as JSON that is not large."""
    text = json.dumps(given, default=str)[: MOST_CONTENT // 8]
    return {"given": sanitize(text)}


def mark(path: str, content: str) -> str:
    """What stands for just this content of just this file."""
    return hashlib.sha256(f"{path}\0{content}".encode("utf-8", "surrogatepass")).hexdigest()


def option(options: Sequence[PermissionOption], *, allowed: bool) -> str | None:
    """The id of the answer to give; None: none of them is what was decided.

    What is allowed is allowed once: whether it is the next time is for our gate to say, so it has to ask again.
    """
    kinds = ("allow_once",) if allowed else ("reject_once", "reject_always")
    return next((each.option_id for kind in kinds for each in options if each.kind == kind), None)
