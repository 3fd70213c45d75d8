"""Mermaid is drawn where it can be, told as a list where it is too wide, and left as its source otherwise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sophia_tui.diagrams import draw
from sophia_tui.diagrams.labels import wrapped

CHOICE = """graph TD
    A[Start] --> B{Works?}
    B -->|Yes| C[Great]
    B -- No --> D[Mend it]
    D --> B
"""
WORDS = ["A", "B", "-->", "---", "[x]", "{y}", "|z|", "&", ";", "subgraph", "end", "--", "-.->", "(", '"', "]", "\n"]
TALK = """sequenceDiagram
  participant A as Alice
  A->>Bob: Hello
  loop every minute
  Bob-->>A: fine
  end
  Note over A,Bob: friends
"""


def rows(source: str, width: int = 80, *, ascii_only: bool = False) -> str:
    drawing = draw(source, width, ascii_only=ascii_only)
    assert drawing is not None
    assert max(map(cell_len, drawing.rows)) <= width
    return "\n".join(drawing.rows)


def test_a_flowchart_has_a_box_for_each_node_and_says_its_labels() -> None:
    shown = rows(CHOICE)
    for words in ("│ Start │", "< Works? >", "│ Great │", "│ Mend it │", " Yes", " No"):
        assert words in shown
    assert shown.count("▼") == 3
    assert shown.count("▲") == 1, "the arrow that goes back points up"


def test_a_chain_from_left_to_right_is_one_row() -> None:
    assert rows("flowchart LR\n  U(User) --> P[Prompt] -->|tokens| M[(Model)]").split("\n")[1] == (
        "│ User │────▶│ Prompt │── tokens ──▶│ Model │"
    )


def test_what_is_too_wide_becomes_a_list() -> None:
    assert rows(CHOICE, 20).split("\n")[:2] == ["Start ──▶ Works?", "Works? ──▶ Great"]


def test_groups_are_told_to_be_missing() -> None:
    drawing = draw("graph TD\nsubgraph one\nA --> B\nend", 80)
    assert drawing is not None
    assert drawing.note == "groups are not drawn"


def test_a_sequence_shows_who_says_what() -> None:
    shown = rows(TALK)
    for words in ("│ Alice │", "│ Bob │", "Hello", "loop [every minute]", "[friends]"):
        assert words in shown
    assert rows(TALK, 18).startswith("Alice → Bob: Hello\n┄ loop")


def test_ascii_terminals_get_ascii() -> None:
    assert rows(CHOICE, ascii_only=True).isascii()
    assert rows(TALK, ascii_only=True).isascii()


@pytest.mark.parametrize("source", ["", "pie\n a: 3", "graph TD\n A ==> ] B", "sequenceDiagram\n what?", "gantt"])
def test_what_cannot_be_read_is_not_drawn(source: str) -> None:
    assert draw(source, 80) is None


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_no_flowchart_raises(words: list[str]) -> None:
    draw("graph TD\n" + " ".join(words), 60)
    draw("sequenceDiagram\n" + " ".join(words), 60)


def test_the_largest_chart_costs_little() -> None:
    names = [f"N{number}" for number in range(30)]
    edges = [f"{a} --> {b}" for a in names[:11] for b in names[11:21]]
    began = time.thread_time()
    draw("graph TD\n" + "\n".join(edges), 400)
    draw("graph TD\n" + " --> ".join(names) + "\n" + "\n".join(f"{name} --> N0" for name in names), 400)
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "line", ["a->>" + " " * 7000 + "x", "a" + " " * 7800 + "b", "a" + "->>" * 2600, "Note over " + " " * 7000 + "a"]
)
def test_a_line_that_fits_in_many_ways_is_not_tried_in_all_of_them(line: str) -> None:
    began = time.thread_time()
    assert draw(f"sequenceDiagram\n{line}", 80) is None
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize("width", [1, 0, -1, -40])
@pytest.mark.parametrize("text", ["one longerword", "字 字字", "", "a\nb"])
def test_where_there_is_no_room_at_all_words_still_come_to_an_end(text: str, width: int) -> None:
    assert "".join(wrapped(text, width)) == "".join(text.split())
    assert all(len(row) <= 1 for row in wrapped(text, width))
