"""Spans as rows: every span once, within the width, in the order of time, whatever they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.metrics import semconv, waterfall
from sophia_core.metrics.ports import Span
from sophia_core.present import cells

T = "0" * 31 + "1"


def span(number: int, parent: int, name: str, start: float, end: float, **more: object) -> Span:
    return Span(T, f"{number:016x}", f"{parent:016x}" if parent else "", name, start, end, **more)  # type: ignore[arg-type]


TURN = (
    span(1, 0, "chat m", 100.0, 104.0, ok=False),
    span(2, 1, "queue near", 100.0, 101.0),
    span(4, 3, "stream", 102.0, 104.0),
    span(3, 1, "attempt near", 101.0, 104.0, kind="client"),
    span(5, 3, "server queue", 101.0, 101.5, kind="server"),
)


def test_steps_stand_below_what_they_are_part_of_and_in_their_order() -> None:
    assert waterfall.text(TURN, 50) == [
        "chat m           ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓   4.00 s ✗",
        "  queue near     ██████                   1.00 s",
        "  attempt near        █████████████████   3.00 s",
        "    server queue      ▒▒▒                 500 ms",
        "    stream                  ███████████   2.00 s",
    ]


def test_a_bar_lies_where_its_time_was() -> None:
    rows = waterfall.rows(TURN, 80)
    whole = rows[0].length
    assert rows[0].before == 0
    assert abs(rows[1].length - whole / 4) <= 1
    assert rows[2].before == rows[1].length
    assert all(row.before + row.length <= whole for row in rows)
    assert rows[4].before + rows[4].length == whole


def test_ascii_only_is_ascii() -> None:
    text = "\n".join(waterfall.text(TURN, 60, ascii_only=True))
    assert text.isascii()
    assert "#" in text and "=" in text and "x" in text


def test_where_there_is_no_room_for_bars_there_are_none() -> None:
    for row in waterfall.rows(TURN, 22):
        assert row.length == 0
        assert row.took


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 µs"),
        (0.00085, "850 µs"),
        (0.0123, "12.3 ms"),
        (0.25, "250 ms"),
        (0.9999, "1.00 s"),
        (9.999, "10.0 s"),
        (59.99, "1m 00s"),
        (125, "2m 05s"),
        (3599.9, "1h 00m"),
        (90_000, "25h 00m"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert waterfall.duration(seconds) == words
    assert len(words) < waterfall.TOOK


names = st.text(max_size=12) | st.sampled_from(["\x1b[31mred", "漢字漢字漢字", "a\nb", "", "\u202etxt"])
spans = st.lists(
    st.builds(
        lambda number, parent, name, start, took, ok, kind: span(
            number, parent, name, start, start + took, ok=ok, kind=kind
        ),
        st.integers(1, 9),
        st.integers(0, 12),
        names,
        st.floats(0, 1e6),
        st.floats(0, 1e5),
        st.booleans(),
        st.sampled_from(["internal", "client", "server"]),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(spans, st.integers(12, 200), st.booleans())
def test_every_span_is_shown_once_and_no_line_is_too_long(many: list[Span], width: int, ascii_only: bool) -> None:
    rows = waterfall.rows(many, width, ascii_only=ascii_only)
    assert sorted(id(row.span) for row in rows) == sorted(map(id, many))
    for line in waterfall.text(many, width, ascii_only=ascii_only):
        assert cells(line) <= width
        assert not {unicodedata.category(char) for char in line} & {"Cc", "Cf", "Zl", "Zp"}


def test_what_is_known_of_a_step_is_words() -> None:
    one = span(1, 0, "a", 1.0, 2.0, ok=False, kind="server", attributes={semconv.HTTP_STATUS: 503, "x\x1b[2J": "y\x1b"})
    known = waterfall.about(one, 0.5)
    assert ("began after", "500 ms") in known
    assert ("ended", "failed") in known
    assert (semconv.HTTP_STATUS, "503") in known
    assert all("\x1b" not in name + value for name, value in known)


def test_who_does_not_see_bars_is_told_in_words() -> None:
    assert waterfall.spoken(TURN)[:2] == ["chat m: 4.00 s, failed.", "queue near: 1.00 s, begun after 0 us."]
    assert len(waterfall.spoken(TURN)) == len(TURN) and waterfall.spoken(()) == []
