"""The dashboards that come with SOPHIA, as tables; `make docs` writes them to ops/grafana."""

from __future__ import annotations

from typing import Final

from tools.grafana import Choice, Dashboard, Kind, Panel, Query, Row, made

BY: Final = '{node=~"$node", model_name=~"$model"}'
ON: Final = '{node=~"$node"}'
MODEL: Final = "{{model_name}}"
NODE: Final = "{{node}}"
GPU: Final = "{{node}} GPU {{gpu}}"
KNOWN: Final = "< 1e18"
"""DCGM tells more where it does not know."""
NODES: Final = Choice("node", "up", "node")


def _summed(name: str, by: str = "node, model_name", where: str = BY) -> str:
    return f"sum by ({by}) ({name}{where})"


def _rated(name: str, by: str, where: str = ON) -> str:
    return f"sum by ({by}) (rate({name}{where}[$__rate_interval]))"


def _quantiles(name: str, by: str = "", where: str = ON) -> tuple[Query, ...]:
    also = f"le, {by}" if by else "le"
    shown = f"{{{{{by}}}}} " if by else ""
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by ({also}) (rate({name}{where}[$__rate_interval])))", f"{shown}p{q * 100:g}"
        )
        for q in (0.5, 0.95, 0.99)
    )


def _gpu(name: str, scale: str = "") -> tuple[Query, ...]:
    return (Query(f"({name}{ON} {KNOWN}){scale}", GPU),)


HITS: Final = _rated("vllm:prefix_cache_hits_total", "node, model_name", BY)
QUERIES: Final = _rated("vllm:prefix_cache_queries_total", "node, model_name", BY)


def _one(
    title: str,
    expr: str,
    legend: str = "",
    unit: str = "short",
    *,
    kind: Kind = "timeseries",
    width: int = 8,
    about: str = "",
    steps: tuple[float, ...] = (),
    most: float | None = None,
) -> Panel:
    """A panel with one query."""
    return Panel(title, (Query(expr, legend),), unit, kind, width, about, steps, most)


ALERTS: Final = _one("Alerts that fire", 'ALERTS{alertstate="firing", alertname!="Watchdog"}', kind="table", width=24)
INFERENCE: Final = Dashboard(
    "sophia-inference",
    "SOPHIA: inference",
    "Every model server: what it does, how soon it answers, where it is full.",
    (
        Row(
            "Now",
            (
                _one("Servers up", 'sum(up{job="vllm", node=~"$node"})', kind="stat", width=4),
                _one("Running", f"sum(vllm:num_requests_running{BY})", kind="stat", width=4),
                _one("Waiting", f"sum(vllm:num_requests_waiting{BY})", kind="stat", width=4, steps=(5.0, 20.0)),
                _one(
                    "Fullest KV cache",
                    f"max(vllm:kv_cache_usage_perc{BY})",
                    unit="percentunit",
                    kind="stat",
                    width=4,
                    steps=(0.8, 0.95),
                ),
                _one(
                    "First token, p95",
                    f"max(model:ttft_seconds:p95_5m{BY})",
                    unit="s",
                    kind="stat",
                    width=4,
                    about="The slowest model.",
                    steps=(2.0, 5.0),
                ),
                _one("Tokens per second", f"sum(model:generation_tokens:rate5m{BY})", kind="stat", width=4),
            ),
        ),
        Row(
            "How soon",
            (
                Panel(
                    "Time to first token", _quantiles("vllm:time_to_first_token_seconds_bucket", "model_name", BY), "s"
                ),
                Panel("Between tokens", _quantiles("vllm:inter_token_latency_seconds_bucket", "model_name", BY), "s"),
                Panel("Whole requests", _quantiles("vllm:e2e_request_latency_seconds_bucket", "model_name", BY), "s"),
                Panel(
                    "In the server's queue", _quantiles("vllm:request_queue_time_seconds_bucket", "model_name", BY), "s"
                ),
                Panel(
                    "Requests",
                    (
                        Query(_summed("vllm:num_requests_running"), f"{MODEL} running"),
                        Query(_summed("vllm:num_requests_waiting"), f"{MODEL} waiting"),
                    ),
                ),
                _one("KV cache", f"vllm:kv_cache_usage_perc{BY}", f"{MODEL} {{{{engine}}}}", "percentunit", most=1),
            ),
        ),
        Row(
            "How much",
            (
                _one("Generated tokens", _rated("vllm:generation_tokens_total", "node, model_name", BY), MODEL),
                _one("Prompt tokens", _rated("vllm:prompt_tokens_total", "node, model_name", BY), MODEL),
                _one(
                    "Prompt tokens that were cached",
                    f"{HITS} / {QUERIES}",
                    MODEL,
                    "percentunit",
                    most=1,
                ),
                _one(
                    "Requests by how they ended",
                    _rated("vllm:request_success_total", "finished_reason", BY),
                    "{{finished_reason}}",
                    "reqps",
                ),
                _one(
                    "Preemptions",
                    _rated("vllm:num_preemptions_total", "node, model_name", BY),
                    MODEL,
                    "ops",
                    about="Requests thrown out of the KV cache and begun anew.",
                ),
                Panel(
                    "llama.cpp",
                    (
                        Query(_rated("llamacpp:tokens_predicted_total", "node, instance"), "{{instance}} tokens"),
                        Query(_summed("llamacpp:requests_processing", "node, instance", ON), "{{instance}} running"),
                    ),
                ),
            ),
        ),
        Row("Alerts", (ALERTS,)),
    ),
    (NODES, Choice("model", "vllm:num_requests_running", "model_name")),
)
MACHINE: Final = Dashboard(
    "sophia-node",
    "SOPHIA: a node and its GPUs",
    "One machine: its GPUs, CPU, memory and disks; of a GH200 the module and what goes between CPU and GPU.",
    (
        Row(
            "GPUs",
            (
                Panel("Busy", _gpu("DCGM_FI_DEV_GPU_UTIL", " / 100"), "percentunit", most=1),
                _one(
                    "Memory used",
                    f"gpu:memory_used:share{ON}",
                    GPU,
                    "percentunit",
                    most=1,
                    about="Of a GH200 the system's page cache may be among it; the KV cache tells more.",
                ),
                Panel(
                    "Temperature",
                    (*_gpu("DCGM_FI_DEV_GPU_TEMP"), Query(f"DCGM_FI_DEV_MEMORY_TEMP{ON} < 500", f"{GPU} memory")),
                    "celsius",
                ),
                Panel(
                    "Power",
                    (
                        *_gpu("DCGM_FI_DEV_POWER_USAGE"),
                        Query(f"DCGM_FI_DEV_POWER_MGMT_LIMIT{ON} {KNOWN}", f"{GPU} limit"),
                    ),
                    "watt",
                ),
                Panel(
                    "Power of the module",
                    _gpu("DCGM_FI_DEV_MODULE_POWER_UTIL_CURRENT"),
                    "watt",
                    about="A superchip's GPU, CPU and memory together.",
                ),
                Panel(
                    "Between CPU and GPU",
                    (
                        Query(f"DCGM_FI_PROF_C2C_TX_ALL_BYTES{ON} {KNOWN}", f"{GPU} sent"),
                        Query(f"DCGM_FI_PROF_C2C_RX_ALL_BYTES{ON} {KNOWN}", f"{GPU} received"),
                    ),
                    "Bps",
                ),
                Panel(
                    "Clock", _gpu("DCGM_FI_DEV_SM_CLOCK", " * 1e6"), "hertz", about="It falls before a hot GPU stops."
                ),
                Panel("Tensor cores busy", _gpu("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"), "percentunit", most=1),
                Panel("Memory bandwidth used", _gpu("DCGM_FI_PROF_DRAM_ACTIVE"), "percentunit", most=1),
                Panel("Last Xid error", _gpu("DCGM_FI_DEV_XID_ERRORS"), kind="stat", width=12, steps=(1.0, 1.0)),
                Panel(
                    "Memory rows that failed",
                    _gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"),
                    kind="stat",
                    width=12,
                    steps=(1.0, 1.0),
                ),
            ),
        ),
        Row(
            "The machine",
            (
                _one("CPU busy", f"node:cpu_busy:share5m{ON}", NODE, "percentunit", most=1),
                _one("Memory used", f"node:memory_used:share{ON}", NODE, "percentunit", most=1),
                Panel("Load", (Query(f"node_load1{ON}", f"{NODE} 1 m"), Query(f"node_load15{ON}", f"{NODE} 15 m"))),
                _one(
                    "Waiting for memory",
                    _rated("node_pressure_memory_stalled_seconds_total", "node"),
                    NODE,
                    "percentunit",
                ),
                _one(
                    "Waiting for disks", _rated("node_pressure_io_stalled_seconds_total", "node"), NODE, "percentunit"
                ),
                _one(
                    "Fullest disks",
                    f"topk(5, 1 - node_filesystem_avail_bytes{ON} / node_filesystem_size_bytes{ON})",
                    "{{node}} {{mountpoint}}",
                    "percentunit",
                    kind="bargauge",
                    steps=(0.85, 0.95),
                    most=1,
                ),
            ),
        ),
    ),
    (NODES,),
)
CLIENTS: Final = Dashboard(
    "sophia-clients",
    "SOPHIA: clients",
    "What SOPHIA's apps see: turns, attempts, retries, breakers, and what their targets tell them.",
    (
        Row(
            "Now",
            (
                _one("Turns an hour", f"sum(increase(chat_requests_total{ON}[1h]))", kind="stat", width=4),
                _one(
                    "Got no whole answer",
                    'sum(increase(chat_requests_total{node=~"$node", outcome=~"failed|interrupted|partial"}[1h]))',
                    kind="stat",
                    width=4,
                    steps=(1.0, 5.0),
                ),
                _one(
                    "First token, p95",
                    f"histogram_quantile(0.95, sum by (le) (rate(sophia_ttft_seconds_bucket{ON}[1h])))",
                    unit="s",
                    kind="stat",
                    width=4,
                    steps=(2.0, 5.0),
                ),
                _one(
                    "Level",
                    f"max(sophia_degradation_level{ON})",
                    kind="stat",
                    width=4,
                    about="0 is the best service, 4 is offline.",
                    steps=(2.0, 3.0),
                ),
                _one("Breakers open", f"count(sophia_breaker_state{ON} == 2)", kind="stat", width=4, steps=(1.0, 3.0)),
                _one(
                    "Questions that wait",
                    'sum(sophia_outbox_questions{node=~"$node", state="waiting"})',
                    kind="stat",
                    width=4,
                    steps=(1.0, 10.0),
                ),
            ),
        ),
        Row(
            "Turns",
            (
                _one("Turns by how they ended", _rated("chat_requests_total", "outcome"), "{{outcome}}", "reqps"),
                Panel("Time to first token", _quantiles("sophia_ttft_seconds_bucket"), "s"),
                Panel("Whole turns", _quantiles("chat_request_duration_seconds_bucket"), "s"),
                _one("By model", _rated("chat_requests_total", "provider, model"), "{{provider}} {{model}}", "reqps"),
                _one("Tokens", _rated("sophia_tokens_total", "direction"), "{{direction}}"),
                _one("Kept from before", _rated("sophia_cache_hits_total", "node"), NODE, "reqps"),
            ),
        ),
        Row(
            "Providers",
            (
                _one(
                    "Requests by what came of them",
                    _rated("sophia_requests_total", "provider, outcome"),
                    "{{provider}} {{outcome}}",
                    "reqps",
                ),
                _one(
                    "Tried once more",
                    _rated("sophia_retries_total", "provider, reason"),
                    "{{provider}} {{reason}}",
                    "reqps",
                ),
                _one(
                    "Gone on to another",
                    _rated("sophia_failovers_total", "provider, reason"),
                    "{{provider}} {{reason}}",
                    "reqps",
                ),
                _one("Broken off", _rated("sophia_stream_truncated_total", "provider"), "{{provider}}", "reqps"),
                Panel("Waiting for a turn", _quantiles("sophia_queue_wait_seconds_bucket"), "s"),
                _one(
                    "Breakers",
                    f"sophia_breaker_state{ON}",
                    "{{provider}} {{model}}",
                    about="0 closed, 1 half open, 2 open.",
                    most=2,
                ),
            ),
        ),
        Row(
            "Their targets",
            (
                _one("Targets that answer", f"sophia_target_up{ON}", "{{target}}", kind="bargauge", most=1),
                _one("GPUs", f"mcp_gpu_utilization{ON}", "{{target}} {{gpu}}", "percentunit", most=1),
                _one("KV cache", 'sophia_kv_cache_usage{node=~"$node", part=""}', "{{target}}", "percentunit", most=1),
                _one("Speech heard", _rated("sophia_speech_heard_seconds_total", "ear"), "{{ear}}"),
                _one("Sentences spoken", _rated("sophia_sentences_spoken_total", "mouth"), "{{mouth}}", "ops"),
                _one("Voice that failed", _rated("sophia_voice_failures_total", "part"), "{{part}}", "ops"),
            ),
        ),
    ),
    (NODES,),
)
OBJECTIVES: Final = Dashboard(
    "sophia-objectives",
    "SOPHIA: objectives",
    "What is promised, how much of it was kept, and how fast the error budgets are spent.",
    (
        Row(
            "Now",
            (
                _one(
                    "Error budget left, 30 days",
                    "objective:error_budget:left30d",
                    "{{objective}}",
                    "percentunit",
                    kind="bargauge",
                    width=12,
                    about="Below 0 the objective is missed.",
                    most=1,
                ),
                _one(
                    "Burning now, last hour",
                    "objective:burn:rate1h",
                    "{{objective}}",
                    kind="bargauge",
                    width=12,
                    about="1 spends the budget evenly; 14.4 spends two per cent of it in an hour.",
                    steps=(1.0, 14.4),
                ),
            ),
        ),
        Row(
            "Burn rates",
            tuple(
                _one(f"Over {window}", f"objective:burn:rate{window}", "{{objective}}", width=6)
                for window in ("5m", "1h", "30m", "6h", "2h", "1d", "3d")
            ),
        ),
        Row(
            "What counts",
            (
                _one(
                    "Good",
                    'sum by (objective) (rate(sophia_objective_events_total{result="good"}[$__rate_interval]))',
                    "{{objective}}",
                    "ops",
                    width=12,
                ),
                _one(
                    "Bad",
                    'sum by (objective) (rate(sophia_objective_events_total{result="bad"}[$__rate_interval]))',
                    "{{objective}}",
                    "ops",
                    width=12,
                ),
            ),
        ),
    ),
    since="now-24h",
)
COST: Final = Dashboard(
    "sophia-cost",
    "SOPHIA: cost",
    "What answers cost, by provider, and what own machines do for their hour.",
    (
        Row(
            "Now",
            (
                _one(
                    "Last hour",
                    f"sum(increase(sophia_cost_usd_total{ON}[1h]))",
                    unit="currencyUSD",
                    kind="stat",
                    width=6,
                    steps=(1.0, 5.0),
                ),
                _one(
                    "Last day",
                    f"sum(increase(sophia_cost_usd_total{ON}[1d]))",
                    unit="currencyUSD",
                    kind="stat",
                    width=6,
                ),
                _one(
                    "Last 30 days",
                    f"sum(increase(sophia_cost_usd_total{ON}[30d]))",
                    unit="currencyUSD",
                    kind="stat",
                    width=6,
                ),
                _one(
                    "A month at this day's rate",
                    f"sum(increase(sophia_cost_usd_total{ON}[1d])) * 30",
                    unit="currencyUSD",
                    kind="stat",
                    width=6,
                    about="Thirty times the last day; SOPHIA's own forecast knows weekdays.",
                ),
            ),
        ),
        Row(
            "Over time",
            (
                _one(
                    "USD an hour by provider",
                    f"sum by (provider) (increase(sophia_cost_usd_total{ON}[1h]))",
                    "{{provider}}",
                    "currencyUSD",
                    width=12,
                ),
                _one(
                    "USD for a thousand tokens",
                    f"1000 * sum(increase(sophia_cost_usd_total{ON}[1h])) / sum(increase(sophia_tokens_total{ON}[1h]))",
                    "USD",
                    "currencyUSD",
                    width=12,
                ),
                _one("Tokens", _rated("sophia_tokens_total", "direction"), "{{direction}}", width=12),
                _one(
                    "Tokens that own servers make for each watt",
                    f"sum by (node) (model:generation_tokens:rate5m{ON})"
                    f" / sum by (node) (DCGM_FI_DEV_POWER_USAGE{ON} {KNOWN})",
                    NODE,
                    width=12,
                    about="Tokens per second and watt, which is tokens per joule.",
                ),
            ),
        ),
    ),
    (NODES,),
    since="now-7d",
)
DASHBOARDS: Final = (INFERENCE, MACHINE, CLIENTS, OBJECTIVES, COST)
FILES: Final = {f"ops/grafana/{each.uid.removeprefix('sophia-')}.json": each for each in DASHBOARDS}


def page(name: str) -> str:
    """The text of one of FILES."""
    return made(FILES[name])
