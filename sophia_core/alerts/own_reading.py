"""What the app measures of itself, as a reading like those of servers."""

from __future__ import annotations

from typing import Final

from sophia_core.alerts.findings import HERE
from sophia_core.metrics.own import DURATION, FIRST_TOKEN, QUEUED, Own
from sophia_core.metrics.ports import Reading

TIMES: Final = (DURATION, FIRST_TOKEN, QUEUED)


def own_reading(own: Own, at: float) -> Reading:
    """Gauges as they are, the worst of those that have labels; times of the last minutes."""
    values: dict[str, float] = {}
    for (name, _), value in own.gauges.items():
        values[name] = max(value, values.get(name, value))
    times = {name: told for name in TIMES if (told := own.quantiles(name)) is not None}
    return Reading(HERE, at, "up", values=values, quantiles=times)
