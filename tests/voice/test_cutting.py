"""Long sound is cut at its pauses, and nothing that is said is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sophia_core.voice.cutting import CHUNK_BYTES, CHUNK_S, SPEAKS, Cut, Cutter

LONGEST_S = 4.0


def sound(count: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") * (CHUNK_BYTES // 4) for number in range(count))


def numbers(cut: Cut) -> list[int]:
    return [int.from_bytes(cut.pcm[at : at + 4], "little") for at in range(0, len(cut.pcm), CHUNK_BYTES)]


def cuts(likely: list[float], block: int) -> list[Cut]:
    cutter, pcm = Cutter(LONGEST_S), sound(len(likely))
    found: list[Cut] = []
    for at in range(0, len(likely), block):
        found += cutter.feed(pcm[at * CHUNK_BYTES : (at + block) * CHUNK_BYTES], likely[at : at + block])
    return [*found, *cutter.finish()]


runs = st.lists(st.tuples(st.sampled_from([0.0, 0.4, 0.9]), st.integers(1, 90)), max_size=12)


@given(runs, st.integers(1, 50))
def test_all_speech_is_in_exactly_one_cut_whatever_the_blocks(lengths: list[tuple[float, int]], block: int) -> None:
    likely = [each for each, count in lengths for _ in range(count)]
    found = cuts(likely, block)
    heard = [number for each in found for number in numbers(each)]
    assert heard == sorted(set(heard))
    assert {number for number, each in enumerate(likely) if each >= SPEAKS} <= set(heard)
    for each in found:
        assert abs(each.start_s - numbers(each)[0] * CHUNK_S) < 1e-6
        assert each.stop_s - each.start_s <= LONGEST_S + 1e-6
    assert found == cuts(likely, 1)


def test_it_cuts_in_a_pause_and_leaves_out_silence() -> None:
    talk, pause, silence = [0.9] * 80, [0.1] * 10, [0.0] * 200
    found = cuts([*talk, *pause, *talk, *silence, *talk], 7)
    assert [round(each.start_s / CHUNK_S) for each in found] == [0, 85, 360]
    assert sum(len(numbers(each)) for each in found) < 400
    assert cuts(silence, 7) == []
