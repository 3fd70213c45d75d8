"""The dashboards that are shipped: what Grafana needs is there, nothing overlaps, and every query is one."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.ops.known import DASHBOARDS, ROOT, known
from tests.ops.promql import filled, names
from tests.ops.test_rules import said
from tests.programs import program
from tools import dashboards
from tools.grafana import WIDTH

KINDS = {"row", "timeseries", "stat", "gauge", "bargauge", "table"}
UNITS = {"short", "s", "percentunit", "celsius", "watt", "hertz", "Bps", "reqps", "ops", "currencyUSD"}
every = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return told


def queries(told: dict[str, Any]) -> list[str]:
    asked = [target["expr"] for panel in told["panels"] for target in panel.get("targets", ())]
    return asked + [note["expr"] for note in told["annotations"]["list"]]


def test_all_five_are_there_and_as_the_tables_say() -> None:
    assert {str(path.relative_to(ROOT)) for path in DASHBOARDS} == set(dashboards.FILES)
    for name in dashboards.FILES:
        assert (ROOT / name).read_text("utf-8") == dashboards.page(name), "run `make docs`"
    assert len({read(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 5


@every
def test_it_is_what_grafana_reads(path: Path) -> None:
    told = read(path)
    assert re.fullmatch(r"[a-z0-9-]{1,40}", told["uid"]) and told["title"] and told["schemaVersion"] >= 36
    assert told["templating"]["list"][0]["type"] == "datasource"
    ids = [panel["id"] for panel in told["panels"]]
    assert len(ids) == len(set(ids)) and all(each > 0 for each in ids)
    titles = [panel["title"] for panel in told["panels"] if panel["type"] != "row"]
    assert all(titles)
    for panel in told["panels"]:
        assert panel["type"] in KINDS
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"} and target["expr"]
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(letters) == len(set(letters))
        if panel["type"] != "row":
            assert letters and panel["fieldConfig"]["defaults"]["unit"] in UNITS
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


@every
def test_panels_lie_side_by_side(path: Path) -> None:
    places = [panel["gridPos"] for panel in read(path)["panels"]]
    assert all(each["x"] >= 0 and each["x"] + each["w"] <= WIDTH and each["h"] > 0 for each in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@every
def test_variables_that_are_used_are_asked_for(path: Path) -> None:
    told = read(path)
    variables = {each["name"] for each in told["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps([told["panels"], told["annotations"]])))
    assert {name for name in used if not name.startswith("__")} == variables
    for each in told["templating"]["list"][1:]:
        assert each["definition"] == each["query"]["query"]
        assert names(each["definition"].removeprefix("label_values(").partition(",")[0]) <= known()


@every
def test_it_asks_for_what_there_is(path: Path) -> None:
    asked = queries(read(path))
    assert asked and {name for query in asked for name in names(filled(query))} - known() == set()


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    asked = [query for path in DASHBOARDS for query in queries(read(path))]
    made = [{"record": f"asked:{at}", "expr": filled(query)} for at, query in enumerate(asked)]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": made}]}))
    assert f"{len(made)} rules found" in said(program("promtool"), "check", "rules", file)
