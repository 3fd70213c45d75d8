"""What is shipped, and what there is to ask for: what servers tell, what we tell, what our own rules record."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from backend_client.scraping import catalog, types
from sophia_core.metrics.own import NAMES

ROOT: Final = Path(__file__).parents[2]
OPS: Final = ROOT / "ops"
RULES: Final = tuple(sorted((OPS / "prometheus/rules").glob("*.yml")))
DASHBOARDS: Final = tuple(sorted((OPS / "grafana").glob("*.json")))
RUNBOOKS: Final = ROOT / "docs/runbooks/alerts"
SAMPLES: Final = ROOT / "tests/metrics/samples"
OF_PROMETHEUS: Final = frozenset({"up", "ALERTS", "scrape_duration_seconds"})
PUBLISHED: Final = frozenset({"node_filesystem_avail_bytes", "node_filesystem_size_bytes"})
"""In the published list of the node exporter, but not among what a machine without disks of its own told."""
PARTS: Final = ("_bucket", "_sum", "_count")


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Every rule of every file."""
    files = (yaml.safe_load(path.read_text("utf-8")) for path in RULES)
    return tuple(rule for file in files for group in file["groups"] for rule in group["rules"])


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def known() -> frozenset[str]:
    """Every name that there is a series of, somewhere."""
    told = {name for kind in catalog.CHAPTERS for name in catalog.names(kind)}
    for path in SAMPLES.glob("*.prom"):
        told |= set(re.findall(r"^([A-Za-z_:][\w:]*)(?=[{ ])", path.read_text("utf-8"), re.MULTILINE))
    return frozenset(
        told | ours() | {rule["record"] for rule in rules() if "record" in rule} | OF_PROMETHEUS | PUBLISHED
    )


def ours() -> set[str]:
    """What `sophia metrics serve` tells."""
    counted = {name for name, about in NAMES.items() if about.kind != "histogram"}
    measured = {f"sophia_{value}" for name, value in vars(types).items() if name.isupper() and isinstance(value, str)}
    parts = {f"{name}{part}" for name, about in NAMES.items() if about.kind == "histogram" for part in PARTS}
    return counted | parts | measured | {"sophia_target_up", "mcp_gpu_utilization"}
