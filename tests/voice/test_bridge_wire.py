"""What travels over a bridge, and what is made of nonsense: no IO, no clock."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.voice.bridge import adpcm, coding, wire
from sophia_core.voice.bridge.coding import Coding
from sophia_core.voice.bridge.jitter import LEAST_S, MOST_S, Lateness, Waiting
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet
from sophia_core.voice.ports import FRAME_BYTES, Frame
from tests.voice.pulse import tone

RATE = 16_000


@given(st.sampled_from(Kind), st.integers(0, 65_535), st.integers(0, 2**32 - 1), st.binary(max_size=16))
def test_a_frame_comes_out_as_it_went_in(kind: Kind, stream: int, number: int, body: bytes) -> None:
    packed = Packet(kind, stream, number, body[: wire.LIMITS[kind]]).packed()
    assert wire.parse_head(packed[: wire.HEAD.size]) == (kind, stream, number, len(packed) - wire.HEAD.size)


@given(st.binary(min_size=wire.HEAD.size, max_size=wire.HEAD.size))
def test_any_head_is_taken_or_refused(head: bytes) -> None:
    try:
        kind, _, _, length = wire.parse_head(head)
    except BadWire:
        return
    assert length <= wire.LIMITS[kind] <= wire.LONGEST_WORDS


@given(st.binary(max_size=200))
def test_any_body_is_taken_or_refused(body: bytes) -> None:
    for read in (
        Packet(Kind.ASK, body=body).words,
        lambda: coding.unpack_frame(body),
        lambda: coding.unpack_sound(body),
    ):
        try:
            read()
        except BadWire:
            continue


def test_deep_json_is_refused() -> None:
    with pytest.raises(BadWire):
        Packet(Kind.ASK, body=b"[" * 50_000).words()


def test_a_proof_holds_for_one_token_role_and_greeting_only() -> None:
    token, theirs, ours = wire.new_token(), bytes(32), bytes(31) + b"\1"
    proof = wire.proof(token, b"there", theirs, ours)
    assert wire.same(proof, wire.proof(token, b"there", theirs, ours))
    others = (
        wire.proof(wire.new_token(), b"there", theirs, ours),
        wire.proof(token, b"here", theirs, ours),
        wire.proof(token, b"there", ours, theirs),
        wire.proof(token, b"there", theirs, theirs),
    )
    assert not any(wire.same(proof, other) for other in others)


@given(st.binary(max_size=2_000))
def test_adpcm_keeps_the_number_of_samples(pcm: bytes) -> None:
    block = adpcm.encode(pcm)
    assert len(adpcm.decode(block)) == len(pcm) // 2 * 2
    assert len(block) <= len(pcm) // 4 + 5


def test_adpcm_is_a_quarter_and_close_to_the_original() -> None:
    noise = random.Random(3)  # noqa: S311
    original = array("h", tone(0.5, hertz=300, loudness=0.3))
    for at in range(len(original)):
        original[at] += noise.randint(-300, 300)
    blocks = [original[at : at + 320].tobytes() for at in range(0, len(original), 320)]
    travelled = [adpcm.encode(each) for each in blocks]
    made = array("h", b"".join(map(adpcm.decode, travelled)))
    wrong = sum((a - b) ** 2 for a, b in zip(original, made, strict=True))
    assert 10 * math.log10(sum(a * a for a in original) / wrong) > 20
    assert sum(map(len, travelled)) < sum(map(len, blocks)) / 3.8


@pytest.mark.parametrize("which", list(Coding))
def test_a_frame_of_the_microphone_survives(which: Coding) -> None:
    frame = Frame(tone(0.02, loudness=0.4), 0.5)
    assert len(frame.pcm) == FRAME_BYTES
    came = coding.unpack_frame(coding.pack_frame(frame, which))
    assert len(came.pcm) == FRAME_BYTES
    assert abs(came.level - 0.5) < 0.01
    assert came.pcm == frame.pcm or which is Coding.ADPCM


def test_a_level_out_of_range_is_bounded() -> None:
    assert coding.unpack_frame(coding.pack_frame(Frame(bytes(FRAME_BYTES), 9.0), Coding.PCM)).level == 1.0


def test_an_even_link_keeps_little_in_hand_and_a_faltering_one_more() -> None:
    even, faltering = Lateness(), Lateness()
    for at in range(100):
        even.note(at * 40, at * 0.04 + 7.0)
        faltering.note(at * 40, at * 0.04 + 7.0 + (0.15 if at % 10 == 0 else 0.0))
    assert even.target_s == LEAST_S
    assert 0.15 <= faltering.target_s <= 0.25
    for at in range(100, 200):
        faltering.note(at * 40, at * 0.04 + 7.0 + at % 3)
    assert faltering.target_s == MOST_S


def test_lateness_survives_a_clock_that_wraps_or_jumps() -> None:
    late = Lateness()
    for at in range(50):
        late.note((2**32 - 1000 + at * 40) % 2**32, at * 0.04)
    assert late.target_s == LEAST_S
    late.note(5, 3.0)
    late.note(2**31, 3.1)
    assert late.target_s <= MOST_S


def test_sound_waits_until_there_is_enough_or_it_waited_long_enough() -> None:
    waiting = Waiting(RATE, Lateness())
    waiting.put(bytes(int(RATE * 2 * LEAST_S / 2)))
    assert waiting.take(9_999, 0.0, 10.0) == b""
    assert waiting.take(9_999, 0.0, 10.0 + LEAST_S / 2) == b""
    assert waiting.take(9_999, 0.0, 10.001 + LEAST_S)  # a mouth that is slow is no link that is
    waiting.put(bytes(100))
    assert len(waiting.take(9_999, 0.02, 10.1)) == 100  # it flows: nothing waits as long as something is being played
    assert waiting.take(9_999, 0.0, 10.2) == b""
    waiting.put(bytes(100))
    assert waiting.take(9_999, 0.0, 10.3) == b""  # it ran dry, and begins anew
    waiting.ended = True
    assert len(waiting.take(9_999, 0.0, 10.3)) == 100
