"""What is said of an answer, and that it is the same however the answer arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sophia_core.voice.spoken import Sentence, Spoken, sentences

LINES = st.sampled_from(
    [
        "# Heading with `code`",
        "Plain words. And more of them, e.g. these! Right? yes.",
        "It costs $5.50 or 3.14 % of v1.2.3. Dr. Smith agrees...",
        "- item one",
        "2. item two. With more",
        "   - [x] nested and done",
        "```python",
        "```",
        "~~~",
        "print('a. b')",
        "| A | B |",
        "|---|:-:|",
        "| 1 | ✅ |",
        "a | b",
        "--- | ---",
        "> quoted. Text",
        "> ```",
        "$$",
        r"E = mc^2 \frac{a}{b}",
        r"\[ x \]",
        "<think>",
        "hidden. words",
        "</think> seen",
        "<!-- no --> yes",
        "[a link. Here](https://example.com/a.b?c=d) and https://x.org/y.",
        "[^1]: a note",
        "***",
        "===",
        "**Bold. And** _more_ ~~gone~~",
        "你好。再见！",
        "",
        "   ",
        "x" * 700,
        "word " * 90,
        "one, two; three: " * 30,
        "\x1b[31mred\x1b[0m \u202eback",
        "👩‍💻 ok 🎉",
        "1234567",
        "<b>tag</b> &amp; &lt;",
    ]
)


def texts() -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(LINES, max_size=12).map("\n".join),
        st.text(alphabet=st.sampled_from(list("aB1 .!?\n`*_-#>|[]()<>$\\:~,…。\t&")), max_size=200),
        st.text(max_size=120),
    )


def pieces(text: str, cuts: list[int]) -> list[Sentence]:
    """What comes of a text that is cut at these places."""
    spoken, found = Spoken(), list[Sentence]()
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    for begin, end in pairwise(places):
        found += spoken.feed(text[begin:end])
    return found + spoken.finish()


@given(texts(), st.lists(st.integers(0, 2_000), max_size=30))
@example("One. Two", [4])
@example("<think>a</think>b.", [3, 9, 14])
@settings(max_examples=150, deadline=None)
def test_a_stream_cut_anywhere_gives_the_same_sentences(text: str, cuts: list[int]) -> None:
    assert pieces(text, cuts) == sentences(text)


@given(texts())
@settings(max_examples=100, deadline=None)
def test_letter_by_letter_is_the_same_and_every_sentence_can_be_said(text: str) -> None:
    found = pieces(text, list(range(len(text))))
    assert found == sentences(text)
    for each in found:
        assert any(map(str.isalnum, each.text))
        assert each.text == each.text.strip()
        assert each.text.isprintable()
        assert len(each.text) < 3_000


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_no_word_of_prose_is_lost_or_said_twice(words: list[str]) -> None:
    text = ". ".join(word.capitalize() for word in words)
    said = " ".join(each.text for each in sentences(text)).replace(".", "").lower().split()
    assert said == words


def said(text: str) -> list[str]:
    return [each.text for each in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four."]),
        ("It is 3.14 and v1.2. Then 5.", ["It is 3.14 and v1.2.", "Then 5."]),
        ("Use e.g. this, i.e. that. Next.", ["Use for example this, that is that.", "Next."]),
        ("Dr. Smith met J. Doe at St. Mary. He left.", ["Dr. Smith met J. Doe at St. Mary.", "He left."]),
        ("Apples, pears, etc. Then more.", ["Apples, pears, et cetera.", "Then more."]),
        ("I said no. It was so.", ["I said no.", "It was so."]),
        ("See no. 5 of it.", ["See no. 5 of it."]),
        ('He said "stop." Then left.', ['He said "stop."', "Then left."]),
        ("**Bold. Words.** After.", ["Bold.", "Words.", "After."]),
        ("Wait... what? And so on… Right.", ["Wait... what?", "And so on…", "Right."]),
        ("all small. then more of this. ok", ["all small.", "then more of this.", "ok."]),
        ("lines\nthat go on\nare one.", ["lines that go on are one."]),
        ("one\n\ntwo", ["one.", "two."]),
        ("你好。我很好！再见", ["你好。", "我很好！", "再见."]),
        ("", []),
        ("🎉 !!! --- ***", []),
    ],
)
def test_where_sentences_end(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\na\nb\n```", ["A block of Python, 2 lines."]),
        ("```\na\n```\nDone.", ["A block of code, 1 line.", "Done."]),
        ("```c++\nx\n", ["A block of C plus plus, 1 line."]),
        ("- ```sh\n  ls\n  ```", ["A block of shell commands, 1 line."]),
        ("````\n```\n````", ["A block of code, 1 line."]),
        ("> ```js\n> x\n> ```\n> Then.", ["A block of JavaScript, 1 line.", "Then."]),
        ("```mermaid\na-->b\n```", ["A Mermaid diagram."]),
        (
            "| Name | Age |\n|---|---|\n| Ann | 3 |\n| Bo | ✅ |\n\nEnd.",
            ["A table with the columns Name and Age.", "Name: Ann, Age: 3.", "Name: Bo, Age: yes.", "End."],
        ),
        ("|A|\n|-|\n" + "|x|\n" * 20, ["A table of 20 rows with the columns A."]),
        ("# Title #\n\nText", ["Title.", "Text."]),
        ("Title\n===\nText", ["Title.", "Text."]),
        ("1. First\n2) Second\n- third", ["1: First.", "2: Second.", "third."]),
        ("- [ ] open\n- [x] over", ["To do: open.", "Done: over."]),
        ("See [the docs](https://e.com/a_b.c).", ["See the docs."]),
        ("See https://www.e.com/a?b=c.", ["See a link to e dot com."]),
        ("![A cat](cat.png) and ![](x.png)", ["image: A cat and an image."]),
        ("Call `foo_bar()` in `src/a.py`.", ["Call foo bar in src slash a dot py."]),
        (f"It is `{'x + ' * 30}y`.", ["It is a piece of code."]),
        ("So $x^2 \\le \\frac{a}{b}$ holds.", ["So x squared is at most a over b holds."]),
        ("$5 and $10.", ["$5 and $10."]),
        ("$$\nE = mc^2\n$$", ["E equals mc squared."]),
        (r"\[ " + "x + " * 200 + r"y \]", ["a formula."]),
        ("It is a > b in File > Open - so 1. on.", ["It is a greater than b in File, Open - so 1. on."]),
        ("a → b & c <br> d", ["a to b and c, d."]),
        ("<b>bold</b> &amp; more[^1]", ["bold and more."]),
        ("> [!WARNING]\n> Hot.", ["Warning: Hot."]),
        ("***\n---\nText", ["Text."]),
        ("[1]: https://e.com\nText", ["Text."]),
    ],
)
def test_what_is_said_for_what_is_no_prose(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<think>secret. Words</think>Seen.",
        "<thinking>\nsecret\n\nmore\n</thinking>\n\nSeen.",
        "<!-- secret\nmore -->\nSeen.",
        "<think>" + "secret " * 2_000 + "</think>\nSeen.",
        "<script>secret()</script>Seen.",
    ],
)
def test_what_is_hidden_is_never_said(text: str) -> None:
    assert said(text) == ["Seen."]


def test_reasoning_that_never_ends_is_not_said() -> None:
    assert said("<think>secret. And more") == []


def test_a_sentence_comes_with_the_first_letter_after_it() -> None:
    spoken = Spoken()
    assert spoken.feed("Hello there. ") == []
    assert [each.text for each in spoken.feed("H")] == ["Hello there."]


def test_a_long_first_sentence_begins_with_its_first_part() -> None:
    spoken, text = Spoken(), "When you look at it from further away, " + "it goes on and on and on " * 3
    assert [each.text for each in spoken.feed(text)] == ["When you look at it from further away,"]


def test_a_sentence_without_end_is_cut_where_one_may_breathe() -> None:
    found = said("word, " * 400)
    assert len(found) > 4
    assert all(len(each) < 700 for each in found)


def test_what_nobody_may_see_is_kept_bounded() -> None:
    spoken = Spoken()
    for _ in range(300):
        spoken.feed("|" + "x" * 1_000)
    assert sum(len(each.text) for each in spoken.finish()) < 10_000
