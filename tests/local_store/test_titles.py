"""Titles are found with typing mistakes, and at once."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store.titles import Titles, distance

NAMES = ["trip to portugal", "portable tents", "pasta with crème", "the go compiler", "日本の旅行", "c++ templates", ""]


def found(*words: str) -> list[str]:
    titles = Titles((name, name.replace("è", "e")) for name in NAMES)
    return [id for id, _ in titles.find(words, 10)]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("portugal", "trip to portugal"),
        ("portugla", "trip to portugal"),
        ("protugal", "trip to portugal"),
        ("portuga", "trip to portugal"),
        ("poortugal", "trip to portugal"),
        ("potrugall", "trip to portugal"),
        ("compilre", "the go compiler"),
        ("conpilar", "the go compiler"),
        ("CRÈME", "pasta with crème"),
        ("旅行", "日本の旅行"),
        ("c++", "c++ templates"),
        ("tugal", "trip to portugal"),
        ("g", "the go compiler"),
    ],
)
def test_a_title_is_found_by_a_word_that_is_nearly_right(typed: str, first: str) -> None:
    assert found(typed)[:1] == [first]


def test_whole_words_come_before_beginnings_and_mistakes() -> None:
    titles = Titles([("a", "porter"), ("b", "port"), ("c", "airport"), ("d", "port of call"), ("e", "part")])
    assert [id for id, _ in titles.find(["port"], 10)] == ["b", "d", "a", "c", "e"]


def test_every_word_must_fit_and_short_ones_exactly() -> None:
    assert found("trip", "portugal") == ["trip to portugal"]
    assert found("trip", "spain") == []
    assert found("tirp") == ["trip to portugal"]
    assert found("og") == []
    assert found("") == []


LETTERS = st.text("abc", min_size=0, max_size=7)


def naive(typed: str, meant: str) -> int:
    """The same distance, from its definition."""
    table = [[max(i, j) for j in range(len(meant) + 1)] for i in range(len(typed) + 1)]
    for i in range(1, len(typed) + 1):
        for j in range(1, len(meant) + 1):
            options = [table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (typed[i - 1] != meant[j - 1])]
            if i > 1 and j > 1 and typed[i - 1] == meant[j - 2] and typed[i - 2] == meant[j - 1]:
                options.append(table[i - 2][j - 2] + 1)
            table[i][j] = min(options)
    return table[-1][-1]


@settings(max_examples=300, deadline=None)
@given(typed=LETTERS, meant=LETTERS, most=st.integers(0, 3))
def test_the_distance_is_that_of_damerau(typed: str, meant: str, most: int) -> None:
    wrong = naive(typed, meant)
    assert distance(typed, meant, most) == (wrong if wrong <= most else None)
    begun = min(naive(typed, meant[:n]) for n in range(len(meant) + 1))
    assert distance(typed, meant, most, unfinished=True) == (begun if begun <= most else None)


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.text("abcd", min_size=4, max_size=10), min_size=1, max_size=8),
    typed=st.text("abcd", min_size=4, max_size=10),
)
def test_looking_for_pieces_misses_no_word_that_is_near(words: list[str], typed: str) -> None:
    titles = Titles((word, word) for word in dict.fromkeys(words))
    most = 1 if len(typed) < 8 else 2
    near = {word for word in words if naive(typed, word) <= most}
    assert near <= {id for id, _ in titles.find([typed], 100, unfinished=False)}


def test_twenty_thousand_titles_take_a_few_milliseconds() -> None:
    draw = random.Random(5)  # noqa: S311
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(3, 10))) for _ in range(8_000)]
    titles = Titles((str(n), " ".join(draw.choices(words, k=5))) for n in range(20_000))
    queries = [word[:-2] + word[-1] + word[-2] for word in draw.sample([word for word in words if len(word) > 4], 25)]
    times = []
    for query in queries:
        begun = time.thread_time()
        assert titles.find([query], 50)
        times.append(time.thread_time() - begun)
    assert sorted(times)[len(times) // 2] < 0.005
