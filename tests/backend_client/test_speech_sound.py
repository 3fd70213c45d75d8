"""What a stranger sends as sound: samples, WAV of all kinds, and what must never reach an ear."""

from __future__ import annotations

import random
import struct
from array import array
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.errors import BackendError, NotOurProtocol, StreamTruncated, TimedOut
from backend_client.speech.pcm import NoiseGate, Resampler, SoundDecoder, encoded_as
from backend_client.speech.transcripts import TranscriptDecoder
from backend_client.speech.wav import read_wav_head, wav_of
from tests.contract_audio import hum, mp3, noise


def decoded(data: bytes, sizes: list[int] | None = None, kind: str = "audio/pcm", **how: int) -> bytes:
    """Return what a decoder gives for `data`, fed in pieces of these sizes over and over."""
    decoder = SoundDecoder(24_000, **how)
    decoder.head({"content-type": kind})
    out, at, turn = b"", 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        out += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return out + decoder.close()


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6))
def test_samples_are_the_same_however_they_arrive(sizes: list[int]) -> None:
    voice = hum(0.4)
    assert decoded(voice, sizes) == voice


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6))
def test_a_wav_is_its_samples_and_nothing_else(sizes: list[int]) -> None:
    voice = hum(0.2)
    assert decoded(wav_of(voice, 24_000) + b"LIST\x04\0\0\0INFO", sizes, "audio/wav") == voice


def test_half_a_sample_at_the_end_is_left_out() -> None:
    voice = hum(0.3)
    assert decoded(voice + b"\x07", [333]) == voice


def test_wavs_with_more_before_the_samples_and_an_unknown_length() -> None:
    voice = hum(0.2)
    whole = wav_of(voice, 24_000)
    with_list = whole[:12] + b"LIST\x05\0\0\0abcde\0" + whole[12:]
    assert decoded(with_list) == voice
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        assert decoded(whole[:40] + struct.pack("<I", size) + voice) == voice


def test_stereo_floats_and_extensible_wavs_become_plain_samples() -> None:
    left, right = array("h", [1000] * 4000), array("h", [3000] * 4000)
    both = array("h", [value for pair in zip(left, right, strict=True) for value in pair]).tobytes()
    form = struct.pack("<HHIIHH", 1, 2, 24_000, 96_000, 4, 16)
    stereo = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(both)) + both
    assert set(array("h", decoded(stereo, [1001]))) == {2000}
    floats = array("f", [0.5, -2.0, 2.0, float("nan")] * 100).tobytes()
    form = struct.pack("<HHIIHHHHIH14s", 0xFFFE, 1, 24_000, 96_000, 4, 32, 22, 32, 4, 3, b"\0" * 14)
    extensible = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 40) + form + b"data" + struct.pack("<I", 1_600) + floats
    assert list(array("h", decoded(extensible)))[:4] == [16383, -32768, 32767, 0]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_other_rates_are_brought_to_ours(rate: int) -> None:
    out = decoded(wav_of(hum(1, rate), rate), [999], "audio/wav")
    assert abs(len(out) / 2 - 24_000) < 10
    wanted = array("h", hum(1))
    got = array("h", out)
    worst = max(abs(a - b) for a, b in zip(wanted, got, strict=False))
    assert worst < 400  # of 9,800: straight lines between samples


def test_the_rate_that_the_content_type_tells_counts() -> None:
    assert abs(len(decoded(hum(1, 16_000), kind="audio/pcm;rate=16000")) - 48_000) < 20


@given(st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_resampling_is_the_same_however_it_is_fed(sizes: list[int]) -> None:
    voice = hum(0.05, 22_050)
    whole, pieces = Resampler(22_050, 24_000), Resampler(22_050, 24_000)
    out, at, turn = b"", 0, 0
    while at < len(voice):
        size = sizes[turn % len(sizes)] * 2
        out += pieces.feed(voice[at : at + size])
        at, turn = at + size, turn + 1
    wanted = array("h", whole.feed(voice))
    assert all(abs(a - b) <= 1 for a, b in zip(wanted, array("h", out), strict=True))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"ID3\x04" + bytes(40), "MP3"),
        (mp3(), "MP3"),
        (b"OggS" + bytes(40), "Ogg"),
        (b"fLaC" + bytes(40), "FLAC"),
        (b"\0\0\0\x20ftypM4A " + bytes(40), "MP4"),
        (b"\x1aE\xdf\xa3" + bytes(40), "WebM"),
        (b"  <!DOCTYPE html><html>" + bytes(40), "a web page"),
        (b'{"error": {"message": "no"}}', "text"),
        (b'data: {"type": "speech.audio.delta"}\n\n', "text"),
    ],
)
def test_what_is_encoded_is_named(data: bytes, what: str) -> None:
    assert encoded_as(data) == what
    for kind in ("audio/pcm", "audio/mpeg", ""):
        with pytest.raises(NotOurProtocol, match="came back in place of plain samples"):
            decoded(data, [100], kind)


def test_samples_that_look_like_one_mp3_head_are_samples() -> None:
    voice = b"\xff\xfb\x90\x64" + hum(0.3)[4:]
    assert decoded(voice, [64]) == voice
    assert decoded(b"\xff\xfb\x90\x64", [1]) == b"\xff\xfb\x90\x64"


@pytest.mark.parametrize(
    "kind", ["text/html", "application/json; charset=utf-8", "image/png", "application/problem+json"]
)
def test_a_content_type_that_is_no_sound_is_refused(kind: str) -> None:
    with pytest.raises(NotOurProtocol, match="in place of sound"):
        SoundDecoder(24_000).head({"content-type": kind})


@pytest.mark.parametrize("seed", range(5))
def test_noise_never_reaches_an_ear(seed: int) -> None:
    gate = NoiseGate()
    heard = gate.feed(b"".join(noise(900) for _ in range(2)))
    with pytest.raises(NotOurProtocol, match="noise"):
        heard += gate.feed(random.Random(seed).randbytes(40_000))  # noqa: S311
    assert heard == b""


@pytest.mark.parametrize("size", [2048, 4096, 5000, 6000])
def test_a_short_piece_of_noise_is_noise_too(size: int) -> None:
    with pytest.raises(NotOurProtocol, match="noise"):
        decoded(noise(size), [700])


def test_a_minute_of_a_quiet_voice_is_not_judged_to_its_end() -> None:
    gate, voice = NoiseGate(), hum(10, volume=0.05)
    assert gate.feed(voice) + gate.close() == voice
    assert gate.feed(b"\1\0") == b"\1\0"


def test_noise_in_the_middle_is_found_and_loud_hissing_is_not_noise() -> None:
    gate = NoiseGate()
    voice = hum(0.2)
    assert len(gate.feed(voice)) >= len(voice) - 4096
    with pytest.raises(NotOurProtocol):
        gate.feed(noise(20_000))
    hiss = array("h", (value // 8 for value in array("h", noise(48_000)))).tobytes()
    gate = NoiseGate()
    assert gate.feed(hiss) + gate.close() == hiss  # an s is noise too, but never as loud


def test_a_voice_comes_out_at_once() -> None:
    decoder = SoundDecoder(24_000)
    decoder.head({})
    assert len(decoder.feed(hum(0.05))) >= 2048


def test_too_much_too_little_and_none() -> None:
    with pytest.raises(TimedOut, match="more than 1 s"):
        SoundDecoder(24_000, longest_s=1).feed(hum(1.2))
    decoder = SoundDecoder(24_000, shortest_s=1)
    decoder.feed(hum(0.5))
    with pytest.raises(StreamTruncated):
        decoder.close()
    with pytest.raises(NotOurProtocol, match="no sound"):
        decoded(b"")
    with pytest.raises(StreamTruncated):
        decoded(wav_of(hum(1), 24_000)[:20_000])
    with pytest.raises(BackendError):
        decoded(wav_of(b"", 24_000)[:20])


@pytest.mark.parametrize(
    "head",
    [
        b"RIFF\0\0\0\0AVI " + bytes(30),
        b"RIFF\0\0\0\0WAVEdata\x10\0\0\0" + bytes(30),
        b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f" + bytes(30),
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100,
        wav_of(hum(0.1), 24_000).replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 2, 8), 1),
        wav_of(hum(0.1), 1),
    ],
)
def test_heads_of_wavs_that_are_none_of_ours(head: bytes) -> None:
    with pytest.raises(NotOurProtocol):
        read_wav_head(head)


@given(st.binary(max_size=3000), st.sampled_from(["", "audio/pcm", "audio/wav", "audio/mpeg"]))
def test_whatever_comes_either_is_samples_or_one_of_our_errors(data: bytes, kind: str) -> None:
    for each in (data, b"RIFF\0\0\0\0WAVE" + data):
        with suppress(BackendError):
            assert len(decoded(each, [97], kind)) % 2 == 0


def test_an_answer_with_half_an_emoji_is_text() -> None:
    decoder = TranscriptDecoder(str)
    decoder.head({"content-type": "application/json"})
    decoder.feed(b'{"text": "a \\ud83d b", "language": "x\\u001b"}')
    decoder.close()
    assert decoder.text == "a ? b" and decoder.language is None
