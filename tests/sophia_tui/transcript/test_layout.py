"""Wrapping, laying out, and the colours of code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sophia_tui.transcript.code import Lexers
from sophia_tui.transcript.entry import Entry
from sophia_tui.transcript.flow import Flow
from sophia_tui.transcript.ink import ASCII, BOLD, ITALIC, STRIKE, TEXT, UNICODE, Ink, Line
from sophia_tui.transcript.inline import inline_runs
from sophia_tui.transcript.parts import Sheet
from sophia_tui.transcript.splitter import split
from sophia_tui.transcript.typeset import Typesetter
from sophia_tui.transcript.view import EntryView
from sophia_tui.transcript.wrap import fit, wrap

from .markdown_samples import SAMPLE, documents, pieces, quick


def sheet(width: int) -> Sheet:
    return Sheet(width, UNICODE, Lexers())


def rows_of(view: EntryView) -> list[Line]:
    view.prepare()
    return [line for part in view.parts or [] for line in view.rows(part)]


def lay_out(text: str, width: int = 60, ascii_only: bool = False) -> list[str]:
    blocks, env = split(text)
    setter = Typesetter(width, ASCII if ascii_only else UNICODE, Lexers())
    lines: list[str] = []
    for block in blocks:
        lines.extend([""] * block.gap)
        lines.extend(line.text.rstrip() for line in setter.lines(block, env))
    return lines


# -- wrapping

CLUSTERS = ["a", "b", " ", " ", "中", "é", "e\u0301", "👩", "👩\u200d👧", "☺\ufe0f"]


@quick
@given(st.lists(st.sampled_from(CLUSTERS), max_size=60).map("".join), st.integers(2, 30))
def test_wrapped_rows_fit_and_lose_nothing_but_spaces(text: str, width: int) -> None:
    rows = wrap([(text, TEXT)], width, width)
    assert all(sum(cell_len(piece) for piece, _ in runs) <= width for runs, _ in rows)
    joined = "".join("".join(piece for piece, _ in runs) + joiner for runs, joiner in rows)
    assert joined.removesuffix("\n") == text


def test_words_are_kept_whole_where_they_fit() -> None:
    rows = wrap([("one two ", TEXT), ("three", Ink("text", BOLD)), (" four", TEXT)], 9, 9)
    assert ["".join(text for text, _ in runs) for runs, _ in rows] == ["one two", "three", "four"]


@pytest.mark.parametrize(("text", "width", "shown"), [("abcdef", 4, "abc…"), ("中文字", 4, "中…"), ("ab", 4, "ab")])
def test_fit_marks_what_is_missing(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown


# -- inline


def test_inline_marks_become_inks() -> None:
    runs = inline_runs("a **b** *c* ~~d~~ `e` [f](https://x.org)", TEXT, {})[0]
    found = dict(runs)
    assert found["b"].marks == BOLD
    assert found["c"].marks == ITALIC
    assert found["d"].marks == STRIKE
    assert found["e"].role == "inline-code"
    assert found["f"].link == "https://x.org"


def test_html_is_text() -> None:
    assert "".join(text for text, _ in inline_runs("<b>x</b> <script>", TEXT, {})[0]) == "<b>x</b> <script>"


def test_hard_breaks_begin_a_row() -> None:
    assert lay_out("one  \ntwo\\\nthree") == ["one", "two", "three"]


# -- blocks


def test_nested_lists_tasks_and_numbers() -> None:
    assert lay_out("- a\n  - b\n    - c\n- [x] d\n- [ ] e\n\n9. f\n1. g\n") == [
        "• a",
        "  ◦ b",
        "    ▪ c",
        "☑ d",
        "☐ e",
        "",
        "9. f",
        "10. g",
    ]


def test_ascii_glyphs() -> None:
    drawn = "\n".join(lay_out(SAMPLE.replace("中", "x"), ascii_only=True))
    assert not {"•", "│", "─", "▎", "☑", "…"} & set(drawn)


def test_quotes_carry_their_bar_over_every_row() -> None:
    assert lay_out("> one two three four five six\n>\n> seven", 16) == [
        "▎ one two three",
        "▎ four five six",
        "▎",
        "▎ seven",
    ]


def test_tables_align_their_columns() -> None:
    assert lay_out("| n | value |\n|:-|-:|\n| a | 1 |\n| long | 22 |\n") == [
        "n    │ value",
        "─────┼──────",
        "a    │     1",
        "long │    22",
    ]


def test_a_table_that_is_too_wide_wraps_its_widest_cells() -> None:
    drawn = lay_out("| k | text |\n|---|---|\n| key | " + "many words " * 8 + "|\n", 30)
    assert all(cell_len(row) <= 30 for row in drawn)
    assert drawn[0].startswith("k   │ text")
    assert len(drawn) > 4


def test_a_table_with_too_many_columns_becomes_cards() -> None:
    head = "|" + "".join(f" h{number} |" for number in range(12)) + "\n|" + "---|" * 12 + "\n"
    drawn = lay_out(head + "|" + "".join(f" value{number} |" for number in range(12)) + "\n", 40)
    assert "h7: value7" in drawn


def test_later_rows_of_a_long_table_keep_the_columns() -> None:
    body = "".join(f"| row {number} | {number} |\n" for number in range(80))
    drawn = lay_out("| name | value |\n|---|---|\n" + body)
    bars = {row.index("│") for row in drawn if "│" in row}
    assert len(bars) == 1
    assert len(drawn) == 82


def test_a_code_block_says_its_language_and_offers_to_copy() -> None:
    drawn = lay_out("```python\nx\ty\n```", 30)
    assert drawn[0].startswith(" python")
    assert drawn[0].endswith("[copy]")
    assert drawn[1] == " x   y"


@quick
@given(documents, st.integers(1, 200))
def test_no_row_is_wider_than_the_width(text: str, width: int) -> None:
    view = EntryView(
        Entry("a", "assistant", text, reasoning=text, footer=text, branch=(1, 2)), sheet(width), first=True
    )
    view.toggle_reasoning()
    room = view.sheet.room
    widest = max((cell_len(line.text) for line in rows_of(view)), default=0)
    assert widest <= max(room, 2)


@quick
@given(pieces(), st.integers(10, 100))
def test_streaming_ends_exactly_as_one_full_render(parts: list[str], width: int) -> None:
    text = "".join(parts)
    view = EntryView(Entry("a", "assistant", "", status="streaming"), sheet(width), first=True)
    view.begin()
    for part in parts:
        view.feed(part, "")
        assert all(len(view.rows(part)) == part.height for part in view.parts or [])
    view.finish(Entry("a", "assistant", text))
    view.take_blocks(text, *split(text))
    whole = EntryView(Entry("a", "assistant", text), sheet(width), first=True)
    drawn, expected = rows_of(view), rows_of(whole)
    assert [line.text for line in drawn] == [line.text for line in expected]
    assert all(line.same(other) for line, other in zip(drawn, expected, strict=True))


def test_estimated_heights_become_exact_without_moving_what_is_read() -> None:
    flow = Flow(sheet(40))
    flow.show([Entry(str(number), "assistant", SAMPLE) for number in range(30)])
    flow.settle_end(20)
    top = flow.height - 20
    shown = [flow.line(y)[0].text for y in range(top, top + 20)]
    for _ in range(200):
        moved = flow.settle(flow.rise(top, 5), 20)
        assert [flow.line(y)[0].text for y in range(moved + 5, moved + 20)] == shown[:15]
        top = moved
        shown = [flow.line(y)[0].text for y in range(top, top + 20)]


# -- reasoning


def test_reasoning_is_one_row_until_it_is_opened() -> None:
    view = EntryView(Entry("a", "assistant", "Text.", reasoning="one two\nthree"), sheet(40), first=True)
    assert [line.text for line in rows_of(view)] == ["SOPHIA", "▸ Thought · 3 words", "Text."]
    view.toggle_reasoning()
    assert [line.text for line in rows_of(view)] == ["SOPHIA", "▾ Thought · 3 words", "▎ one two", "▎ three", "Text."]


@quick
@given(st.lists(st.sampled_from([" ", "a", "bc ", " d", "\n"]), max_size=12))
def test_words_are_counted_over_the_cuts(parts: list[str]) -> None:
    view = EntryView(Entry("a", "assistant", "", status="streaming"), sheet(40), first=True)
    view.begin()
    for part in parts:
        view.feed("", part)
    assert view._words == len("".join(parts).split())


# -- code


def test_lines_of_code_are_coloured_once_the_lexer_is_there() -> None:
    lexers = Lexers()
    assert {ink.role for _, ink in lexers.line("python", "def f(): pass")} == {"code"}
    assert lexers.wanted == {"python"}
    lexers.load("python")
    assert lexers.wanted == set()
    assert {"code-keyword", "code-function"} <= {ink.role for _, ink in lexers.line("python", "def f(): pass")}


def test_a_comment_at_the_end_of_a_line_is_known_without_its_newline() -> None:
    lexers = Lexers()
    lexers.load("rust")
    assert lexers.line("rust", "let x = 1; // why")[-1] == ("// why", Ink("code-comment"))
    assert next(lexers.whole("rust", ["let x = 1; // why", ""]))[-1] == ("// why", Ink("code-comment"))


def test_an_unknown_language_is_plain() -> None:
    lexers = Lexers()
    lexers.load("no-such-language")
    assert lexers.line("no-such-language", "x = 1")[0][1].role == "code"


def test_the_whole_block_knows_what_a_line_alone_cannot() -> None:
    lexers = Lexers()
    lexers.load("python")
    lines = ['x = """', "def not_code", '"""', "", "y = 1"]
    whole = list(lexers.whole("python", lines))
    assert len(whole) == len(lines)
    assert {ink.role for _, ink in whole[1]} == {"code-string"}
    assert ["".join(text for text, _ in runs) for runs in whole] == lines
