"""Makes Grafana dashboards of plain tables: rows of panels, laid out by themselves. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["timeseries", "stat", "gauge", "bargauge", "table"]

SCHEMA: Final = 39
WIDTH: Final = 24
HEIGHTS: Final[dict[str, int]] = {"timeseries": 8, "stat": 4, "gauge": 6, "bargauge": 8, "table": 8}
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLOURS: Final = ("green", "yellow", "red")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and how each line is called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a row."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    about: str = ""
    steps: tuple[float, ...] = ()
    """Where it becomes yellow, and red."""
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: the values of a label, several of which can be chosen."""

    name: str
    metric: str
    label: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of Grafana."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ()
    since: str = "now-1h"


def made(dashboard: Dashboard) -> str:
    """The file that Grafana imports."""
    told: Json = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["sophia"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": dashboard.since, "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [_source(), *map(_variable, dashboard.choices)]},
        "links": [
            {
                "type": "dashboards", "tags": ["sophia"], "title": "SOPHIA", "asDropdown": True,
                "keepTime": True, "includeVars": True, "icon": "external link", "targetBlank": False, "url": "",
                "tooltip": "",
            }
        ],
        "panels": list(_panels(dashboard.rows)),
    }  # fmt: skip
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _alerts() -> Json:
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", alertname!="Watchdog"}',
        "titleFormat": "{{alertname}}",
    }


def _source() -> Json:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _variable(choice: Choice) -> Json:
    asked = f"label_values({choice.metric}, {choice.label})"
    return {
        "name": choice.name,
        "label": choice.name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": asked, "refId": choice.name},
        "definition": asked,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels(rows: Sequence[Row]) -> Iterator[Json]:
    number, below = 0, 0
    for row in rows:
        number += 1
        place = {"h": 1, "w": WIDTH, "x": 0, "y": below}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        below, across, deepest = below + 1, 0, 0
        for panel in row.panels:
            if across + panel.width > WIDTH:
                below, across, deepest = below + deepest, 0, 0
            number += 1
            height = HEIGHTS[panel.kind]
            yield _panel(panel, number, {"h": height, "w": panel.width, "x": across, "y": below})
            across, deepest = across + panel.width, max(deepest, height)
        below += deepest


def _panel(panel: Panel, number: int, place: Json) -> Json:
    defaults: Json = {"unit": panel.unit, "min": 0, "noValue": "–", "thresholds": _thresholds(panel.steps)}
    if panel.steps:
        defaults["color"] = {"mode": "thresholds"}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        # Nobody measured anything in a gap: no line goes across it.
        drawn = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        defaults |= {"custom": drawn, "color": {"mode": "palette-classic"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [_target(query, at, panel.kind) for at, query in enumerate(panel.queries)],
    }


def _thresholds(steps: tuple[float, ...]) -> Json:
    values: list[float | None] = [None, *steps]
    told = [{"color": colour, "value": value} for colour, value in zip(COLOURS, values, strict=False)]
    return {"mode": "absolute", "steps": told}


def _options(kind: Kind) -> Json:
    reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "table":
        return {"showHeader": True, "cellHeight": "sm"}
    if kind == "bargauge":
        return {**reduced, "orientation": "horizontal", "displayMode": "gradient"}
    return reduced


def _target(query: Query, at: int, kind: Kind) -> Json:
    told: Json = {
        "refId": chr(ord("A") + at),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
    }
    if kind != "timeseries":
        told["instant"] = True
    if kind == "table":
        told["format"] = "table"
    return told
