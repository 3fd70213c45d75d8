"""Numbers as a person reads them in a narrow column. What nobody measured reads as a dash, never as 0."""

from __future__ import annotations

import math
from typing import Final

NOTHING: Final = "–"


def known(value: float | None) -> bool:
    """Whether there is a number that can be shown."""
    return value is not None and math.isfinite(value)


def share(value: float | None) -> str:
    """`62 %`; a share between 0 and 1."""
    return f"{value * 100:.0f} %" if value is not None and math.isfinite(value) else NOTHING


def exact_share(value: float | None) -> str:
    """`99.93 %`, for what is nearly all or nothing."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value * 100:.2f}".rstrip("0").rstrip(".") + " %"


def count(value: float | None) -> str:
    """`7`, `1,240`, `0.4`, `3.1 M`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= limit:
            return f"{value / limit:.1f} {unit}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 0.1 else f"{value:.2g}"


def size(value: float | None) -> str:
    """`78.1 GB`, in units of 1,000."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= limit:
            number = value / limit
            return f"{number:.0f} {unit}" if abs(number) >= 100 else f"{number:.1f} {unit}"
    return f"{value:.0f} B"


def sizes(used: float | None, total: float | None) -> str:
    """`78.1 of 95.6 GB`."""
    if not known(total):
        return size(used)
    if not known(used):
        return f"{NOTHING} of {size(total)}"
    number, unit = size(total).rsplit(" ", 1)
    divisor = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3}.get(unit, 1.0)
    places = 1 if "." in number else 0
    return f"{(used or 0.0) / divisor:.{places}f} of {number} {unit}"


def seconds(value: float | None) -> str:
    """`0.4 ms`, `120 ms`, `1.2 s`, `3 m 20 s`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value >= 100:
        return f"{value // 60:.0f} m {value % 60:.0f} s"
    if value >= 0.9995:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value * 1000:.1f} ms" if value < 0.01 else f"{value * 1000:.0f} ms"


def watts(value: float | None) -> str:
    """`512 W`."""
    return f"{value:.0f} W" if value is not None and math.isfinite(value) else NOTHING


def degrees(value: float | None) -> str:
    """`61 °C`."""
    return f"{value:.0f} °C" if value is not None and math.isfinite(value) else NOTHING


def span(value: float) -> str:
    """How long something lasted or is ago: `8 s`, `5 m`, `3 h`, `2 d`."""
    value = max(0.0, value)
    for limit, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if value >= limit:
            return f"{value / limit:.0f} {unit}"
    return f"{value:.0f} s"


def many(number: int, one: str, more: str = "") -> str:
    """`1 server`, `3 servers`."""
    return f"{number} {one if number == 1 else more or one + 's'}"
