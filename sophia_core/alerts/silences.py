"""What a silence covers: `rule=NAME`, `target=gh200-*`, `severity=info`; words side by side all have to fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from sophia_core.alerts.rule import GROUP
from sophia_core.metrics.ports import Alert

LONGEST: Final = 500
NAMES: Final = ("rule", "severity", "source", "key", *GROUP)
"""What an alert can be told by."""
_QUOTED: Final = re.compile(r"""(?:(\w+)=)?(?:"([^"]*)"|'([^']*)'|(\S+))""")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
LONGEST_DURATION_S: Final = 366 * 86_400.0


def parts(match: str) -> list[tuple[str, str]]:
    """The conditions of a silence, as (what, pattern); a word alone is about the rule. Raises ValueError."""
    if len(match) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    found = []
    for name, double, single, plain in _QUOTED.findall(match):
        pattern = double or single or plain
        if not pattern or pattern.endswith("="):
            raise ValueError("it names nothing")
        if name and name not in NAMES:
            raise ValueError(f"there is no {name[:40]!r}; known are {', '.join(NAMES)}")
        found.append((name or "rule", pattern))
    if not found:
        raise ValueError("it names nothing")
    return found


def covers(match: str, alert: Alert) -> bool:
    """Whether a silence keeps this alert quiet; one that cannot be read keeps nothing quiet."""
    try:
        wanted = parts(match)
    except ValueError:
        return False
    known = _labels(alert)
    return all(name in known and fnmatchcase(known[name], pattern) for name, pattern in wanted)


def _labels(alert: Alert) -> Mapping[str, str]:
    own = {"rule": alert.rule, "severity": alert.severity, "source": alert.source, "key": alert.key}
    return {**{name: str(value) for name, value in alert.details.items()}, **own}


def duration(text: str) -> float:
    """Seconds of `90`, `30s`, `5m`, `2h`, `7d`. Raises ValueError."""
    if (found := _DURATION.fullmatch(text.strip().lower())) is None:
        raise ValueError(f"{text[:40]!r} is no duration; write it like 30s, 5m, 2h or 7d")
    seconds = float(found[1]) * _UNITS.get(found[2], 1.0)
    if seconds > LONGEST_DURATION_S:
        raise ValueError(f"{text[:40]!r} is more than a year")
    return seconds
