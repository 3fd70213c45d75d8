"""Cutting a growing text into blocks."""

from __future__ import annotations

import pytest
from hypothesis import assume, given

from sophia_tui.transcript.copying import code_blocks
from sophia_tui.transcript.fence import LONG_LINE
from sophia_tui.transcript.splitter import LIMIT, PIECE, TABLE_ROWS, Splitter, parser, split

from .markdown_samples import SAMPLE, documents, pieces, quick


def kinds(text: str) -> list[str]:
    return [block.kind for block in split(text)[0]]


def is_degraded(text: str) -> bool:
    """Whether something is shown as plain text; its cuts depend on how it arrived, until the answer is finished."""
    return "plain" in kinds(text)


@quick
@given(pieces())
def test_no_text_is_lost_or_moved_at_any_moment(parts: list[str]) -> None:
    splitter = Splitter()
    fed = ""
    for part in parts:
        splitter.feed(part)
        splitter.pending()
        fed += part
        fence = "".join(splitter._fence_source)
        assert "".join(block.source for block in splitter.blocks) + fence + splitter.tail == fed
    splitter.close()
    assert "".join(block.source for block in splitter.blocks) == fed


@quick
@given(documents)
def test_each_character_alone_ends_as_the_whole(text: str) -> None:
    assume(not is_degraded(text))
    splitter = Splitter()
    for character in text:
        splitter.feed(character)
    splitter.close()
    assert splitter.blocks == split(text)[0]


@quick
@given(pieces())
def test_pieces_end_as_the_whole(parts: list[str]) -> None:
    assume(not is_degraded("".join(parts)))
    splitter = Splitter()
    for part in parts:
        splitter.feed(part)
        splitter.pending()
    splitter.close()
    assert splitter.blocks == split("".join(parts))[0]


@quick
@given(documents)
def test_top_level_fences_hold_what_the_parser_says(text: str) -> None:
    blocks = split(text)[0]
    ours = [block.fence for block in blocks if block.fence is not None]
    theirs = [token.content for token in parser().parse(text) if token.type == "fence" and token.level == 0]
    if not any("\t" in source for source in theirs):
        assert [fence.source.rstrip() for fence in ours] == [source.rstrip() for source in theirs]
        assert all(fence.source == source for fence, source in zip(ours, theirs, strict=True) if fence.closed)


def test_finished_blocks_leave_only_the_open_one_to_look_at() -> None:
    splitter = Splitter()
    splitter.feed("One.\n\nTwo.\n\n- a\n- b\n- c")
    assert [block.source for block in splitter.blocks] == ["One.\n\n", "Two.\n\n", "- a\n", "- b\n"]
    assert splitter.tail == "- c"


def test_an_open_fence_keeps_only_its_last_line() -> None:
    splitter = Splitter()
    splitter.feed("```python\n" + "x = 1\n" * 5_000 + "y =")
    assert splitter.tail == "y ="
    assert splitter.fence is not None
    assert len(splitter.fence.lines) == 5_000
    assert splitter.fence.partial == "y ="


def test_what_may_close_a_fence_is_not_shown_as_code() -> None:
    splitter = Splitter()
    splitter.feed("```\nx\n``")
    assert splitter.fence is not None
    assert splitter.fence.partial == ""
    splitter.feed("`\nafter")
    splitter.close()
    assert [block.kind for block in splitter.blocks] == ["fence", "markdown"]


def test_numbers_go_on_from_item_to_item() -> None:
    blocks = split("3. a\n3. b\n3. c\n\ntext\n\n1. again\n")[0]
    assert [block.number for block in blocks if block.kind == "item"] == [3, 4, 5, 1]


def test_a_blank_row_stands_where_the_source_has_one() -> None:
    assert [block.gap for block in split("- a\n- b\n\n- c\n\npara\n")[0]] == [0, 0, 1, 1]


def test_a_long_table_is_cut_by_rows() -> None:
    rows = "".join(f"| {number} | x |\n" for number in range(TABLE_ROWS * 2 + 5))
    blocks = split(f"| n | t |\n|---|---|\n{rows}\nafter\n")[0]
    assert [block.kind for block in blocks] == ["table", "rows", "rows", "markdown"]
    assert blocks[1].source.count("\n") == TABLE_ROWS
    assert blocks[1].gap == 0


def test_endless_text_becomes_plain_pieces() -> None:
    blocks = split("word " * LIMIT)[0]
    assert {block.kind for block in blocks} == {"plain"}
    assert max(len(block.source) for block in blocks) <= PIECE


@pytest.mark.parametrize("text", ["> " * 10_000, ">" * 10_000, "- " * 5_000, "  - " * 300 + "x"])
def test_deep_nesting_becomes_plain_text_and_stays_whole(text: str) -> None:
    blocks = split(text)[0]
    assert "".join(block.source for block in blocks) == text
    assert "plain" in {block.kind for block in blocks}


def test_an_endless_line_of_code_is_kept_in_pieces_and_copied_whole() -> None:
    line = "x" * (LONG_LINE * 3 + 7)
    splitter = Splitter()
    for start in range(0, len(line), 1_000):
        splitter.feed(("```\n" if start == 0 else "") + line[start : start + 1_000])
    splitter.feed("\nend\n```\n")
    splitter.close()
    fence = splitter.blocks[0].fence
    assert fence is not None
    assert fence.source == line + "\nend\n"
    assert max(map(len, fence.lines)) <= LONG_LINE


def test_returns_are_newlines_wherever_the_text_is_cut() -> None:
    splitter = Splitter()
    for part in ("a\r", "\n\r", "b\r\n", "\r\nc"):
        splitter.feed(part)
    splitter.close()
    assert "".join(block.source for block in splitter.blocks) == "a\n\nb\n\nc"


def test_link_definitions_are_known_to_later_blocks() -> None:
    blocks, env = split("[x]: https://example.org\n\nsee [x]\n")
    assert "X" in env["references"]
    assert len(blocks) == 1


def test_code_blocks_are_exact_wherever_they_stand() -> None:
    text = "```py\na\n\tb\n\n```\n\n1. x\n   ```\n   in item\n   ```\n\n> ~~~sh\n> quoted\n> ~~~\n\n    indented\n"
    assert [(code.language, code.source) for code in code_blocks(text)] == [
        ("py", "a\n\tb\n\n"),
        ("", "in item\n"),
        ("sh", "quoted\n"),
        ("", "indented\n"),
    ]


def test_the_sample_is_cut_into_every_kind() -> None:
    assert {"markdown", "item", "fence"} <= set(kinds(SAMPLE))
