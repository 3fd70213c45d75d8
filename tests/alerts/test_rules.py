"""From what is measured to what is told: each trouble once, and its end once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client.scraping.types import Quantiles
from sophia_core.alerts.findings import MOST, Look, findings
from sophia_core.alerts.rule import Anomaly, Budget, Burn, Rule, Spent, Threshold
from sophia_core.alerts.rules import FORGOTTEN_S, NO_LONGER, RULE_GONE, TARGET_GONE, Change, Quiet, Watch
from sophia_core.alerts.silences import covers, duration, parts
from sophia_core.metrics.ports import Alert, ObjectiveState, Reading
from sophia_core.sanitize import one_line

from .looks import GONE, HOT, hot, look


def kinds(changes: Sequence[Change]) -> list[str]:
    return [each.kind for each in changes]


def told(watch: Watch, rule: Rule, looks: Sequence[Look]) -> list[Change]:
    return [change for each in looks for change in watch.step([rule], each)]


def test_a_trouble_is_told_when_it_lasted_and_resolved_when_it_was_over_for_long_enough() -> None:
    watch = Watch("here")
    seen = {at: kinds(watch.step([HOT], look(at, node=90.0 if at < 10 else 70.0))) for at in range(20)}
    assert {at: each for at, each in seen.items() if each} == {4: ["raised"], 13: ["resolved"]}


def test_what_is_told_says_what_where_and_how_bad() -> None:
    (change,) = told(Watch("here"), hot(for_s=0, runbook="docs/x.md"), [look(5, node=90.5)])
    alert = change.alert
    assert (alert.key, alert.rule, alert.source, alert.at, alert.runbook) == (
        "hot/target=node", "hot", "node", 5, "docs/x.md",
    )  # fmt: skip
    assert alert.summary == "node: gpu temperature is 90.5, above 80"
    assert alert.details == {"target": "node", "value": 90.5}


def test_a_short_peak_is_not_told() -> None:
    assert told(Watch(), HOT, [look(at, node=90.0 if at % 4 else 70.0) for at in range(60)]) == []


def test_a_short_dip_does_not_resolve() -> None:
    changes = told(Watch(), HOT, [look(at, node=70.0 if at > 5 and at % 3 == 0 else 90.0) for at in range(60)])
    assert kinds(changes) == ["raised"]


def test_a_break_in_the_watching_counts_for_nothing() -> None:
    """A laptop that slept for an hour does not know that it was hot all the time."""
    watch = Watch()
    assert told(watch, HOT, [look(0, node=90.0), look(3600, node=90.0), look(3603, node=90.0)]) == []
    assert kinds(told(watch, HOT, [look(3604, node=90.0)])) == ["raised"]


def test_a_clock_that_is_set_back_begins_anew() -> None:
    watch = Watch()
    told(watch, HOT, [look(1000, node=90.0), look(1003, node=90.0)])
    assert told(watch, HOT, [look(10, node=90.0), look(13, node=90.0)]) == []
    assert kinds(told(watch, HOT, [look(14, node=90.0)])) == ["raised"]


def test_the_cooldown_keeps_what_flaps_quiet_and_tells_it_when_it_is_over() -> None:
    rule = hot(for_s=0, resolve_after_s=0, cooldown_s=30)
    looks = [look(at, node=90.0 if at % 2 == 0 else 70.0) for at in range(60)]
    changes = told(Watch(), rule, looks)
    assert kinds(changes) == ["raised", "resolved"] * (len(changes) // 2)
    raised = [each.alert.at for each in changes if each.kind == "raised"]
    assert raised == [0, 32]


def test_nobody_knows_is_neither_bad_nor_good() -> None:
    watch = Watch()
    told(watch, HOT, [look(at, node=90.0) for at in range(5)])
    assert told(watch, HOT, [look(at, node=None) for at in range(5, 60)]) == []
    (change,) = told(watch, HOT, [look(4 + FORGOTTEN_S, node=None)])
    assert (change.kind, change.why) == ("resolved", NO_LONGER)


def test_a_target_that_is_taken_away_leaves_no_alert_standing() -> None:
    watch = Watch()
    told(watch, HOT, [look(at, node=90.0) for at in range(5)])
    (change,) = told(watch, HOT, [look(4 + FORGOTTEN_S)])
    assert (change.kind, change.why, watch.standing()) == ("resolved", NO_LONGER, [])


def test_a_target_that_is_asked_no_more_ends_its_alert_at_once_and_one_that_is_silent_does_not() -> None:
    watch = Watch()
    told(watch, HOT, [replace(look(at, node=90.0, box=90.0), asked={"node", "box"}) for at in range(5)])
    (change,) = told(watch, HOT, [replace(look(5), asked={"node"})])
    assert (change.kind, change.alert.key, change.why) == ("resolved", "hot/target=box", TARGET_GONE)
    assert [each.source for each, _ in watch.standing()] == ["node"]


def test_a_rule_that_is_taken_away_ends_its_alerts_unless_the_file_is_wrong() -> None:
    watch = Watch()
    told(watch, HOT, [look(at, node=90.0) for at in range(5)])
    assert watch.step([], look(5, node=90.0), complete=False) == []
    (change,) = watch.step([], look(6, node=90.0))
    assert (change.kind, change.why) == ("resolved", RULE_GONE)


def test_a_silenced_alert_is_told_when_the_silence_is_over() -> None:
    watch, rule = Watch(), hot(for_s=0)
    (raised,) = watch.step([rule], look(0, node=90.0), lambda alert: True)
    assert (raised.kind, raised.told) == ("raised", False)
    assert watch.step([rule], look(1, node=90.0), lambda alert: True) == []
    (late,) = watch.step([rule], look(2, node=90.0))
    assert (late.kind, late.told) == ("told", True)


def test_what_was_never_told_is_not_resolved_aloud() -> None:
    watch, rule = Watch(), hot(for_s=0, resolve_after_s=0)
    watch.step([rule], look(0, node=90.0), lambda alert: True)
    (ended,) = watch.step([rule], look(1, node=70.0), lambda alert: True)
    assert (ended.kind, ended.told) == ("resolved", False)


def test_things_of_one_group_are_one_alert() -> None:
    rule = hot(for_s=0, resolve_after_s=0, group=())
    watch = Watch()
    (raised,) = told(watch, rule, [look(0, one=90.0, two=91.0, three=10.0)])
    assert raised.alert.key == "hot" and raised.alert.summary.endswith("above 80, and 1 more")
    assert told(watch, rule, [look(1, one=70.0, two=91.0), look(2, one=90.0, two=70.0)]) == []
    assert kinds(told(watch, rule, [look(3, one=70.0, two=70.0)])) == ["resolved"]


def test_a_silent_target_is_told_whatever_made_it_silent() -> None:
    watch = Watch()
    assert kinds(told(watch, GONE, [look(at, "down", node=None) for at in range(5)])) == ["raised"]
    assert kinds(told(watch, GONE, [look(5, node=None)])) == ["resolved"]
    old = Reading("node", 5.0, "up")
    assert kinds(told(watch, GONE, [Look(at, {"node": old}) for at in range(30, 35)])) == ["raised"]


def test_a_target_that_a_rule_names_and_nobody_asks_is_silent() -> None:
    rule = Rule("gone", GONE.condition, targets=("db",), for_s=0)
    (change,) = Watch().step([rule], Look(0.0))
    assert "db tells nothing" in change.alert.summary


def test_an_error_budget_burns_only_over_both_windows() -> None:
    rule = Rule("burn", Burn("*", (("1h", "5m", 14.4),)), resolve_after_s=0, cooldown_s=0)

    def burning(long: float, short: float) -> Look:
        state = ObjectiveState("availability", 0.999, 0.9, 10, 0.5, {"1h": long, "5m": short}, "burning")
        return Look(0.0, objectives=[state])

    assert told(Watch("box"), rule, [burning(20, 1), burning(1, 20)]) == []
    watch = Watch("box")
    (raised,) = told(watch, rule, [burning(20, 15)])
    assert raised.alert.key == "burn/objective=availability/on=box"
    assert "20 times too fast over 1h and 5m; 50% of it is left" in raised.alert.summary
    assert kinds(told(watch, rule, [burning(20, 1)])) == ["resolved"]


def test_each_level_of_a_budget_is_an_alert_of_its_own() -> None:
    rule = Rule("budget", Budget(), resolve_after_s=0, cooldown_s=0)
    watch = Watch("box")
    looks = [Look(at, budgets={"today": Spent(used, 10.0)}) for at, used in enumerate((1, 5, 9, 10, 0))]
    changes = told(watch, rule, looks)
    assert [(each.kind, each.alert.details["level"]) for each in changes] == [
        ("raised", "50%"), ("raised", "80%"), ("raised", "100%"),
        ("resolved", "50%"), ("resolved", "80%"), ("resolved", "100%"),
    ]  # fmt: skip


def test_a_provider_unlike_itself_is_told() -> None:
    rule = Rule("odd", Anomaly(3.0), resolve_after_s=0)
    (change,) = Watch().step([rule], Look(0.0, anomalies={"near": 4.2, "far": 1.0, "lost": math.nan}))
    assert change.alert.summary == "near behaves unlike itself: 4.2, above 3"


def test_thresholds_know_quantiles_labels_and_shares() -> None:
    reading = Reading(
        "node", 0.0, "up",
        values={"used": 90.0, "all": 100.0},
        quantiles={"ttft": Quantiles(0.1, 3.0, 4.0, 0.5, 9)},
        by={"gpu": {"0": {"heat": 95.0}, "1": {"heat": 20.0}}},
    )  # fmt: skip
    now = Look(0.0, {"node": reading})

    def bad(condition: Threshold) -> list[tuple[dict[str, str], bool | None]]:
        return [(dict(each.labels), each.bad) for each in findings(Rule("r", condition), now)]

    assert bad(Threshold("ttft", True, 2.0, "p95")) == [({"target": "node"}, True)]
    assert bad(Threshold("heat", True, 90.0, per="gpu")) == [
        ({"target": "node", "gpu": "0"}, True), ({"target": "node", "gpu": "1"}, False),
    ]  # fmt: skip
    assert bad(Threshold("used", True, 0.8, of="all")) == [({"target": "node"}, True)]
    assert bad(Threshold("used", False, 0.8, of="none")) == [({"target": "node"}, None)]


def test_a_server_that_makes_up_labels_makes_no_more_alerts_than_there_may_be() -> None:
    many = {f"model {number}": {"heat": 99.0} for number in range(5_000)}
    rule = Rule("r", Threshold("heat", True, 1.0, per="model"))
    assert len(Watch().step([rule], Look(0.0, {"node": Reading("node", 0.0, "up", by={"model": many})}))) == MOST


@given(st.text(max_size=400), st.text(max_size=1_500))
def test_whatever_a_server_calls_itself_the_key_and_the_summary_fit(name: str, summary: str) -> None:
    rule = hot(for_s=0, summary=summary + "{target}{value}{nothing}")
    (change,) = Watch("box").step([rule], Look(0.0, {name: Reading(name, 0.0, "up", values={"gpu_temperature": 99.0})}))
    assert len(change.alert.key) <= 255 and len(change.alert.summary) <= 1_024
    for text in (change.alert.key, change.alert.summary, change.alert.source):
        assert one_line(text, 10_000) == text


def test_words_of_a_server_are_not_taken_for_names() -> None:
    rule = hot(for_s=0, summary="{target} is hot")
    (change,) = Watch().step([rule], look(0, **{"{value}": 90.0}))
    assert change.alert.summary == "{value} is hot"


ALWAYS: Quiet = lambda alert: True  # noqa: E731 - shorter so
NEVER: Quiet = lambda alert: False  # noqa: E731 - shorter so
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, 5.0, 90.0, 2_000.0, -50.0]),
        st.dictionaries(st.sampled_from("abc"), st.sampled_from([70.0, 90.0, 90.0, None, math.nan]), max_size=3),
        st.booleans(),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=120,
)


@settings(max_examples=200)
@given(STEPS, st.sampled_from([0.0, 3.0]), st.sampled_from([0.0, 3.0]), st.sampled_from([0.0, 10.0]))
def test_nothing_is_told_twice_and_everything_told_is_resolved(
    steps: list[tuple[float, dict[str, float | None], bool, bool]], wait: float, resolve: float, cooldown: float
) -> None:
    rule = hot(for_s=wait, resolve_after_s=resolve, cooldown_s=cooldown)
    watch, at = Watch(), 1e6
    standing: set[str] = set()
    open_: set[str] = set()
    for passed, degrees, quiet, there in steps:
        at += passed
        for each in watch.step([rule] if there else [], look(at, **degrees), ALWAYS if quiet else NEVER):
            key = each.alert.key
            match each.kind:
                case "raised":
                    assert key not in standing
                    standing.add(key)
                case "resolved":
                    assert key in standing and (key in open_) == each.told
                    standing.remove(key)
                    open_.discard(key)
            if each.kind != "resolved" and each.told:
                assert key not in open_
                open_.add(key)
    assert {alert.key for alert, _ in watch.standing()} == standing
    for later in (at + 1, at + 1 + 2 * FORGOTTEN_S, at + 1 + 4 * FORGOTTEN_S):
        for each in watch.step([rule], look(later), lambda alert: True):
            assert each.kind == "resolved" and (each.alert.key in open_) == each.told
            open_.discard(each.alert.key)
    assert not open_ and watch.standing() == []


@pytest.mark.parametrize(
    ("match", "covered"),
    [
        ("hot", True), ("rule=h*", True), ('rule="hot"', True), ("target=node-1", True), ("target=node-*", True),
        ("hot target=node-2", False), ("severity=warning", True), ("gpu=0", False), ("", False), ("  ", False),
        ("key=hot/*", True),
    ],
)  # fmt: skip
def test_a_silence_covers_what_it_names(match: str, covered: bool) -> None:
    alert = Alert("hot/target=node-1", "hot", "warning", "it is hot", "node-1", 0.0, details={"target": "node-1"})
    assert covers(match, alert) == covered


@given(st.text())
def test_any_silence_can_be_looked_at(match: str) -> None:
    covers(match, Alert("k", "r", "info", "s", "x", 0.0))


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("1.5m", 90), ("2h", 7200), (" 7D ", 604_800)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2 parsecs", "-5m", "1e9d", "nan", "9999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|year"):
        duration(text)


@pytest.mark.parametrize("match", [" ", "target=", "tagret=node", '""'])
def test_a_silence_names_something(match: str) -> None:
    with pytest.raises(ValueError, match=r"names nothing|there is no 'tagret'"):
        parts(match)
