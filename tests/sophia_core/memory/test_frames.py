"""Frames survive any way of arriving, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.memory.frames import LONGEST_HEAD, BadFrame, Frames, frame, parse_head
from sophia_core.memory.hybrid import fused

SENT = st.lists(st.tuples(st.dictionaries(st.sampled_from("abc"), st.text(max_size=9)), st.binary(max_size=40)))


@given(SENT, st.integers(1, 17))
def test_frames_arrive_however_they_are_cut(sent: list[tuple[dict[str, str], bytes]], size: int) -> None:
    stream = b"".join(frame(dict(head), body) for head, body in sent)
    frames = Frames()
    arrived = [each for at in range(0, len(stream), size) for each in frames.feed(stream[at : at + size])]
    assert [({key: head[key] for key in head if key != "bytes"}, body) for head, body in arrived] == sent


@pytest.mark.parametrize(
    "line", [b"x\n", b"[]\n", b"{}\n", b'{"bytes": -1}\n', b'{"bytes": "3"}\n', b'{"bytes": 1e99}\n']
)
def test_what_is_no_frame_is_refused(line: bytes) -> None:
    with pytest.raises(BadFrame):
        Frames().feed(line)


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(BadFrame):
        Frames().feed(b"x" * (LONGEST_HEAD + 1))


def test_what_two_rankings_agree_on_comes_first() -> None:
    assert fused([["a", "b", "c"], ["d", "b"]]) == ["b", "a", "d", "c"]
    assert fused([["a", "a", "b"], []]) == ["a", "b"]
    assert fused([[], []]) == []


@given(st.lists(st.lists(st.integers(0, 9), max_size=9), max_size=3))
def test_a_ranking_of_rankings_has_everything_once(rankings: list[list[int]]) -> None:
    result = fused(rankings)
    assert sorted(result) == sorted({each for ranking in rankings for each in ranking})


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"bytes": 0, "id": [1]}', b'{"bytes": 0, "id": "1"}'])
def test_a_head_that_nobody_could_match_is_no_frame(line: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_head(line)
