"""What the metrics pane says, without a screen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from backend_client.scraping import types as signals
from sophia_core.metrics.ports import ObjectiveState, Quantiles, Reading, Target
from sophia_core.metrics.view import words as said
from sophia_core.metrics.view.cards import card, overview
from sophia_core.metrics.view.nodes import HERE, nodes_of
from sophia_core.metrics.view.page import body, header, page
from sophia_core.metrics.view.sections import MOST_ROWS, TITLES, Section, table_of
from sophia_core.metrics.view.seen import OwnNumber, Seen
from sophia_core.metrics.view.table import column_at, laid_out
from sophia_core.metrics.view.text import bar, cut, width, words
from tests.metrics.worlds import NOW, fallen, quantiles, serving, world

TABLES: tuple[Section, ...] = tuple(each for each in TITLES if each not in ("overview", "plot"))


def text(seen: Seen, section: Section = "overview", cells: int = 100, sort: str = "") -> str:
    """A section as a shell would print it."""
    return "\n".join(words(each) for each in body(seen, section, cells, sort))


def firsts(seen: Seen, section: Section, sort: str = "", down: bool | None = None) -> list[str]:
    """The first cell of each row."""
    return [row.cells[0].text for row in table_of(seen, section, sort, down=down).rows]


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        (said.share(None), "–"),
        (said.share(math.nan), "–"),
        (said.share(0.617), "62 %"),
        (said.exact_share(0.9993), "99.93 %"),
        (said.exact_share(1.0), "100 %"),
        (said.count(0.0), "0"),
        (said.count(1240.4), "1,240"),
        (said.count(0.42), "0.4"),
        (said.count(math.inf), "–"),
        (said.sizes(78.1e9, 95.6e9), "78.1 of 95.6 GB"),
        (said.sizes(None, 480e9), "– of 480 GB"),
        (said.sizes(3e9, None), "3.0 GB"),
        (said.seconds(0.0004), "0.4 ms"),
        (said.seconds(0.12), "120 ms"),
        (said.seconds(0.9996), "1.0 s"),
        (said.seconds(200), "3 m 20 s"),
        (said.span(-5), "0 s"),
    ],
)
def test_numbers_read_as_a_person_says_them(spoken: str, expected: str) -> None:
    assert spoken == expected


def test_a_card_has_what_its_machine_tells() -> None:
    shown = text(world())
    for part in ("● gh200-00  2 targets", "78.1 of 95.6 GB", "512 of 900 W 61 °C", "120 ms p50  340 ms p95", "running"):
        assert part in shown
    assert "Processor" not in shown, "nobody told of one"


def test_what_nobody_told_is_not_there() -> None:
    target = Target("a", "vllm", "http://box/metrics")
    reading = Reading("a", NOW, "up", values={signals.RUNNING: 2.0})
    lines = [words(each) for each in card(nodes_of(Seen(NOW, (target,), {"a": reading}))[0], 60, NOW)]
    assert lines == ["● box", "Requests    2 running  – waiting"]


def test_no_requests_are_not_zero_seconds() -> None:
    nothing = replace(serving("vllm-00"), quantiles={signals.FIRST_TOKEN: Quantiles(None, None, None, None, 0)})
    seen = world()
    assert "no requests just now" in text(replace(seen, readings={**seen.readings, "vllm-00": nothing}))


def test_targets_of_one_machine_are_one_card() -> None:
    targets = (
        Target("chat", "vllm", "http://127.0.0.1:8000/metrics"),
        Target("code", "vllm", "http://LOCALHOST:8001/metrics"),
        Target("gpu", "nvml"),
        Target("far", "vllm", "http://box:8000/metrics"),
    )
    readings = {
        "chat": serving("chat", load=0.5),
        "code": replace(serving("code", load=0.9), quantiles={signals.FIRST_TOKEN: quantiles(0.5, 2.0)}),
        "far": serving("far"),
    }
    here, far = nodes_of(Seen(NOW, targets, readings))
    assert (here.name, far.name, here.health) == (HERE, "box", "up")
    assert here.values[signals.RUNNING] == 10 + 18 and here.values[signals.KV_CACHE] == 0.9
    assert here.quantiles[signals.FIRST_TOKEN].p95 == 2.0, "percentiles are not added: the slowest counts"


def test_several_gpus_are_told_one_by_one() -> None:
    from tests.metrics.worlds import gpus

    target = Target("gpu", "dcgm", "http://box:9400/metrics")
    shown = text(Seen(NOW, (target,), {"gpu": gpus("gpu", count=20)}))
    assert "GPU 15" in shown and "and 4 more" in shown


def test_a_stale_machine_shows_its_age_and_no_colours() -> None:
    seen = fallen(world(), "stale", "it did not answer in 2 s")
    lines = overview(seen, 80)
    assert "stale for 2 m" in words(lines[0]) and "it did not answer in 2 s" in words(lines[1])
    assert not any(each.tone in ("accent", "good") for row in lines[1:] for each in row)


def test_a_machine_of_which_a_part_is_down_tells_what_the_rest_tells() -> None:
    seen = world()
    gone = Reading("dcgm-00", NOW, "down", reason="connection refused")
    lines = overview(replace(seen, readings={**seen.readings, "dcgm-00": gone}), 80)
    assert "1 of them not well" in words(lines[0]) and "dcgm-00: connection refused" in words(lines[1])
    told = "\n".join(words(each) for each in lines)
    assert "KV cache" in told and "Power" not in told
    assert any(each.tone == "accent" for row in lines for each in row), "it is not faded: it is true now"


def test_all_down_is_said_first() -> None:
    seen = fallen(world(3), "down", "connection refused")
    assert words(header(seen, 80)).startswith("0 of 6 targets up, 6 down")
    assert "! gh200-00" in text(seen) and "connection refused" in text(seen)


@pytest.mark.parametrize("cells", [20, 38, 80, 120, 200])
@pytest.mark.parametrize("section", TITLES)
def test_no_line_is_wider_than_the_screen(section: Section, cells: int) -> None:
    for seen in (world(20), fallen(world(2), "down", "x" * 500), Seen(NOW)):
        assert all(width(each) <= cells for each in body(seen, section, cells)[1:])
        assert width(header(seen, cells)) <= cells


@pytest.mark.parametrize("section", TABLES)
def test_every_table_can_be_in_the_order_of_every_column(section: Section) -> None:
    seen = world(5)
    for column in table_of(seen, section).columns:
        for down in (False, True):
            found = table_of(seen, section, column.key, down=down)
            assert len(found.rows) == len(table_of(seen, section).rows)
            places = [row.cells[[each.key for each in found.columns].index(column.key)].order for row in found.rows]
            known = [each for each in places if each is not None]
            assert known == sorted(known, reverse=down)
            assert places == known + [None] * (len(places) - len(known)), "what nobody knows stands last"


def test_a_table_begins_with_what_matters() -> None:
    seen = world(3)
    down = replace(seen.readings["vllm-01"], health="down", reason="gone")
    seen = replace(seen, readings={**seen.readings, "vllm-01": down})
    assert firsts(seen, "targets")[0] == "vllm-01"
    assert firsts(seen, "targets", "target") == sorted(firsts(seen, "targets"))
    assert firsts(seen, "models", "nonsense") == firsts(seen, "models")
    assert firsts(world(), "objectives")[0] == "first token", "the one that is missed"


def test_columns_go_one_by_one_when_there_is_no_room() -> None:
    table = table_of(world(), "models")
    wide, narrow = (words(laid_out(table, cells)[0]) for cells in (100, 40))
    assert "Errors/s" in wide and "Errors/s" not in narrow and "Out/s" in narrow
    assert column_at(table, 100, 0) == "model" and column_at(table, 100, 99) == ""
    title = wide.index("KV")
    assert column_at(table, 100, title) == "kv"


def test_a_slow_turn_leads_to_its_trace() -> None:
    row = table_of(world(), "slow").rows[0]
    assert row.then == ("trace.show", "a" * 12) and row.cells[1].text == "14 s"


def test_of_a_handful_of_events_no_share_is_told() -> None:
    few = ObjectiveState("first token", 0.95, 0.0, 1, -19.0, {"5m": 20.0}, "unknown")
    said = text(replace(world(1), objectives=(few,)), "objectives")
    assert "too few yet" in said and "-1900" not in said and "20.0" not in said


def test_hostile_labels_are_plain_and_cut() -> None:
    by = {"tenant": {f"\x1b[31m{number}\u202e" + "x" * 900: {signals.REQUEST_RATE: 1.0} for number in range(3000)}}
    target = Target("gate", "gateway", "http://gate/metrics")
    seen = Seen(NOW, (target,), {"gate": Reading("gate", NOW, "up", by=by)})
    shown = text(seen, "tenants", 80)
    assert "\x1b" not in shown and "\u202e" not in shown
    assert len(table_of(seen, "tenants").rows) == MOST_ROWS + 1 and f"and {3000 - MOST_ROWS:,} more tenants" in shown


def test_numbers_that_are_none_do_not_break_the_order() -> None:
    own = tuple(OwnNumber(f"n{at}", "", value) for at, value in enumerate((math.nan, 2.0, math.inf, 1.0, None)))
    assert firsts(replace(world(), own=own), "own", "value", True) == ["n1", "n3", "n0", "n2", "n4"]


def test_a_shell_gets_everything_on_one_page() -> None:
    told = "\n".join(page(world(), 100))
    for part in (
        "2 of 2 targets up",
        "gh200-00",
        "Models",
        "org/model",
        "Objectives",
        "breached",
        "Alerts",
        "First tokens",
    ):
        assert part in told
    assert "Tenants" not in "\n".join(page(Seen(NOW), 100)), "empty sections are left out"


def test_ascii_is_ascii() -> None:
    told = "\n".join(
        words(each) for each in [header(world(), 100, ascii_only=True), *overview(world(), 100, ascii_only=True)]
    )
    assert told.replace("°", "").isascii()


def test_a_bar_is_as_long_as_it_says() -> None:
    for share in (None, math.nan, -1.0, 0.0, 0.03, 0.5, 0.999, 1.0, 7.0):
        assert width(bar(share, 10)) == width(bar(share, 10, ascii_only=True)) == 10
    assert words(bar(0.5, 10)) == "█████░░░░░" and words(bar(1.0, 4)) == "████"
    assert cut("あいう", 4) == "あ…" and cut("abc", 3) == "abc"
