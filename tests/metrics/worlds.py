"""Machines for the metrics pane to show: always the same, at a time that stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from backend_client.scraping import types as signals
from sophia_core.metrics.ports import Alert, Health, ObjectiveState, Quantiles, Reading, Target
from sophia_core.metrics.view.seen import CostLine, OwnNumber, Seen, SlowTurn, Track, Way

NOW = 1_800_000_000.0
GB = 1e9


def quantiles(p50: float, p95: float) -> Quantiles:
    """Of sixty requests."""
    return Quantiles(p50, p95, p95 * 1.5, p50 * 1.1, 60)


def serving(name: str, *, load: float = 0.5, health: Health = "up", reason: str = "", at: float = NOW - 1) -> Reading:
    """What a vLLM server tells."""
    values = {
        signals.RUNNING: round(load * 20),
        signals.WAITING: max(0, round(load * 20) - 14),
        signals.KV_CACHE: load,
        signals.PROMPT_RATE: 2480 * load,
        signals.GENERATION_RATE: 1780 * load,
        signals.PREFIX_HITS: 0.41,
    }
    durations = {
        signals.FIRST_TOKEN: quantiles(0.12, 0.34),
        signals.BETWEEN_TOKENS: quantiles(0.012, 0.03),
        signals.END_TO_END: quantiles(1.2, 4.1),
    }
    tenants = {"team-a": {signals.REQUEST_RATE: 3.2, signals.GENERATION_RATE: 400.0, signals.ERROR_RATE: 0.0}}
    by = {"model": {"org/model": values}, "tenant": tenants}
    return Reading(name, at, health, 0.012, reason, values, durations, by)


def gpus(name: str, *, busy: float = 0.62, count: int = 1) -> Reading:
    """What DCGM's exporter tells of a GH200."""
    one = {
        signals.GPU_BUSY: busy,
        signals.GPU_MEMORY: 78.1 * GB,
        signals.GPU_MEMORY_TOTAL: 95.6 * GB,
        signals.GPU_POWER: 512.0,
        signals.GPU_POWER_LIMIT: 900.0,
        signals.GPU_TEMPERATURE: 61.0,
    }
    by = {str(number): one for number in range(count)}
    return Reading(name, NOW - 1, "up", 0.004, "", {**one, signals.GPU_MODULE_POWER: 640.0}, {}, {"gpu": by})


def world(nodes: int = 1) -> Seen:
    """So many machines, each with a vLLM server and its GPU's exporter."""
    targets: list[Target] = []
    readings: dict[str, Reading] = {}
    for number in range(nodes):
        host = f"gh200-{number:02}"
        vllm = Target(f"vllm-{number:02}", "vllm", f"http://{host}:8000/metrics", provider=f"box-{number:02}")
        dcgm = Target(f"dcgm-{number:02}", "dcgm", f"http://{host}:9400/metrics")
        targets += [vllm, dcgm]
        readings[vllm.name] = serving(vllm.name, load=(number % 10 + 3) / 13)
        readings[dcgm.name] = gpus(dcgm.name, busy=(number % 7 + 2) / 9)
    return Seen(
        NOW,
        tuple(targets),
        readings,
        ways=(
            Way("box-00", "org/model", "asked first", "closed", "0 of 12 failed"),
            Way("backup", "org/model", "not asked", "open", "9 of 10 failed; again in 4 s", "connection refused"),
        ),
        slow=(
            SlowTurn("a" * 12, NOW - 60, 14.2, 3.1, "box-00", "org/model"),
            SlowTurn("b" * 12, NOW - 120, 2.2, None, "backup", "org/model", ok=False, error="timeout"),
        ),
        own=(
            OwnNumber("chat_requests_total", "provider=box-00, outcome=complete", 42.0),
            OwnNumber("sophia_ttft_seconds", "last 5 minutes", None, quantiles(0.4, 1.2), seconds=True),
        ),
        objectives=(
            ObjectiveState("availability", 0.999, 0.9995, 12_000, 0.5, {"5m": 0.2, "1h": 0.6}, "ok"),
            ObjectiveState("first token", 0.95, 0.91, 800, -0.8, {"5m": 14.4, "1h": 3.0}, "breached"),
        ),
        alerts=(Alert("k", "ttft", "critical", "First tokens take too long", "box-00", NOW - 400),),
        costs=(CostLine("paid answers today", 4.2, 5.0),),
        level_text="primary",
    )


def fallen(seen: Seen, health: Health, reason: str, at: float = NOW - 90) -> Seen:
    """The same machines, none of which answers."""
    readings = {name: replace(each, health=health, reason=reason, at=at) for name, each in seen.readings.items()}
    if health == "down":
        readings = {name: replace(each, values={}, quantiles={}, by={}) for name, each in readings.items()}
    return replace(seen, readings=readings)


class World:
    """A source that tells the same until it is told otherwise."""

    def __init__(self, seen: Seen | None = None) -> None:
        self.seen = seen or world()
        self.looks, self.asked = 0, list[tuple[str, float, float]]()
        self.tracks: Sequence[Track] | None = None

    def now(self) -> Seen:
        self.looks += 1
        return self.seen

    async def catch_up(self) -> None:
        pass

    async def history(self, signal: str, start: float, end: float, points: int) -> Sequence[Track]:
        self.asked.append((signal, start, end))
        if self.tracks is not None:
            return self.tracks
        return [waves(each.name, start, end, points) for each in self.seen.targets if each.kind == "vllm"]


def waves(name: str, start: float, end: float, points: int) -> Track:
    """A line that goes up and down, with a gap in the middle."""
    step = (end - start) / points
    middle = range(points * 4 // 10, points * 5 // 10)
    told = [
        (start + (at + 0.5) * step, None if at in middle else 400 + 300 * math.sin(at / points * 12 + len(name)))
        for at in range(points)
    ]
    return Track(name, tuple(told))
