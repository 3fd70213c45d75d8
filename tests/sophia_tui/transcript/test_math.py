"""Formulas read as formulas, prices stay prices, and nothing a model writes is lost or holds up the screen."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_tui.transcript.code import Lexers
from sophia_tui.transcript.ink import TEXT, UNICODE
from sophia_tui.transcript.inline import EVERYTHING, Takes, inline_runs
from sophia_tui.transcript.math import display, formula
from sophia_tui.transcript.splitter import Splitter, split
from sophia_tui.transcript.typeset import Typesetter


def said(text: str, takes: Takes = EVERYTHING) -> str:
    return "".join(run for row in inline_runs(text, TEXT, {}, takes) for run, _ in row)


def rows(text: str) -> list[str]:
    setter = Typesetter(80, UNICODE, Lexers())
    blocks, env = split(text)
    return [line.text for block in blocks for line in setter.lines(block, env)]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (r"E = mc^2", "E = mc²"),
        (r"\sum_{i=1}^{n} x_i^2 \leq \alpha", "∑ᵢ₌₁ⁿ xᵢ² ≤ α"),
        (r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}", "(−b ± √(b²−4ac))/2a"),
        (r"x \in \mathbb{R}^n", "x ∈ ℝⁿ"),
        (r"\text{if } x \to \infty", "if x → ∞"),
        (r"\mystery{x}", r"\mysteryx"),
        (r"}{", r"}{"),
    ],
)
def test_a_formula_is_shown_in_unicode(source: str, shown: str) -> None:
    assert formula(source) == shown


def test_a_matrix_has_rows_and_the_text_beside_it_stands_at_its_middle() -> None:
    assert display(r"A = \begin{pmatrix} a & b \\ c & d \end{pmatrix} x") == ["A = ⎛a  b⎞ x", "    ⎝c  d⎠"]


def test_equations_stand_under_each_other() -> None:
    assert display(r"\begin{align} f(x) &= x^2 \\ g &= \alpha \end{align}") == ["f(x) = x²", "   g = α"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so $x^2$ and \\(y\\).", "so x² and y."),
        ("it costs $5 and $10, or 3$", "it costs $5 and $10, or 3$"),
        ("set $HOME/bin:$PATH", "set $HOME/bin:$PATH"),
        ("`$x^2$` is code", "$x^2$ is code"),
        ("\\[not a link\\]", "[not a link]"),
        ("\\$5\\$", "$5$"),
    ],
)
def test_only_what_looks_like_a_formula_is_one(text: str, shown: str) -> None:
    assert said(text) == shown


def test_without_unicode_formulas_stay_as_they_were_written() -> None:
    assert said("so $x^2$.", Takes(unicode=False)) == "so $x^2$."


def test_a_formula_on_lines_of_its_own_is_no_list_and_no_heading() -> None:
    assert rows("so\n\n$$\nx\n- y\n= z\n$$\n\nend") == ["so", "  x − y = z", "end"]


def test_an_unfinished_formula_is_shown_as_it_is() -> None:
    assert rows("$$\nx^2 + \\alpha") == ["$$", "x^2 + \\alpha"]
    assert rows("$$ is a sign\n\n- item") == ["$$ is a sign", "• item"]


def test_bare_addresses_are_links_without_the_punctuation_around_them() -> None:
    runs = inline_runs("see https://a.example/b_c(d), or (http://x.example).", TEXT, {})[0]
    assert [(text, ink.link) for text, ink in runs if ink.link] == [
        ("https://a.example/b_c(d)",) * 2,
        ("http://x.example",) * 2,
    ]


def test_where_text_carries_no_links_the_address_stands_behind_it() -> None:
    without = Takes(links=False)
    assert said("a [word](https://a.example)", without) == "a word (https://a.example)"
    assert said("<https://a.example>", without) == "https://a.example"


@given(st.text(alphabet="\\{}^_&$[]()ab12 \n-=|*", max_size=60))
def test_no_text_stops_the_typesetter_and_any_cut_gives_the_same(text: str) -> None:
    formula(text)
    display(text)
    rows(text)
    whole, parts = Splitter(), Splitter()
    whole.feed(text)
    whole.close()
    for sign in text:
        parts.feed(sign)
    parts.close()
    assert "".join(block.source for block in parts.blocks) == "".join(block.source for block in whole.blocks)


@pytest.mark.parametrize(
    "text", ["{" * 4_000, "\\frac" * 700, "^" * 4_000, "\\begin{pmatrix}" * 250, "$" * 5_000, "\\(" * 3_000]
)
def test_hostile_formulas_cost_little(text: str) -> None:
    began = time.thread_time()
    formula(text)
    display(text)
    rows(text)
    assert time.thread_time() - began < 0.5
