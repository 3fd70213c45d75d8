"""The silence around a sentence."""

from __future__ import annotations

from array import array
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.voice.quiet import AFTER_S, BEFORE_S, Trimmer

RATE = 1_000


def sound(seconds: float, height: int = 5_000) -> bytes:
    return array("h", [height] * round(seconds * RATE)).tobytes()


def trimmed(pcm: bytes, cuts: list[int]) -> bytes:
    trimmer, places = Trimmer(RATE), sorted({min(cut, len(pcm) // 2) * 2 for cut in cuts} | {0, len(pcm)})
    pieces = [trimmer.feed(pcm[begin:end]) for begin, end in pairwise(places)]
    return b"".join(pieces) + trimmer.end()


def test_silence_around_is_short_and_silence_within_is_kept() -> None:
    middle = sound(0.4) + sound(0.5, 0) + sound(0.3)
    found = trimmed(sound(0.6, 3) + middle + sound(0.9, -3), [])
    assert found == sound(BEFORE_S, 3) + middle + sound(AFTER_S, -3)


def test_silence_alone_is_nothing() -> None:
    assert trimmed(sound(2, 0), [300, 900]) == b""


@given(st.lists(st.integers(0, 3_000), max_size=8), st.floats(0, 0.5), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_no_sound_is_lost_however_it_comes(cuts: list[int], before: float, after: float) -> None:
    middle = sound(0.4) + sound(0.5, 0) + sound(0.3)
    found = trimmed(sound(before, 0) + middle + sound(after, 0), cuts)
    assert middle in found
    assert len(found) <= len(middle) + 2 * RATE * (BEFORE_S + AFTER_S + 0.02)
