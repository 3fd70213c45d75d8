"""Microphones and loudspeakers on a PortAudio that refuses, loses and starves as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sophia_core.memory.frames import Head
from sophia_core.voice.audio_list import choose, find_all
from sophia_core.voice.audio_streams import QUIET_FRAMES, TOGETHER, Microphone, Refused, Speaker
from sophia_core.voice.ports import FRAME_BYTES
from sophia_core.voice.sound import mixed, spread
from tests.voice.pulse import loud_seconds, pitch, silence, tone

INVALID_RATE, INVALID_CHANNELS, UNAVAILABLE = -9997, -9998, -9985


class PortAudioError(Exception):
    """What `sounddevice` raises."""


@dataclass
class FakeStream:
    """An open stream; `call` is what PortAudio's thread would do."""

    options: dict[str, Any]
    active: bool = False
    ended: list[str] = field(default_factory=list)
    latency: float = 10.0

    def start(self) -> None:
        self.active = True

    def abort(self) -> None:
        self.ended.append("abort")
        self.active = False

    def close(self) -> None:
        self.ended.append("close")

    def call(self, block: Any, frames: int, delay: float = 0.0) -> None:
        times = SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.0 + delay)
        self.options["callback"](block, frames, times, None)


class FakeBackend:
    """Devices that take certain rates and channels only."""

    PortAudioError = PortAudioError

    def __init__(self, rates: tuple[int, ...] = (16_000,), channels: int = 1, refusal: int = INVALID_RATE) -> None:
        self.rates, self.channels, self.refusal = rates, channels, refusal
        self.opened: list[FakeStream] = []
        self.names = ["Built-in", "USB Headset", "USB Headset"]

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        told = [
            {"index": at, "name": name, "max_input_channels": 1, "max_output_channels": at, "default_samplerate": 48e3}
            for at, name in enumerate(self.names)
        ]
        if device is None and kind is None:
            return told
        return told[1 if device is None else device]

    def make(self, **options: Any) -> FakeStream:
        if options["channels"] != self.channels:
            raise PortAudioError("Invalid number of channels", INVALID_CHANNELS)
        if options["samplerate"] not in self.rates:
            raise PortAudioError("Invalid sample rate", self.refusal)
        self.opened.append(FakeStream(options))
        return self.opened[-1]

    RawInputStream = RawOutputStream = make


class Told(list[tuple[Head, bytes]]):
    """What the streams told."""

    def tell(self, head: Head, body: bytes) -> None:
        self.append((head, body))

    @property
    def sound(self) -> bytes:
        return b"".join(body for _, body in self)

    def last(self, name: str) -> Any:
        return next((head[name] for head, _ in reversed(self) if name in head), None)


def played(speaker: Speaker, stream: FakeStream, frames: int, times: int = 1) -> bytes:
    """What the loudspeaker gets when it asks so often."""
    size = 2 * frames * speaker.channels
    blocks = [bytearray(b"\x55" * size) for _ in range(times)]
    for block in blocks:
        stream.call(block, frames)
    return b"".join(blocks)


@pytest.mark.parametrize(("rates", "channels"), [((16_000,), 1), ((48_000,), 1), ((44_100,), 2)])
def test_a_microphone_gives_frames_of_16_khz_whatever_the_device_takes(rates: tuple[int, ...], channels: int) -> None:
    told, backend = Told(), FakeBackend(rates, channels)
    microphone = Microphone(7, told.tell, backend, 1)
    microphone.start(backend)
    said = spread(tone(1.0, rate=rates[0]), channels)
    step = 2 * channels * 300
    for at in range(0, len(said), step):
        backend.opened[0].call(said[at : at + step], len(said[at : at + step]) // 2 // channels)
    assert {len(body) for _, body in told} == {FRAME_BYTES}
    assert 48 <= len(told) <= 50
    assert all(head["of"] == 7 and 0.8 < head["levels"][0] < 0.9 for head, _ in told[1:])
    assert pitch(told.sound) == pytest.approx(440, abs=1)


def test_in_a_long_silence_some_frames_are_told_together_and_a_sound_at_once() -> None:
    told, backend = Told(), FakeBackend()
    microphone = Microphone(7, told.tell, backend, 1)
    microphone.start(backend)
    click = silence(3.22) + tone(0.02) + silence(0.16)
    said = silence(6.6) + click + tone(0.1)
    for at in range(0, len(said), FRAME_BYTES):
        backend.opened[0].call(said[at : at + FRAME_BYTES], FRAME_BYTES // 2)
    assert told.sound == said
    assert [len(head["levels"]) for head, _ in told[:QUIET_FRAMES]] == [1] * QUIET_FRAMES
    together = [len(head["levels"]) for head, _ in told[QUIET_FRAMES:]]
    assert together == [TOGETHER] * 34 + [2, 9, 1, 1, 1, 1]


@pytest.mark.parametrize(("rates", "channels"), [((24_000,), 1), ((48_000,), 1), ((44_100,), 2)])
def test_a_loudspeaker_plays_all_of_it_at_the_rate_it_takes(rates: tuple[int, ...], channels: int) -> None:
    told, backend = Told(), FakeBackend(rates, channels)
    speaker = Speaker(3, told.tell, backend, None, 24_000)
    speaker.start(backend)
    speaker.write(tone(0.5, rate=24_000))
    speaker.finish()
    heard = played(speaker, backend.opened[0], rates[0] // 100, 55)
    heard = mixed(heard, channels)
    assert loud_seconds(heard, rates[0]) == pytest.approx(0.5, abs=0.015)
    assert told.last("given") == pytest.approx(0.5, abs=0.005)
    assert speaker.underruns == 0


def test_the_end_is_told_when_the_last_sample_was_heard_and_not_before() -> None:
    told, backend = Told(), FakeBackend()
    speaker = Speaker(3, told.tell, backend, None, 16_000)
    speaker.start(backend)
    speaker.write(tone(0.1))
    speaker.finish()
    played(speaker, backend.opened[0], 1600)
    assert told.last("given") == pytest.approx(0.1)
    assert told.last("heard") is None
    while told.last("heard") is None:
        assert set(played(speaker, backend.opened[0], 10)) == {0}


def test_a_sound_that_breaks_off_is_followed_by_silence_and_begins_again_with_enough() -> None:
    told, backend = Told(), FakeBackend()
    speaker = Speaker(3, told.tell, backend, None, 16_000)
    speaker.start(backend)
    speaker.write(tone(0.1))
    heard = played(speaker, backend.opened[0], 160, 12)
    assert heard.endswith(bytes(2 * 320))
    assert speaker.underruns == 1
    speaker.write(tone(0.02))
    assert played(speaker, backend.opened[0], 160) == bytes(320)
    speaker.write(tone(0.06))
    assert played(speaker, backend.opened[0], 160) == tone(0.01)


def test_what_is_paused_goes_on_where_it_stopped() -> None:
    told, backend = Told(), FakeBackend()
    speaker = Speaker(3, told.tell, backend, None, 16_000)
    speaker.start(backend)
    speaker.write(tone(0.2))
    heard = played(speaker, backend.opened[0], 160, 5)
    speaker.pause(True)
    assert played(speaker, backend.opened[0], 160, 5) == bytes(1600)
    speaker.pause(False)
    assert heard + played(speaker, backend.opened[0], 160, 15) == tone(0.2)


def test_what_is_closed_is_silent_at_once() -> None:
    told, backend = Told(), FakeBackend()
    speaker = Speaker(3, told.tell, backend, None, 16_000)
    speaker.start(backend)
    speaker.write(tone(0.2))
    speaker.close()
    assert backend.opened[0].ended == ["abort", "close"]
    assert played(speaker, backend.opened[0], 160, 5) == bytes(1600)


def test_a_device_that_takes_no_rate_or_belongs_to_another_is_refused() -> None:
    told = Told()
    with pytest.raises(Refused, match="Invalid"):
        Speaker(3, told.tell, FakeBackend(rates=(8_000,)), None, 16_000)
    with pytest.raises(Refused, match="Invalid sample rate"):
        Microphone(3, told.tell, FakeBackend(rates=(48_000,), refusal=UNAVAILABLE), None)


def test_a_device_that_stops_is_noticed() -> None:
    told, backend = Told(), FakeBackend()
    microphone = Microphone(7, told.tell, backend, 1)
    microphone.start(backend)
    assert microphone.trouble() == ""
    backend.opened[0].active = False
    assert microphone.trouble() == "it stopped"


def test_a_fault_in_the_midst_is_told_and_not_written_to_the_screen() -> None:
    backend = FakeBackend()

    def broken(head: Head, body: bytes) -> None:
        raise RuntimeError("no room")

    microphone = Microphone(7, broken, backend, 1)
    microphone.start(backend)
    backend.opened[0].call(bytes(2 * FRAME_BYTES), FRAME_BYTES)
    assert microphone.trouble() == "RuntimeError: no room"


def test_devices_have_names_of_their_own_and_one_is_chosen() -> None:
    backend = FakeBackend()
    found = find_all(backend)
    assert [each.id for each in found if each.kind == "input"] == ["Built-in", "USB Headset", "USB Headset (2)"]
    assert [each.id for each in found if each.kind == "output"] == ["USB Headset", "USB Headset (2)"]
    chosen = [choose(found, "output", wanted) for wanted in ("USB Headset (2)", "gone", None)]
    assert [each.index for each in chosen if each] == [2, 1, 1]
    assert choose([], "input", None) is None


def test_a_name_with_orders_for_the_terminal_is_made_harmless() -> None:
    backend = FakeBackend()
    backend.names = ["\x1b]0;own\x07ed", "a\nb", "x" * 500]
    names = [each.name for each in find_all(backend)]
    assert all(name.isprintable() and len(name) <= 120 for name in names)
