"""A run as events make it: the same however it is read, whatever stands in the events, at every point of its past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.metrics.view.text import width, words
from sophia_core.swarm.run_log import KINDS, Happened
from sophia_core.swarm.view import sections
from sophia_core.swarm.view.detail import step_lines
from sophia_core.swarm.view.folding import apply, fold
from sophia_core.swarm.view.gantt import axis, bar_row, scale_of
from sophia_core.swarm.view.graph import Node, laid_out, layers_of, row_line
from sophia_core.swarm.view.grouping import graph_of, groups_of, label, listed, speaks_for
from sophia_core.swarm.view.history import EVERY, History
from sophia_core.swarm.view.looking import Looking
from sophia_core.swarm.view.shapes import RunView
from sophia_core.swarm.view.words import ending, event_at, header, slider
from tests.swarm.worlds import BEGAN, LIVE, World, half_done, many

NASTY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("\x1b[2J\u202eevil"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "id",
    "plan",
    "steps",
    "after",
    "tokens_in",
    "cost",
    "seconds",
    "result",
    "error",
    "files",
    "diff",
    "dead",
    "call",
)
DETAILS = st.dictionaries(st.sampled_from(NAMES), NASTY, max_size=5)
EVENTS = st.lists(
    st.tuples(st.sampled_from((*KINDS, "nonsense")), st.sampled_from(("", "a", "b", "b/0", "a~1", "\x1b[1m")), DETAILS),
    max_size=25,
)


def made(spec: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Happened]:
    return [Happened("r", at, BEGAN + at * 50, kind, step, detail) for at, (kind, step, detail) in enumerate(spec, 1)]


def test_a_run_half_done_reads_as_it_stands() -> None:
    view = fold("01RUN", half_done())
    assert (view.status, view.done, view.total, view.waiting) == ("running", 1, 6, 1)
    assert [each.id for each in view.dead] == ["docs"]
    code = view.steps["code"]
    assert code.state == "waiting" and code.diff is not None and code.diff.added == 2
    assert [call.what for call in code.calls] == ["qwen3", "read_file", "pytest -q"]
    # The step tells again what its one call told: it is counted once.
    assert (view.tokens_in, view.tokens_out) == (420 + 1_800, 180 + 640)
    assert ending(view)[0].startswith("code waits for you")


def test_a_decision_lets_the_step_go_on() -> None:
    view = fold("01RUN", half_done())
    apply(view, Happened("01RUN", 99, view.at + 5, "approval.decided", "code", {"id": "ap1", "decision": "allow"}))
    assert not view.waiting and view.steps["code"].state == "running"
    assert view.steps["code"].waits[0][1] and view.decided[0].decision == "allow"


def test_an_event_counts_once() -> None:
    events = half_done()
    twice = fold("01RUN", [each for event in events for each in (event, event)])
    assert twice == fold("01RUN", events)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 25))
def test_whatever_events_say_nothing_raises_and_every_prefix_is_the_same(
    spec: list[tuple[str, str, dict[str, Any]]], cut: int
) -> None:
    events = made(spec)
    view = fold("r", events[:cut])
    kept = view.copied()
    for each in events[cut:]:
        apply(view, each)
    assert view == fold("r", events) and kept == fold("r", events[:cut])
    assert sum(view.counts.values()) == len(view.steps) and all(count >= 0 for count in view.counts.values())
    _draw(view)


def _draw(view: RunView) -> None:
    """Everything that is made of it, in any width, is of one line each and has nothing a terminal obeys."""
    groups = groups_of(view)
    for wide in (20, 47):
        graph = graph_of(groups, wide)
        for row in range(graph.rows):
            row_line(graph, row, lambda each, _: label(view, groups, each, view.at))
        scale = scale_of(view, view.at, wide)
        lines = [axis(scale), header(view, view.at, wide), slider(3, view, 9, wide)]
        for step_id in listed(view, groups):
            step = view.steps[step_id]
            lines += [bar_row(step, scale, view.at), *step_lines(view, step, None, view.at, wide)]
        assert all("\x1b" not in words(each) and "\n" not in words(each) for each in lines)
        assert width(header(view, view.at, wide)) <= wide


async def test_any_point_of_the_past_is_what_was_seen_then() -> None:
    events = many(60, EVERY * 3 + 40)

    async def page(after: int, limit: int) -> Sequence[Happened]:
        return events[after : after + limit]

    history = History("01LONG")
    await history.catch_up(page)
    assert history.now == fold("01LONG", events)
    for number in (1, EVERY - 1, EVERY, EVERY + 1, EVERY * 2 + 7, len(events)):
        found = await history.at(number, page)
        assert found == fold("01LONG", events[:number])
    assert history.mark(len(events), -1) < len(events) and history.mark(1, 1) == 2


async def test_looking_reads_only_what_is_new() -> None:
    world = World(half_done(), live=LIVE)
    looking = Looking(world)
    seen = await looking.look("", None)
    assert seen.view is not None and seen.view.id == "01RUN" and seen.live["code"].tokens_per_s == 41.0
    pages = world.pages
    await looking.look("01RUN", None, lists=False)
    assert world.pages == pages + 1
    past = await looking.look("01RUN", 6, lists=False)
    assert past.view is not None and past.view.number == 6 and not past.live and past.newest == seen.newest


def test_a_graph_stands_in_columns_and_its_lines_meet() -> None:
    nodes = [Node("a"), Node("b", ("a",)), Node("c", ("a",)), Node("d", ("b", "c"))]
    graph = laid_out(nodes, 80)
    assert {each: place.layer for each, place in graph.places.items()} == {"a": 0, "b": 1, "c": 1, "d": 2}
    drawn = [words(row_line(graph, row, lambda each, _: (each, ""))) for row in range(graph.rows)]
    assert "┬" in drawn[0] and "└" in drawn[1] and "┘" in drawn[1]
    plain = laid_out(nodes, 80, ascii_only=True)
    assert all(
        words(row_line(plain, row, lambda each, _: (each, ""), ascii_only=True)).isascii() for row in range(plain.rows)
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 14), max_size=4), min_size=1, max_size=15), st.integers(10, 120))
def test_no_two_steps_stand_in_one_place(after: list[set[int]], room: int) -> None:
    nodes = [Node(str(at), tuple(str(each) for each in sorted(before))) for at, before in enumerate(after)]
    graph = laid_out(nodes, room)
    assert len({(place.row, place.x) for place in graph.places.values()}) == len(nodes) == len(graph.places)


def test_a_circle_ends() -> None:
    assert set(layers_of({"a": ("b",), "b": ("a",), "c": ("c",)})) == {"a", "b", "c"}


def test_many_of_one_are_one_node_that_says_how_far_they_are() -> None:
    view = fold("01LONG", many(30, 400))
    groups = groups_of(view)
    assert len(groups.members) == 3 and len(groups.members["each"]) == 31
    assert label(view, groups, "each", view.at)[0].endswith("/30")
    assert speaks_for(view, groups, "each").startswith("each/")
    assert "each" not in listed(view, groups)


def test_the_slider_leads_to_the_event_under_the_mouse() -> None:
    view = fold("01RUN", half_done())
    line = slider(None, view, view.number, 60)
    long = sum(len(each.text) for each in line[:3]) - 2
    assert event_at(1, view.number, long) == 1 and event_at(long, view.number, long) == view.number


def test_what_there_is_not_is_said_with_the_next_step() -> None:
    for section, empty in sections.EMPTY.items():
        assert empty.endswith("."), section
