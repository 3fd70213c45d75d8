"""A command's answer in the conversation: columns of bare numbers say what they are of."""

from __future__ import annotations

from dataclasses import dataclass

from sophia_tui.listing import listing


@dataclass(frozen=True)
class Cost:
    what: str
    tokens_in: int
    usd: float


@dataclass(frozen=True)
class Name:
    name: str
    begun_at: int


def test_bare_numbers_have_a_title() -> None:
    lines = listing([Cost("monday", 112, 0.0235417)], 80)
    assert lines == ["what    tokens in  usd", "monday  112        0.02354"]


def test_words_and_times_speak_for_themselves() -> None:
    assert len(listing([Name("monday", 0)], 80)) == 1


def test_titles_go_where_the_rows_do_not_fit() -> None:
    assert "tokens in" not in " ".join(listing([Cost("monday " * 9, 112, 0.1)], 30))
