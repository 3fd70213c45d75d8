"""Asking the terminal whether it is light or dark: through a real pseudo-terminal, with every kind of answer."""

from __future__ import annotations

import os
import pty
import threading
from collections.abc import Callable, Iterator

import pytest

from sophia_tui.ground import QUESTION, is_light, light_by, light_in

WHO = b"\x1b[?62;22c"


@pytest.fixture
def terminal() -> Iterator[Callable[[bytes], int]]:
    """A terminal that answers the question so; its end for the program."""
    opened: list[int] = []
    threads: list[threading.Thread] = []

    def answering(answer: bytes) -> int:
        ours, theirs = pty.openpty()
        opened.extend((ours, theirs))

        def play() -> None:
            seen = b""
            while QUESTION not in seen.replace(b"^[", b"\x1b"):
                seen += os.read(ours, 64)
            os.write(ours, answer)

        threads.append(threading.Thread(target=play, daemon=True))
        threads[-1].start()
        return theirs

    yield answering
    for each in threads:
        each.join(5)
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("answer", "light"),
    [
        (b"\x1b]11;rgb:ffff/ffff/eeee\x1b\\" + WHO, True),
        (b"\x1b]11;rgb:1515/1717/1c1c\x07" + WHO, False),
        (b"\x1b]11;rgb:f/f/f\x1b\\" + WHO, True),
        (b"\x1b]11;rgba:00/00/00/ff\x1b\\" + WHO, False),
        (b"typed before\x1b]11;rgb:ff/ff/ff\x1b\\" + WHO, True),
        (WHO, None),
        (b"\x1b]11;rgb:zz/00/00\x1b\\" + WHO, None),
    ],
)
def test_a_terminal_tells(terminal: Callable[[bytes], int], answer: bytes, light: bool | None) -> None:
    assert is_light({}, terminal(answer), wait_s=10) is light


def test_one_that_never_answers_is_not_waited_for(terminal: Callable[[bytes], int]) -> None:
    assert is_light({"COLORFGBG": "0;15"}, terminal(b"\x1b]11;rgb:00"), wait_s=0.05) is True


def test_what_is_no_terminal_is_not_asked() -> None:
    read, write = os.pipe()
    try:
        assert is_light({"COLORFGBG": "15;0"}, read) is False
    finally:
        os.close(read)
        os.close(write)


def test_what_the_environment_says() -> None:
    found = [light_by({"COLORFGBG": value}) for value in ("15;0", "0;15", "0;default;7", "", "x")]
    assert found == [False, True, True, None, None]
    assert light_in(b"") is None
