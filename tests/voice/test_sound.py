"""How loud a sound is, and the same sound at another rate."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sophia_core.voice.ports import FRAME_BYTES
from sophia_core.voice.sound import Resampler, level, mixed, samples, spread
from tests.voice.pulse import pitch, tone


def test_levels_go_from_silence_to_full_scale() -> None:
    assert level(bytes(FRAME_BYTES)) == 0.0
    assert level(b"\x01\x00" * 320) == 0.0
    assert level(b"\x00\x80" * 320) == 1.0
    loud, soft = level(tone(0.02, loudness=0.5)), level(tone(0.02, loudness=0.05))
    assert loud - soft == pytest.approx(20 / 60, abs=0.01)


def test_channels_are_mixed_and_spread() -> None:
    assert mixed(spread(tone(0.02), 2), 2) == tone(0.02)
    assert samples(mixed(b"\x00\x10\x00\x20", 2)).tolist() == [0x1800]


@pytest.mark.parametrize(
    ("source", "target"), [(48_000, 16_000), (44_100, 16_000), (24_000, 48_000), (22_050, 44_100), (16_000, 11_025)]
)
def test_a_tone_stays_the_same_at_another_rate_however_it_is_cut(source: int, target: int) -> None:
    pcm, cuts = tone(0.5, rate=source), random.Random(source)  # noqa: S311
    whole, pieces = Resampler(source, target), Resampler(source, target)
    at_once = whole.feed(pcm) + whole.flush()
    made, at = b"", 0
    while at < len(pcm):
        size = 2 * cuts.randint(1, 700)
        made += pieces.feed(pcm[at : at + size])
        at += size
    assert made + pieces.flush() == at_once
    assert len(at_once) / 2 / target == pytest.approx(0.5, abs=0.002)
    assert pitch(at_once, target) == pytest.approx(440, abs=1)
    assert level(at_once) == pytest.approx(level(pcm), abs=0.005)


def test_what_is_too_high_for_the_new_rate_is_taken_out() -> None:
    made = Resampler(48_000, 16_000).feed(tone(0.5, hertz=11_000, rate=48_000))
    assert level(made[400:]) < 0.05


def test_full_scale_does_not_turn_over() -> None:
    square = b"\xff\x7f" * 200 + b"\x00\x80" * 200
    made = samples(Resampler(16_000, 48_000).feed(square * 4))
    assert max(made) == 32767
    assert min(made) == -32768
    assert all(abs(a - b) < 60_000 for a, b in pairwise(made[300:]))
