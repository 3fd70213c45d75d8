"""Which metrics a query of PromQL asks for, told without a parser of it; `promtool` says whether it is one at all."""

from __future__ import annotations

import re
from typing import Final

WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end"})
VARIABLES: Final = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.$])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])")


def names(query: str) -> set[str]:
    """The names of all series that a query is about."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"', "", query)
    for pattern in (re.compile(r"\{[^}]*\}"), re.compile(r"\[[^\]]*\]"), _LABELS):
        bare = pattern.sub("", bare)
    return {name for name in _NAME.findall(bare) if name.lower() not in WORDS}


def filled(query: str) -> str:
    """A query of a dashboard as Grafana sends it: its variables have values."""
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return re.sub(r"\$\{?\w+\}?", ".*", query)
