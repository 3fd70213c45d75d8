"""Machines, put together from the targets on them: the server, its GPUs' exporter and the node's own are one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from backend_client.scraping import types as signals
from sophia_core.metrics.ports import Health, Quantiles, Reading, Target
from sophia_core.metrics.view.seen import Seen
from sophia_core.sanitize import one_line

HERE: Final = "this machine"
OWN_NAMES: Final = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - looked for, not bound
SUMMED: Final = (
    signals.RUNNING,
    signals.WAITING,
    signals.PROMPT_RATE,
    signals.GENERATION_RATE,
    signals.REQUEST_RATE,
    signals.ERROR_RATE,
    signals.PREEMPTION_RATE,
)
"""Signals of which several servers on one machine make one sum."""
HIGHEST: Final = (signals.KV_CACHE,)
"""Signals of which the fullest counts."""
DURATIONS: Final = (signals.FIRST_TOKEN, signals.BETWEEN_TOKENS, signals.END_TO_END, signals.QUEUE_TIME)
ORDER: Final[Mapping[Health, int]] = {"down": 3, "stale": 2, "new": 1, "up": 0}


@dataclass(frozen=True, slots=True)
class Node:
    """One machine as its targets tell of it."""

    name: str
    targets: tuple[Target, ...]
    readings: tuple[Reading, ...]
    """Of those that were asked."""
    health: Health
    """Of the target that stands best: what it tells is true now."""
    reason: str = ""
    """What is wrong with the one that stands worst."""
    ailing: int = 0
    """How many of its targets do not answer as they should."""
    values: Mapping[str, float] = field(default_factory=dict)
    quantiles: Mapping[str, Quantiles] = field(default_factory=dict)
    gpus: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    last: float | None = None
    """When any of them answered last."""


def nodes_of(seen: Seen) -> list[Node]:
    """The machines, in the order in which their first target is known."""
    groups: dict[str, list[Target]] = {}
    for target in seen.targets:
        groups.setdefault(host_of(target), []).append(target)
    return [_node(name, targets, seen) for name, targets in groups.items()]


def host_of(target: Target) -> str:
    """The machine that a target is on."""
    if target.kind == "nvml":
        return HERE
    try:
        host = urlsplit(target.url).hostname or ""
    except ValueError:
        host = ""
    if not target.url:
        return one_line(target.name, 60)
    return HERE if host.casefold() in OWN_NAMES else one_line(host, 60)


def _node(name: str, targets: Sequence[Target], seen: Seen) -> Node:
    readings = [seen.readings[each.name] for each in targets if each.name in seen.readings]
    worst = max(readings, key=lambda each: ORDER[each.health], default=None)
    best = min(readings, key=lambda each: ORDER[each.health], default=None)
    health: Health = "new" if best is None else best.health
    told = [each for each in readings if each.health in ("up", "stale")]
    return Node(
        name,
        tuple(targets),
        tuple(readings),
        health,
        f"{one_line(worst.target, 40)}: {one_line(worst.reason, 160)}" if worst and worst.reason else "",
        sum(each.health in ("stale", "down") for each in readings),
        _values(told),
        _slowest(told),
        _gpus(told),
        max((each.at for each in told), default=None),
    )


def _values(readings: Sequence[Reading]) -> dict[str, float]:
    """Sums where several make a sum, else what the first one says that says anything."""
    found: dict[str, float] = {}
    for reading in readings:
        for signal, value in reading.values.items():
            if signal in SUMMED:
                found[signal] = found.get(signal, 0.0) + value
            elif signal in HIGHEST:
                found[signal] = max(found.get(signal, value), value)
            else:
                found.setdefault(signal, value)
    return found


def _slowest(readings: Sequence[Reading]) -> dict[str, Quantiles]:
    """Percentiles cannot be added: of several servers, the one that is slowest now."""
    found: dict[str, Quantiles] = {}
    for reading in readings:
        for signal, each in reading.quantiles.items():
            before = found.get(signal)
            if before is None or (each.p95 or 0.0) > (before.p95 or 0.0):
                found[signal] = each
    return found


def _gpus(readings: Sequence[Reading]) -> Mapping[str, Mapping[str, float]]:
    """By the GPU, as the first target says that knows any."""
    return next((each.by["gpu"] for each in readings if each.by.get("gpu")), {})
