"""The detector is spared silence, and misses nothing of what is said after it."""

from __future__ import annotations

from sophia_core.voice.ports import FRAME_BYTES, Frame
from sophia_core.voice.sparing import KEPT, MOST_SPARED, SparingDetector


class Asked:
    """A detector that notes what it is asked, and takes what is loud for speech."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.resets = 0

    async def feed(self, frame: Frame) -> float:
        self.frames.append(frame)
        return 1.0 if frame.level > 0.5 else 0.0

    def reset(self) -> None:
        self.resets += 1


def frame(level: float, number: int = 0) -> Frame:
    return Frame(number.to_bytes(2, "little") * (FRAME_BYTES // 2), level)


async def test_silence_is_not_asked_about_but_what_comes_before_a_sound_is() -> None:
    asked = Asked()
    sparing = SparingDetector(asked)
    silence = [frame(0.0, number) for number in range(100)]
    assert [await sparing.feed(each) for each in silence] == [0.0] * 100
    assert asked.frames == []
    assert await sparing.feed(frame(0.8)) == 1.0
    assert asked.frames == [*silence[-KEPT:], frame(0.8)]


async def test_the_end_of_what_is_said_is_asked_about() -> None:
    asked = Asked()
    sparing = SparingDetector(asked)
    assert [await sparing.feed(frame(level)) for level in (0.8, 0.0, 0.0, 0.0)] == [1.0, 0.0, 0.0, 0.0]
    assert len(asked.frames) == 2


async def test_a_quiet_room_is_asked_about_and_a_process_is_kept_awake() -> None:
    asked = Asked()
    sparing = SparingDetector(asked)
    await sparing.feed(frame(0.4))
    assert len(asked.frames) == 1
    for _ in range(MOST_SPARED + 1):
        await sparing.feed(frame(0.0))
    assert len(asked.frames) == 1 + KEPT + 1
    sparing.reset()
    assert asked.resets == 1


class Slow(Asked):
    """A detector that takes whoever has spoken for speaking for some time after that."""

    async def feed(self, frame: Frame) -> float:
        await super().feed(frame)
        return 0.9


async def test_a_silence_counts_from_its_beginning_however_slow_the_detector_is() -> None:
    sparing = SparingDetector(Slow())
    assert [await sparing.feed(frame(level)) for level in (0.6, 0.7, 0.05, 0.0, 0.6)] == [0.9, 0.9, 0.0, 0.0, 0.9]


async def test_a_steady_noise_is_spared_and_a_voice_above_it_is_not() -> None:
    asked = Asked()
    sparing = SparingDetector(asked)
    for number in range(200):
        await sparing.feed(frame(0.2 + number % 3 * 0.01))
    assert len(asked.frames) <= 1
    assert await sparing.feed(frame(0.6)) == 1.0


async def test_in_a_loud_room_the_detector_is_asked_about_everything() -> None:
    asked = Asked()
    sparing = SparingDetector(asked)
    for _ in range(50):
        await sparing.feed(frame(0.5))
    assert len(asked.frames) == 50


async def test_who_speaks_softly_after_loudly_is_heard() -> None:
    sparing = SparingDetector(Slow())
    for _ in range(25):
        await sparing.feed(frame(0.15))
    assert [await sparing.feed(frame(0.8)) for _ in range(500)] == [0.9] * 500
    assert await sparing.feed(frame(0.3)) == 0.9
