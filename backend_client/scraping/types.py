"""The shapes of what servers measure, and the names that we give to it whatever a server calls it itself.

Times are seconds since the epoch, durations seconds, sizes bytes, shares between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

TargetKind: TypeAlias = Literal["vllm", "llamacpp", "dcgm", "node", "gateway", "nvml", "other"]
"""Which names a target uses for what it measures; `nvml` is this machine's own GPUs and has no address."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of a histogram's growth over a window, as Prometheus' `histogram_quantile` reckons them, in seconds."""

    p50: float | None
    p95: float | None
    p99: float | None
    mean: float | None
    count: float
    """How many were measured in the window."""


RUNNING: Final = "requests_running"
WAITING: Final = "requests_waiting"
KV_CACHE: Final = "kv_cache_usage"
PROMPT_RATE: Final = "prompt_tokens_per_s"
GENERATION_RATE: Final = "generation_tokens_per_s"
REQUEST_RATE: Final = "requests_per_s"
ERROR_RATE: Final = "errors_per_s"
PREEMPTION_RATE: Final = "preemptions_per_s"
PREFIX_HITS: Final = "prefix_cache_hit_share"
FIRST_TOKEN: Final = "time_to_first_token"  # noqa: S105 - a name, no secret
BETWEEN_TOKENS: Final = "inter_token"
END_TO_END: Final = "end_to_end"
QUEUE_TIME: Final = "queue_time"
GPU_BUSY: Final = "gpu_utilization"
GPU_MEMORY: Final = "gpu_memory_used"
GPU_MEMORY_TOTAL: Final = "gpu_memory_total"
GPU_POWER: Final = "gpu_power"
GPU_POWER_LIMIT: Final = "gpu_power_limit"
GPU_TEMPERATURE: Final = "gpu_temperature"
GPU_MEMORY_TEMPERATURE: Final = "gpu_memory_temperature"
GPU_MODULE_POWER: Final = "gpu_module_power"
"""Of a superchip: GPU, CPU and memory together, in watts."""
GPU_C2C_RECEIVED: Final = "gpu_c2c_received_per_s"
GPU_C2C_SENT: Final = "gpu_c2c_sent_per_s"
GPU_ERRORS: Final = "gpu_xid_errors"
CPU_BUSY: Final = "node_cpu"
MEMORY: Final = "node_memory_used"
MEMORY_TOTAL: Final = "node_memory_total"
LOAD: Final = "node_load1"
