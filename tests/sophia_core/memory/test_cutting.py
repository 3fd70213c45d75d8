"""How texts are cut: into stretches about one thing, and into the pieces the model knows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sophia_core.memory.stretches import ENOUGH, stretches
from sophia_core.memory.wordpiece import WordPiece

WORDS = WordPiece.ours()
PARAGRAPH = "Some words about one thing. " * 12
CODE = "```python\n" + "print('hello, world')\n" * 20 + "```"


def cut(text: str) -> list[str]:
    return [text[begin:end] for begin, end in stretches(text)]


def test_a_short_message_is_one_stretch() -> None:
    assert cut("Hello there") == ["Hello there"]
    assert cut("one\n\ntwo\n\n```sh\nls\n```\n\nthree") == ["one\n\ntwo\n\n```sh\nls\n```\n\nthree"]


def test_what_has_no_words_is_none() -> None:
    assert cut("") == cut(" \n\n ") == cut("---\n\n***") == []


def test_long_text_is_cut_between_paragraphs() -> None:
    parts = cut("\n\n".join([PARAGRAPH] * 7))
    assert len(parts) == 4
    assert all(len(part) <= ENOUGH and part.startswith("Some words") for part in parts)


def test_a_paragraph_that_is_too_long_stays_whole() -> None:
    assert [len(part) for part in cut("x" * 3000 + "\n\n" + "y" * 50)] == [3002, 50]


def test_a_long_block_of_code_stands_for_itself() -> None:
    before, block, after = cut(f"Look at this:\n\n{CODE}\n\nWhat is wrong with it?")
    assert (before.strip(), block, after.strip()) == ("Look at this:", CODE, "What is wrong with it?")
    (unclosed,) = cut(CODE.removesuffix("```"))
    assert unclosed == CODE.removesuffix("```")


@given(st.lists(st.sampled_from(["word ", "\n\n", "```", "~~~~\n", "\n", "x" * 700, "  ", "日本語", "`"]), max_size=30))
def test_stretches_follow_each_other_and_leave_no_word_out(pieces: list[str]) -> None:
    text = "".join(pieces)
    parts = stretches(text)
    assert all(begin < end for begin, end in parts)
    assert all(one[1] <= two[0] for one, two in pairwise(parts))
    covered = {at for begin, end in parts for at in range(begin, end)}
    assert all(at in covered for at, character in enumerate(text) if character.isalnum())


def test_words_become_the_pieces_of_the_vocabulary() -> None:
    # As the tokenizer that the model was trained with cuts them.
    assert WORDS.pieces("Hello, world!").ids == [7592, 1010, 2088, 999]
    assert WORDS.pieces("unaffable CAFÉ").ids == [14477, 20961, 3468, 7668]
    assert WORDS.pieces("run_tests.py").ids == [2448, 1035, 5852, 1012, 1052, 2100]
    assert WORDS.pieces("日本").ids == [1864, 1876]
    assert WORDS.pieces("x" * 101).ids == [100]
    assert WORDS.pieces("").ids == WORDS.pieces("\x00\u200b").ids == []


@given(st.text(max_size=200))
def test_every_piece_says_where_it_stands(text: str) -> None:
    pieces = WORDS.pieces(text)
    assert len(pieces.ids) == len(pieces.spans)
    assert all(0 <= begin < end <= len(text) for begin, end in pieces.spans)
    assert all(one[0] <= two[0] for one, two in pairwise(pieces.spans))


@given(st.text(alphabet=st.characters(max_codepoint=126), max_size=200))
def test_plain_text_is_cut_as_any_text(text: str) -> None:
    plain, any_text = WORDS.pieces(text), WORDS.pieces(text + "\u200b")
    assert (plain.ids, plain.spans) == (any_text.ids, any_text.spans)
