"""Which names of which server mean what: vLLM, llama.cpp, the DCGM and node exporters, and our own gateway.

Names come and go with versions: of several the first that is told counts, and where none is there is no signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

from backend_client.scraping import types as signals
from backend_client.scraping.types import TargetKind

How: TypeAlias = Literal["gauge", "rate", "growth"]
"""As it is; per second; what came since the last look."""
Together: TypeAlias = Literal["sum", "mean", "max"]
"""How several series make one number."""
Dimension: TypeAlias = Literal["model", "engine", "gpu", "tenant"]

MIB: Final = float(1 << 20)
PERCENT: Final = 0.01
BLANK: Final = 1e18
"""DCGM's way to say that it does not know: 9223372036854775794 and its neighbours. Nothing real is as large."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A signal that is told as one number or counted up in one."""

    signal: str
    names: tuple[str, ...]
    """The first that is told counts."""
    how: How = "gauge"
    together: Together = "sum"
    scale: float = 1.0
    where: tuple[str, frozenset[str]] | None = None
    """Only series whose label is one of these."""
    most: float = BLANK
    """What is larger, after scaling, was measured wrongly and is left out; so is everything negative."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A signal that is the sum of others of the same series: memory that is used, free and reserved."""

    signal: str
    names: tuple[str, ...]
    """All that are told."""
    needs: int = 2
    """How many of them must be told, from the first on."""
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """A signal that is one growth over another: hits of queries."""

    signal: str
    part: tuple[str, ...]
    whole: tuple[str, ...]
    part_where: tuple[str, frozenset[str]] | None = None
    rest: bool = False
    """The share is what is left: busy is what is not idle."""
    also: tuple[str, ...] = ()
    """What the whole consists of beside `whole`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A signal that is one number less another: memory that is not available."""

    signal: str
    whole: tuple[str, ...]
    less: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """A histogram of seconds."""

    signal: str
    names: tuple[str, ...]


Entry: TypeAlias = Gauge | Sum | Share | Difference | Timing


@dataclass(frozen=True, slots=True)
class Chapter:
    """What one kind of target tells."""

    entries: tuple[Entry, ...]
    labels: Mapping[Dimension, tuple[str, ...]]
    """By what it can be told apart, and how the label is called; the first that is there counts."""
    mark: str
    """How its names begin."""


IDLE: Final = frozenset({"idle", "iowait"})
_ABORTED: Final = ("finished_reason", frozenset({"error", "abort"}))

VLLM: Final = Chapter(
    (
        Gauge(signals.RUNNING, ("vllm:num_requests_running",)),
        Gauge(signals.WAITING, ("vllm:num_requests_waiting",)),
        Gauge(signals.KV_CACHE, ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), together="mean", most=1.0),
        Gauge(signals.PROMPT_RATE, ("vllm:prompt_tokens_total", "vllm:prompt_tokens"), "rate"),
        Gauge(signals.GENERATION_RATE, ("vllm:generation_tokens_total", "vllm:generation_tokens"), "rate"),
        Gauge(signals.REQUEST_RATE, ("vllm:request_success_total", "vllm:request_success"), "rate"),
        Gauge(signals.ERROR_RATE, ("vllm:request_success_total", "vllm:request_success"), "rate", where=_ABORTED),
        Gauge(signals.PREEMPTION_RATE, ("vllm:num_preemptions_total", "vllm:num_preemptions"), "rate"),
        Share(
            signals.PREFIX_HITS,
            ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total", "vllm:prefix_cache_hits"),
            ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total", "vllm:prefix_cache_queries"),
        ),
        Timing(signals.FIRST_TOKEN, ("vllm:time_to_first_token_seconds",)),
        Timing(
            signals.BETWEEN_TOKENS,
            ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        ),
        Timing(signals.END_TO_END, ("vllm:e2e_request_latency_seconds",)),
        Timing(signals.QUEUE_TIME, ("vllm:request_queue_time_seconds",)),
    ),
    {"model": ("model_name",), "engine": ("engine",)},
    "vllm:",
)
LLAMACPP: Final = Chapter(
    (
        Gauge(signals.RUNNING, ("llamacpp:requests_processing",)),
        Gauge(signals.WAITING, ("llamacpp:requests_deferred",)),
        Gauge(signals.KV_CACHE, ("llamacpp:kv_cache_usage_ratio",), together="mean", most=1.0),
        Gauge(signals.PROMPT_RATE, ("llamacpp:prompt_tokens_total",), "rate"),
        Gauge(signals.GENERATION_RATE, ("llamacpp:tokens_predicted_total",), "rate"),
        # The prompt tokens that are counted are those that were not in the cache.
        Share(
            signals.PREFIX_HITS,
            ("llamacpp:prompt_tokens_cached_total",),
            ("llamacpp:prompt_tokens_total",),
            also=("llamacpp:prompt_tokens_cached_total",),
        ),
    ),
    {"model": ("model", "model_name")},
    "llamacpp:",
)
DCGM: Final = Chapter(
    (
        Gauge(signals.GPU_BUSY, ("DCGM_FI_DEV_GPU_UTIL",), together="mean", scale=PERCENT, most=1.0),
        Gauge(signals.GPU_MEMORY, ("DCGM_FI_DEV_FB_USED",), scale=MIB),
        Gauge(signals.GPU_MEMORY_TOTAL, ("DCGM_FI_DEV_FB_TOTAL",), scale=MIB),
        Sum(
            signals.GPU_MEMORY_TOTAL, ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED"), 2, MIB
        ),
        Gauge(signals.GPU_POWER, ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE_INSTANT")),
        Gauge(signals.GPU_POWER_LIMIT, ("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "DCGM_FI_DEV_POWER_MGMT_LIMIT")),
        Gauge(signals.GPU_TEMPERATURE, ("DCGM_FI_DEV_GPU_TEMP",), together="max", most=500.0),
        Gauge(signals.GPU_MEMORY_TEMPERATURE, ("DCGM_FI_DEV_MEMORY_TEMP",), together="max", most=500.0),
        Gauge(signals.GPU_MODULE_POWER, ("DCGM_FI_DEV_MODULE_POWER_UTIL_CURRENT",)),
        # Bytes of the last second, told as a gauge.
        Gauge(signals.GPU_C2C_RECEIVED, ("DCGM_FI_PROF_C2C_RX_ALL_BYTES", "DCGM_FI_PROF_C2C_RX_DATA_BYTES")),
        Gauge(signals.GPU_C2C_SENT, ("DCGM_FI_PROF_C2C_TX_ALL_BYTES", "DCGM_FI_PROF_C2C_TX_DATA_BYTES")),
        # The number of the last error, not how many there were; 0 is none.
        Gauge(signals.GPU_ERRORS, ("DCGM_FI_DEV_XID_ERRORS",), together="max"),
    ),
    {"gpu": ("gpu",)},
    "DCGM_",
)
NODE: Final = Chapter(
    (
        Share(signals.CPU_BUSY, ("node_cpu_seconds_total",), ("node_cpu_seconds_total",), ("mode", IDLE), rest=True),
        Difference(signals.MEMORY, ("node_memory_MemTotal_bytes",), ("node_memory_MemAvailable_bytes",)),
        Gauge(signals.MEMORY_TOTAL, ("node_memory_MemTotal_bytes",)),
        Gauge(signals.LOAD, ("node_load1",)),
    ),
    {},
    "node_",
)
GATEWAY: Final = Chapter(
    (
        Gauge(signals.RUNNING, ("sophia_requests_in_flight", "sophia_requests_running")),
        Gauge(signals.WAITING, ("sophia_requests_waiting", "sophia_queue_length")),
        Gauge(signals.REQUEST_RATE, ("sophia_requests_total", "chat_requests_total"), "rate"),
        Gauge(
            signals.ERROR_RATE,
            ("sophia_requests_total", "chat_requests_total"),
            "rate",
            where=("outcome", frozenset({"error", "failed", "timeout"})),
        ),
        Gauge(
            signals.PROMPT_RATE,
            ("sophia_tokens_total",),
            "rate",
            where=("direction", frozenset({"prompt", "input", "in"})),
        ),
        Gauge(
            signals.GENERATION_RATE,
            ("sophia_tokens_total",),
            "rate",
            where=("direction", frozenset({"completion", "output", "out"})),
        ),
        Gauge(signals.GPU_BUSY, ("mcp_gpu_utilization",), together="mean", most=1.0),
        Timing(signals.FIRST_TOKEN, ("sophia_ttft_seconds",)),
        Timing(signals.END_TO_END, ("chat_request_duration_seconds", "sophia_request_duration_seconds")),
        Timing(signals.QUEUE_TIME, ("sophia_queue_wait_seconds",)),
    ),
    {"model": ("model",), "tenant": ("tenant",)},
    "sophia_",
)
CHAPTERS: Final[Mapping[TargetKind, Chapter]] = {
    "vllm": VLLM,
    "llamacpp": LLAMACPP,
    "dcgm": DCGM,
    "node": NODE,
    "gateway": GATEWAY,
}


def chapter_of(kind: TargetKind) -> Chapter:
    """Return what this kind of target tells; of an unknown one, everything that any kind does."""
    return CHAPTERS.get(kind) or _all()


@cache
def names(kind: TargetKind) -> frozenset[str]:
    """Return the names of all samples that mean something here."""
    return frozenset(name for entry in chapter_of(kind).entries for name in _names(entry))


def kind_of(told: Iterable[str]) -> TargetKind:
    """Return which kind of target tells these names."""
    counts = dict.fromkeys(CHAPTERS, 0)
    for name in told:
        for kind, chapter in CHAPTERS.items():
            counts[kind] += name.startswith(chapter.mark)
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else "other"


def _names(entry: Entry) -> tuple[str, ...]:
    match entry:
        case Timing():
            return tuple(f"{name}{suffix}" for name in entry.names for suffix in ("_bucket", "_sum", "_count"))
        case Share():
            return (*entry.part, *entry.whole, *entry.also)
        case Difference():
            return (*entry.whole, *entry.less)
        case Gauge() | Sum():
            return entry.names


@cache
def _all() -> Chapter:
    entries = tuple(entry for chapter in CHAPTERS.values() for entry in chapter.entries)
    labels: dict[Dimension, tuple[str, ...]] = {}
    for chapter in CHAPTERS.values():
        for dimension, wanted in chapter.labels.items():
            labels[dimension] = tuple(dict.fromkeys((*labels.get(dimension, ()), *wanted)))
    return Chapter(entries, labels, "")
