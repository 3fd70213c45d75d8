"""The rules, the scrape configuration and the routes that are shipped: sound, about what there is, and explained."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from sophia_core.objectives.burning import BURNS, WINDOWS
from sophia_core.objectives.settings import DEFAULTS, ObjectiveSettings
from tests.ops.known import OPS, ROOT, RULES, RUNBOOKS, alerts, known, rules
from tests.ops.promql import filled, names
from tests.programs import program

SECTIONS = ["## What to look at", "## What to do", "## How to see that it is over"]
SHIPPED = tomllib.loads((ROOT / "sophia_core/alerts/shipped.toml").read_text("utf-8"))["rule"]
PAGES = sorted(RUNBOOKS.glob("*.md"))


def said(*words: str | Path) -> str:
    """What a program says. Raises AssertionError when it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def queries_of(page: Path) -> list[str]:
    blocks = re.findall(r"```promql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    assert "SUCCESS" in said(program("promtool"), "check", "rules", "--lint-fatal", *RULES)


def test_promtool_finds_nothing_wrong_with_the_configuration() -> None:
    assert "FAILED" not in said(program("promtool"), "check", "config", OPS / "prometheus/prometheus.yml")


def test_amtool_finds_nothing_wrong_with_the_routes() -> None:
    assert "SUCCESS" in said(program("amtool"), "check-config", OPS / "alertmanager/alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=GpuGone severity=critical", "pager,channel"),
        ("alertname=GpuHot severity=warning", "channel"),
        ("alertname=Watchdog severity=info", "dead-mans-switch"),
    ],
)
def test_an_alert_goes_where_it_is_heard(labels: str, receivers: str) -> None:
    config = OPS / "alertmanager/alertmanager.yml"
    found = said(program("amtool"), "config", "routes", "test", f"--config.file={config}", *labels.split())
    assert found.splitlines()[0] == receivers


@pytest.mark.parametrize("path", sorted((OPS / "prometheus/tests").glob("*.yml")), ids=lambda path: path.stem)
def test_given_numbers_raise_what_they_should(path: Path) -> None:
    said(program("promtool"), "test", "rules", path)


def test_every_alert_has_such_a_test() -> None:
    tested = "".join(path.read_text("utf-8") for path in (OPS / "prometheus/tests").glob("*.yml"))
    assert [rule["alert"] for rule in alerts() if f"alertname: {rule['alert']}\n" not in tested] == []


def test_rules_ask_for_what_there_is() -> None:
    assert {name for rule in rules() for name in names(rule["expr"])} - known() == set()


def test_alerts_are_told_apart_and_say_how_bad_what_and_where_to_read() -> None:
    told = [rule["alert"] for rule in alerts()]
    assert len(told) == len(set(told)) >= 20
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "error", "warning", "info"}, rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert (ROOT / rule["annotations"]["runbook"]).parent == RUNBOOKS, rule["alert"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    named = {rule["annotations"]["runbook"] for rule in alerts()}
    assert {name for name in named if not (ROOT / name).is_file()} == set()
    pages = {str(page.relative_to(ROOT)) for page in PAGES}
    assert pages - named - {each["runbook"] for each in SHIPPED} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_says_who_told_what_to_look_at_what_to_do_and_when_it_is_over(page: Path) -> None:
    text, name = page.read_text("utf-8"), str(page.relative_to(ROOT))
    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    told = text.partition("Told by ")[2].partition("\n\n")[0]
    mine = [rule["alert"] for rule in alerts() if rule["annotations"]["runbook"] == name]
    assert re.findall(r"`(\w+)`", told) == mine
    assert re.findall(r'"([^"]+)"', told) == [each["name"] for each in SHIPPED if each["runbook"] == name]
    assert {each for query in queries_of(page) for each in names(query)} - known() == set()


def test_queries_of_the_runbooks_are_queries(tmp_path: Path) -> None:
    asked = chain.from_iterable(map(queries_of, PAGES))
    made = [{"record": f"asked:{at}", "expr": filled(query)} for at, query in enumerate(asked)]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": made}]}))
    assert f"{len(made)} rules found" in said(program("promtool"), "check", "rules", file)


def test_objectives_are_those_of_the_app() -> None:
    budgets = [rule for rule in rules() if rule.get("record") == "objective:error_budget:share"]
    shares = {rule["labels"]["objective"]: float(rule["expr"][len("vector(") : -1]) for rule in budgets}
    assert shares == pytest.approx({each.name: 1 - each.target for each in DEFAULTS})
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {f"objective:burn:rate{window}" for window in WINDOWS} <= recorded
    least = ObjectiveSettings().least_events
    for burn in BURNS:
        name = "ErrorBudgetBurnsFast" if burn.severity == "critical" else "ErrorBudgetBurns"
        (alert,) = [rule for rule in alerts() if rule["alert"] == name]
        long, short = (f"objective:burn:rate{window} >= {burn.rate:g}" for window in (burn.long, burn.short))
        assert f"({long} and {short} and objective:events:increase{burn.long} >= {least})" in alert["expr"]
        assert alert["labels"]["severity"] == burn.severity


def test_the_page_tells_the_objectives_as_they_are() -> None:
    page = (ROOT / "docs/slo.md").read_text("utf-8")
    for each in DEFAULTS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{each.name}`")]
        assert f"| {each.target * 100:.4g} % | {each.days:g} days |" in row
        assert each.seconds is None or f"within {each.seconds:g} s" in row
    for burn in BURNS:
        assert re.search(
            rf"\| {burn.long[:-1]} {burn.long[-1]} \| {burn.short[:-1]} {burn.short[-1]} \| {burn.rate:g} ", page
        )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sum by (le) (rate(a_bucket{x=~\"b|c\"}[5m])) / on (z) group_left (y) c:d:e > 1e18", {"a_bucket", "c:d:e"}),
        ("count(a == 2) or b unless c{d=\"}\"}", {"a", "b", "c"}),
        ("max_over_time(count by (n) (a)[1h:1m]) and b offset 1d", {"a", "b"}),
        ("vector(0.001)", set()),
    ],
)  # fmt: skip
def test_names_of_a_query(query: str, found: set[str]) -> None:
    assert names(query) == found
