"""Where somebody begins to speak and where they have ended, whatever the microphone gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sophia_core.voice.echo import EchoGuard
from sophia_core.voice.loudness import LoudnessDetector
from sophia_core.voice.ports import FRAME_BYTES, FRAME_MS, Frame
from sophia_core.voice.utterances import LONGEST_MS, PRE_ROLL_MS, TAIL_MS, Utterance, Utterances


def frame(number: int, level: float = 0.5) -> Frame:
    return Frame(number.to_bytes(2, "little") * (FRAME_BYTES // 2), level)


def numbers(pcm: bytes) -> list[int]:
    """Which frames these are."""
    return [int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), FRAME_BYTES)]


def run(chances: list[float], found: Utterances | None = None) -> list[object]:
    utterances = found or Utterances(900)
    return [step for number, chance in enumerate(chances) if (step := utterances.feed(frame(number), chance))]


def test_an_utterance_begins_before_it_was_noticed_and_ends_after_a_silence() -> None:
    began, said = run([0.0] * 50 + [1.0] * 30 + [0.0] * 45)
    assert began == "began" and isinstance(said, Utterance)
    heard = numbers(said.pcm)
    assert heard[0] == 50 - PRE_ROLL_MS // FRAME_MS
    assert heard[-1] == 79 + TAIL_MS // FRAME_MS and heard == list(range(heard[0], heard[-1] + 1))
    assert said.voiced_ms == 600 and not said.cut


def test_a_click_begins_nothing_and_a_cough_is_dropped() -> None:
    assert run([0.0] * 20 + [1.0] * 2 + [0.0] * 60) == []
    assert run([0.0] * 20 + [1.0] * 5 + [0.0] * 60) == ["began", "dropped"]


def test_a_pause_between_words_is_no_end() -> None:
    steps = run([1.0] * 20 + [0.0] * 40 + [0.4] * 20 + [0.0] * 45)
    assert len(steps) == 2 and isinstance(steps[1], Utterance)


def test_the_longest_there_is_is_cut_and_nothing_is_lost_between_the_two() -> None:
    frames = LONGEST_MS // FRAME_MS
    first, second = [s for s in run([1.0] * (frames + 100) + [0.0] * 50) if isinstance(s, Utterance)]
    assert first.cut and not second.cut
    assert numbers(second.pcm)[0] == numbers(first.pcm)[-1] + 1


def test_near_the_longest_there_is_a_breath_ends_it() -> None:
    frames = LONGEST_MS * 3 // 4 // FRAME_MS
    found = Utterances(5000)
    steps = run([1.0] * frames + [0.0] * 14, found)
    assert isinstance(steps[-1], Utterance) and not found.hearing


def test_the_key_ends_it_at_once_and_silence_is_nothing() -> None:
    found = Utterances(900)
    run([0.0] * 30, found)
    assert found.end() is None
    run([1.0] * 10, found)
    said = found.end()
    assert said is not None and said.voiced_ms == 200 and found.end() is None


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), max_size=400))
def test_whatever_comes_utterances_never_overlap_and_memory_is_bounded(chances: list[float]) -> None:
    found, last = Utterances(200, longest_ms=2000), -1
    for number, chance in enumerate(chances):
        step = found.feed(frame(number), chance)
        assert len(found.so_far) <= 2000 // FRAME_MS * FRAME_BYTES
        if isinstance(step, Utterance):
            heard = numbers(step.pcm)
            assert heard == list(range(heard[0], heard[0] + len(heard))) and last < heard[0] and heard[-1] <= number
            last = heard[-1]


class TestEcho:
    def test_without_her_everything_counts(self) -> None:
        guard = EchoGuard()
        assert guard.weigh(frame(1, 0.4), 0.9) == 0.9 and not guard.guarding

    def test_what_is_as_loud_as_she_is_is_hers_and_what_is_louder_is_a_persons(self) -> None:
        guard = EchoGuard()
        guard.speaks("Hello there.")
        assert {guard.weigh(frame(n, 0.5), 1.0) for n in range(200)} == {0.0}
        assert guard.weigh(frame(201, 0.55), 1.0) == 0.0
        assert guard.weigh(frame(202, 0.75), 1.0) == 1.0

    def test_with_headphones_any_speech_interrupts_her(self) -> None:
        guard = EchoGuard()
        guard.speaks("Hello there.")
        assert {guard.weigh(frame(n, 0.05), 0.0) for n in range(60)} == {0.0}
        assert guard.weigh(frame(61, 0.35), 1.0) == 1.0

    def test_the_room_goes_on_sounding_for_a_moment_after_her(self) -> None:
        guard = EchoGuard()
        guard.speaks("Hello.")
        [guard.weigh(frame(n, 0.5), 1.0) for n in range(100)]
        guard.silent()
        assert guard.weigh(frame(1, 0.5), 1.0) == 0.0
        [guard.weigh(frame(n, 0.5), 1.0) for n in range(30)]
        assert guard.weigh(frame(1, 0.5), 1.0) == 1.0

    def test_a_soft_voice_does_not_teach_her_to_be_loud(self) -> None:
        guard = EchoGuard()
        guard.speaks("Hello.")
        [guard.weigh(frame(n, 0.3), 1.0) for n in range(60)]
        [guard.weigh(frame(n, 0.38), 1.0) for n in range(10)]
        assert guard.weigh(frame(1, 0.45), 1.0) == 1.0

    def test_her_own_words_are_known(self) -> None:
        guard = EchoGuard()
        guard.speaks("The kernel keeps one table for each process.")
        assert guard.is_own("the kernel keeps won table for each process")
        assert guard.is_own("table for each process")
        assert not guard.is_own("stop") and not guard.is_own("what is a page fault then")


async def test_loudness_alone_tells_speech_from_a_room() -> None:
    detector = LoudnessDetector()
    assert {await detector.feed(frame(n, 0.3)) for n in range(100)} == {0.0}
    assert [await detector.feed(frame(n, 0.6)) for n in range(50)] == [1.0] * 50
    assert await detector.feed(frame(1, 0.3)) == 0.0
