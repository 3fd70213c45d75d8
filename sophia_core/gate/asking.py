"""A request to the gate: said by a tool, completed by whoever calls the tool, made safe to show, and kept as data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

from sophia_core.gate.ports import ApprovalRequest, Danger, Origin
from sophia_core.sanitize import one_line, sanitize

LONGEST_WHAT: Final = 300
LONGEST_DIFF: Final = 60_000
LONGEST_COMMAND: Final = 8_000
MOST_PATHS: Final = 200
LONGEST_ARGUMENTS: Final = 16_000
UNSEEN: Final = "The command holds characters that do not show here."
CUT: Final = "\n… the rest is not shown."


def request(tool: str, danger: Danger, what: str, **more: Any) -> ApprovalRequest:
    """What a tool would have to be allowed; `on_behalf` says for whom."""
    arguments = more.pop("arguments", {})
    id_ = _digest("", "", "", tool, arguments)
    return ApprovalRequest(id_, "run", "", "", tool, danger, one_line(what, LONGEST_WHAT), arguments=arguments, **more)


def on_behalf(
    asked: ApprovalRequest, origin: Origin, origin_id: str, *, step: str = "", call: str = ""
) -> ApprovalRequest:
    """The request of one call: with the same `call` it is the same one, so a crash asks nobody twice, and what was
    allowed once is not allowed for the next call."""
    what = {"diff": asked.diff, "command": asked.command, "boxed": asked.boxed, "network": asked.network}
    id_ = _digest(origin_id, step, call, asked.tool, {**asked.arguments, "": what})
    return replace(asked, id=id_, origin=origin, origin_id=origin_id, step=step)


def _digest(origin_id: str, step: str, call: str, tool: str, arguments: Mapping[str, Any]) -> str:
    text = json.dumps([origin_id, step, call, tool, arguments], sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def shown(asked: ApprovalRequest) -> ApprovalRequest:
    """The request with every text made safe to show and none longer than anybody reads. What cannot be shown whole is
    said to be cut, and the id still stands for all of it. Nor is a command passed off as the one it looks like."""
    unseen = "" if sanitize(asked.command) == asked.command else UNSEEN
    return replace(
        asked,
        what=one_line(asked.what, LONGEST_WHAT),
        diff=_cut(sanitize(asked.diff), LONGEST_DIFF),
        command=_cut(sanitize(asked.command), LONGEST_COMMAND),
        why=one_line(f"{unseen} {asked.why}".strip(), LONGEST_WHAT),
        arguments=_small(asked.arguments),
        paths=asked.paths[:MOST_PATHS],
    )


def _small(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments as JSON again; long ones are told by their size, as the diff or the command shows what they do."""
    text = json.dumps(arguments, ensure_ascii=True, default=repr)
    if len(text) <= LONGEST_ARGUMENTS:
        return dict(json.loads(text))
    return {name: one_line(json.dumps(value, default=repr), 200) for name, value in list(arguments.items())[:40]}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + CUT


def to_data(asked: ApprovalRequest) -> dict[str, Any]:
    """The request as JSON, made safe to show."""
    return asdict(shown(asked))


def from_data(data: Mapping[str, Any]) -> ApprovalRequest:
    """The request that `to_data` wrote; what is not known is left out. Raises TypeError for one without its core."""
    known = {each.name for each in fields(ApprovalRequest)}
    values = {name: value for name, value in data.items() if name in known}
    return ApprovalRequest(**{**values, "paths": tuple(values.get("paths", ()))})
