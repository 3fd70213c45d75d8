"""What is typed into a search is taken apart, whatever it is."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store.query import FILTERS, Filter, Query, Term, parse

NOW = datetime(2026, 11, 22, 12, 30)


def at(*date: int) -> int:
    return int(datetime(*date).timestamp() * 1000)  # type: ignore[arg-type]


def words(query: str) -> list[tuple[str, bool]]:
    return [(term.text, term.excluded) for term in parse(query, NOW).terms]


@pytest.mark.parametrize(
    ("typed", "terms"),
    [
        ("sea port", [("sea", False), ("port", False)]),
        ('"the sea" port', [("the sea", False), ("port", False)]),
        ("-sea port", [("sea", True), ("port", False)]),
        ('port -"the sea"', [("port", False), ("the sea", True)]),
        ('an "open end', [("an", False), ("open end", False)]),
        ("a - b", [("a", False), ("b", False)]),
        ("->", [("->", False)]),
        ("-5 --verbose", [("-5", False), ("--verbose", False)]),
        ("std::vector http://x.y", [("std::vector", False), ("http://x.y", False)]),
        ("unknown:filter", [("unknown:filter", False)]),
        (
            "has:nothing role:king is:x before:soon",
            [(w, False) for w in ["has:nothing", "role:king", "is:x", "before:soon"]],
        ),
        ("model:", [("model:", False)]),
        ("a\x00b\x1bc", [("a", False), ("b", False), ("c", False)]),
        ('"" \n\t', []),
    ],
)
def test_words_phrases_and_what_must_not_be_there(typed: str, terms: list[tuple[str, bool]]) -> None:
    assert words(typed) == terms


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("model:gpt-4o", Filter("model", "gpt-4o")),
        ('model:"gpt 4"', Filter("model", "gpt 4")),
        ("-tag:work", Filter("tag", "work", excluded=True)),
        ("has:images", Filter("has", "image")),
        ("HAS:code", None),
        ("has:Code", Filter("has", "code")),
        ("role:me", Filter("role", "user")),
        ("is:pinned", Filter("is", "pinned")),
        ("in:session", Filter("in", "session")),
    ],
)
def test_filters(typed: str, found: Filter | None) -> None:
    assert parse(typed, NOW).filters == ((found,) if found else ())


@pytest.mark.parametrize(
    ("typed", "since", "until"),
    [
        ("after:2026", at(2026, 1, 1), None),
        ("after:2026-11 before:2026-12-03", at(2026, 11, 1), at(2026, 12, 3)),
        ("after:yesterday", at(2026, 11, 21), None),
        ("before:today", None, at(2026, 11, 22)),
        ("after:7d", at(2026, 11, 15, 12, 30), None),
        ("after:2025 after:2026 before:2028 before:2027", at(2026, 1, 1), at(2027, 1, 1)),
    ],
)
def test_times(typed: str, since: int | None, until: int | None) -> None:
    assert parse(typed, NOW) == Query(since=since, until=until)


@pytest.mark.parametrize("typed", ["after:2026-13", "before:0000", "after:99999y", "before:2026-02-30", "after:٢٠"])
def test_a_time_that_is_none_is_a_word(typed: str) -> None:
    assert parse(typed, NOW) == Query((Term(typed, unfinished=typed[-1].isalnum()),))


def test_only_the_last_word_may_still_grow() -> None:
    assert [each.unfinished for each in parse("one two").terms] == [False, True]
    assert [each.unfinished for each in parse("one two ").terms] == [False, False]
    assert [each.unfinished for each in parse('one "two"').terms] == [False, False]


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from([f"{name}:" for name in FILTERS]),
    st.sampled_from(
        ['"', "-", ":", " ", "*", "(", "NEAR", "2026-11", "7d", "image", "\ud800", "\x00", "日本", "\ue000"]
    ),
)
TYPED = st.lists(PIECES, max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(typed=TYPED)
def test_anything_is_a_query(typed: str) -> None:
    asked = parse(typed, NOW)
    assert asked.empty == (not typed.strip() or not (asked.terms or asked.filters or asked.since or asked.until))
    for term in asked.terms:
        assert term.text.strip()
        term.text.encode()
