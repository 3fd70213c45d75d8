"""What Prometheus itself makes of some series: asked through `promtool`, where it is installed."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STEP_S = 10
_GOT = re.compile(r"got:(.*)")
_VALUE = re.compile(r"\{\} (\S+)")


def there() -> bool:
    return shutil.which("promtool") is not None


def evaluate(folder: Path, series: Mapping[str, Sequence[float]], queries: Sequence[str]) -> list[float | None]:
    """Return what each query gives at the last point; None for NaN. The points are ten seconds apart."""
    length = max(map(len, series.values()))
    asked = [
        # What no query gives, so that what it gives is told.
        {"expr": query, "eval_time": f"{(length - 1) * STEP_S}s", "exp_samples": [{"labels": "{}", "value": -12345}]}
        for query in queries
    ]
    given = [{"series": name, "values": " ".join(map(_shown, values))} for name, values in series.items()]
    tests = [{"interval": f"{STEP_S}s", "input_series": given, "promql_expr_test": asked}]
    rules = folder / "asked.json"
    rules.write_text(json.dumps({"evaluation_interval": f"{STEP_S}s", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", rules], capture_output=True, text=True, timeout=60)
    found = [_VALUE.search(got) for got in _GOT.findall(done.stdout + done.stderr)]
    assert len(found) == len(queries), done.stdout + done.stderr
    values = [float(each[1]) if each else math.nan for each in found]
    return [None if math.isnan(value) else value for value in values]


def _shown(value: float) -> str:
    return repr(value)
