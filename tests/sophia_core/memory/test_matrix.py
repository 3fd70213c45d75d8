"""The nearest codes are the ones with the fewest differing bits, whatever the number of blocks."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("numpy")

from sophia_core.memory import matrix
from sophia_core.memory.matrix import Matrix

DICE = random.Random(3)  # noqa: S311 - the same bytes each time


def numbers(answer: bytes) -> list[int]:
    return [int.from_bytes(answer[at : at + 4]) for at in range(0, len(answer), 4)]


def distance(one: bytes, two: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(two)).bit_count()


def test_the_nearest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "BLOCK", 64)
    made = Matrix()
    codes = {seq: DICE.randbytes(48) for seq in range(1000, 1300)}
    seqs = list(codes)
    for at in range(0, 300, 70):
        part = seqs[at : at + 70]
        made.add(b"".join(seq.to_bytes(4) for seq in part), b"".join(codes[seq] for seq in part))
    question = DICE.randbytes(48)
    found = numbers(made.nearest(question, 20))
    by_hand = sorted(distance(codes[seq], question) for seq in seqs)
    assert [distance(codes[seq], question) for seq in found] == by_hand[:20]
    assert len(numbers(made.nearest(question, 1000))) == 300
    made.clear()
    assert (made.count, made.nearest(question, 5)) == (0, b"")


def test_a_code_for_every_number() -> None:
    with pytest.raises(ValueError, match="1 codes have 2 numbers"):
        Matrix().add(bytes(8), bytes(48))
