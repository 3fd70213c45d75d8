"""Pages as vLLM and the DCGM exporter write them, from their published lists of names.

python -m tests.metrics.pages          writes the samples of this folder anew
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SAMPLES: Final = Path(__file__).parent / "samples"
MODELS: Final = ("meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-32B")

FIRST_TOKEN: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
BETWEEN: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
WHOLE: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)

GAUGES: Final = {
    "vllm:num_requests_running": "Number of requests in model execution batches.",
    "vllm:num_requests_waiting": "Number of requests waiting to be processed.",
    "vllm:kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
}
COUNTERS: Final = {
    "vllm:prefix_cache_queries": "Prefix cache queries, in terms of number of queried tokens.",
    "vllm:prefix_cache_hits": "Prefix cache hits, in terms of number of cached tokens.",
    "vllm:num_preemptions": "Cumulative number of preemption from the engine.",
    "vllm:prompt_tokens": "Number of prefill tokens processed.",
    "vllm:generation_tokens": "Number of generation tokens processed.",
}
HISTOGRAMS: Final[Mapping[str, tuple[str, Sequence[float]]]] = {
    "vllm:time_to_first_token_seconds": ("Histogram of time to first token in seconds.", FIRST_TOKEN),
    "vllm:inter_token_latency_seconds": ("Histogram of inter-token latency in seconds.", BETWEEN),
    "vllm:request_time_per_output_token_seconds": ("Histogram of time per output token of a request.", BETWEEN),
    "vllm:e2e_request_latency_seconds": ("Histogram of e2e request latency in seconds.", WHOLE),
    "vllm:request_queue_time_seconds": ("Histogram of time spent in WAITING phase for request.", WHOLE),
    "vllm:request_inference_time_seconds": ("Histogram of time spent in RUNNING phase for request.", WHOLE),
    "vllm:request_prefill_time_seconds": ("Histogram of time spent in PREFILL phase for request.", WHOLE),
    "vllm:request_decode_time_seconds": ("Histogram of time spent in DECODE phase for request.", WHOLE),
    "vllm:request_prompt_tokens": ("Number of prefill tokens processed.", TOKENS),
    "vllm:request_generation_tokens": ("Number of generation tokens processed.", TOKENS),
    "vllm:iteration_tokens_total": ("Histogram of number of tokens per engine_step.", TOKENS),
    "vllm:request_max_num_generation_tokens": ("Histogram of maximum number of requested tokens.", TOKENS),
}


class VllmPage:
    """What a vLLM server measures, and the page that tells it."""

    def __init__(self, models: Sequence[str] = MODELS[:1], engines: int = 1) -> None:
        self.registry = CollectorRegistry()
        self.groups = [(model, str(engine)) for model in models for engine in range(engines)]
        both = ("model_name", "engine")
        self.gauges = {name: Gauge(name, text, both, registry=self.registry) for name, text in GAUGES.items()}
        self.counters = {name: Counter(name, text, both, registry=self.registry) for name, text in COUNTERS.items()}
        self.success = Counter(
            "vllm:request_success", "Count of successfully processed requests.", (*both, "finished_reason"),
            registry=self.registry,
        )  # fmt: skip
        self.histograms = {
            name: Histogram(name, text, both, buckets=buckets, registry=self.registry)
            for name, (text, buckets) in HISTOGRAMS.items()
        }
        for group in self.groups:
            for measured in (*self.gauges.values(), *self.counters.values(), *self.histograms.values()):
                measured.labels(*group)
            for reason in ("stop", "length", "abort", "error", "repetition"):
                self.success.labels(*group, reason)

    def work(self, rng: random.Random, requests: int = 3) -> None:
        """Answer some requests with every engine."""
        for group in self.groups:
            self.gauges["vllm:num_requests_running"].labels(*group).set(rng.randrange(40))
            self.gauges["vllm:num_requests_waiting"].labels(*group).set(rng.randrange(8))
            self.gauges["vllm:kv_cache_usage_perc"].labels(*group).set(rng.random())
            for _ in range(requests):
                self._answer(rng, group)

    def _answer(self, rng: random.Random, group: tuple[str, str]) -> None:
        tokens = rng.randrange(1, 800)
        for name, grown in (("prompt_tokens", 3 * tokens), ("generation_tokens", tokens)):
            self.counters[f"vllm:{name}"].labels(*group).inc(grown)
        self.counters["vllm:prefix_cache_queries"].labels(*group).inc(3 * tokens)
        self.counters["vllm:prefix_cache_hits"].labels(*group).inc(tokens)
        self.success.labels(*group, rng.choice(("stop", "stop", "stop", "length", "error"))).inc()
        for name, measured in self.histograms.items():
            scale = 300.0 if "token" in name and "seconds" not in name else 0.2
            measured.labels(*group).observe(rng.lognormvariate(0, 1.5) * scale)

    def text(self) -> bytes:
        """The page."""
        told: bytes = generate_latest(self.registry)
        # vLLM tells when a counter was made only where somebody asks for it.
        return b"".join(line for line in told.splitlines(keepends=True) if b"_created" not in line)


BLANK: Final = str(2**63 - 14)
"""How DCGM says that it does not know."""
DCGM: Final = (
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", ("1980", "345")),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", ("2619", "2619")),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", ("58", "41")),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", ("53", "34")),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", ("612.384000", "92.710000")),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy since boot (in mJ).", ("84613847291", "1284613")),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", ("0", "0")),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", ("97", "0")),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", ("41", "0")),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", ("0", "0")),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", ("0", "0")),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", ("11482", "96768")),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", ("85893", "607")),
    ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", ("496", "496")),
    ("DCGM_FI_DEV_POWER_MGMT_LIMIT", "gauge", "Current power limit (in W).", ("900.000000", "900.000000")),
    ("DCGM_FI_DEV_MODULE_POWER_UTIL_CURRENT", "gauge", "Module power (in W).", ("748.200000", BLANK)),
    ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", "Total number of NVLink counters.", ("0", "0")),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Remapped rows, uncorrectable errors.", ("0", "0")),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed", ("0", "0")),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.", ("0.968113", "0.0")),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Ratio of cycles the tensor pipe is active.", ("0.412906", "0.0")),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Ratio of cycles the memory interface is active.", ("0.587210", "0.0")),
    ("DCGM_FI_PROF_C2C_TX_ALL_BYTES", "gauge", "C2C transmitted (in bytes).", ("28311552000", BLANK)),
    ("DCGM_FI_PROF_C2C_RX_ALL_BYTES", "gauge", "C2C received (in bytes).", ("41943040000", BLANK)),
)  # fmt: skip


def dcgm_page() -> bytes:
    """The page of an exporter on a machine with two GH200."""
    lines = []
    for name, kind, text, values in DCGM:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for gpu, value in enumerate(values):
            uuid = f"GPU-{gpu}f7a1c34-8e0b-5d2c-9a41-6f3b0c9d2e71"
            labels = (
                f'gpu="{gpu}",UUID="{uuid}",pci_bus_id="00000009:0{gpu + 1}:00.0",device="nvidia{gpu}",'
                'modelName="NVIDIA GH200 480GB",Hostname="gh200-01",DCGM_FI_DRIVER_VERSION="580.95.05"'
            )
            lines.append(f"{name}{{{labels}}} {value}")
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    page, dice = VllmPage(MODELS, 2), random.Random(7)  # noqa: S311 - the same samples each time
    for _ in range(20):
        page.work(dice)
    (SAMPLES / "vllm.prom").write_bytes(page.text())
    (SAMPLES / "dcgm.prom").write_bytes(dcgm_page())
