"""Markdown to feed the transcript with: samples by hand, and a strategy that mixes awkward lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import Phase, settings
from hypothesis import strategies as st

quick = settings(
    max_examples=120, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
"""Without shrinking, which takes minutes on texts like these."""

LINES = [
    "",
    "",
    "   ",
    "Plain words that go on for a while, so that they have to be wrapped somewhere.",
    "**bold** and *italic* and ~~gone~~ and `code` and [a link](https://example.org/a_b)",
    "# Title",
    "### Third",
    "Title below",
    "=====",
    "---",
    "- item one",
    "- item two with **bold**",
    "  - nested",
    "    continued",
    "* other mark",
    "1. first",
    "2. second",
    "   more of the second",
    "7) seventh",
    "- [ ] to do",
    "- [x] done",
    "> quoted",
    "> > twice",
    "> - item",
    ">",
    "```python",
    "def f(x):\treturn '中文' + x  # comment",
    "```",
    "~~~",
    "    indented code",
    "| name | value | 说明 |",
    "|:---|---:|:-:|",
    "| a | 1 | 中文 |",
    "| b \\| c | 22222222222222222222222 |",
    "hard break  ",
    "back\\",
    "<b>html</b> &amp; &lt;",
    "[ref]: https://example.org/ref",
    "see [ref] and [other]",
    "[other]: /elsewhere",
    "👩‍👩‍👧‍👦 family, e\u0301 accent, ☺\ufe0f face, \u200bnothing",
    "中文字符很长的一行没有空格所以必须在任何地方断开中文字符很长的一行没有空格所以必须",
    "a" * 90,
    "* " * 12,
    "> " * 30 + "deep",
    "![image](pic.png)",
    "\t tab",
    "- ",
    "-",
    "1.",
    "|",
    "``` not a fence ```",
]

SAMPLE = "\n".join(LINES) + "\n"

documents = st.one_of(
    st.lists(st.sampled_from(LINES), max_size=40).map("\n".join),
    st.lists(st.sampled_from(LINES), max_size=40).map(lambda lines: "\n".join(lines) + "\n"),
    st.text(alphabet="ab *_`~#>-+|[]()!\\\n\t1.:=中é", max_size=200),
    st.lists(st.tuples(st.sampled_from(LINES), st.integers(1, 30)), max_size=8).map(
        lambda pairs: "\n".join(line for line, count in pairs for _ in range(count))
    ),
)


@st.composite
def pieces(draw: st.DrawFn) -> list[str]:
    """A document cut anywhere."""
    text = draw(documents)
    marks = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *marks, len(text)]
    return [text[start:end] for start, end in pairwise(edges)]
