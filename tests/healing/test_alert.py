"""What behaves oddly is told, by the rule that comes with the app."""

from __future__ import annotations

from pathlib import Path

from sophia_core.alerts.findings import Look
from sophia_core.alerts.rule_file import load
from sophia_core.alerts.rules import Change, Watch


def test_the_shipped_rule_tells_of_a_provider_that_stays_odd(tmp_path: Path) -> None:
    rules = [
        each for each in load(tmp_path / "alerts.toml", shipped=True).rules if each.name == "provider behaves oddly"
    ]
    watch, changes = Watch("box"), list[Change]()
    scores = [1.0] * 5 + [7.0] * 20 + [1.0] * 60
    for number, score in enumerate(scores):
        changes += watch.step(rules, Look(1_000_000.0 + 5 * number, anomalies={"near": score}))
    assert [(each.kind, each.told) for each in changes] == [("raised", True), ("resolved", True)]
    assert "near" in changes[0].alert.summary
    assert changes[0].alert.at - 1_000_025.0 >= 60, "it was told before it had lasted"
    assert (Path(__file__).parents[2] / changes[0].alert.runbook).is_file()
