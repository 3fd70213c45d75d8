"""Asking the terminal whether it is light or dark: through a real pseudo-terminal, with every kind of answer."""

from __future__ import annotations

import os
import pty
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from sophia_tui.app import SophiaApp
from sophia_tui.ground import QUESTION, Hearing, is_light, light_by, light_in

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]

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


# -- while the app runs


def heard(*reads: str) -> tuple[str, list[bool]]:
    """What is left of what was read, and what was heard; an empty read stands for a pause."""
    lights: list[bool] = []
    hearing = Hearing(lights.append)
    return "".join(hearing.feed(read) if read else hearing.rest() for read in reads), lights


ANSWERS = [
    ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\", True),
    ("\x1b]11;rgb:00/00/00\x07", False),
    ("\x1b[?997;1n", False),
    ("\x1b[?997;2n", True),
]


@pytest.mark.parametrize(("answer", "light"), ANSWERS)
def test_an_answer_among_keys_is_heard_and_not_typed(answer: str, light: bool) -> None:
    assert heard(f"ab{answer}c") == ("abc", [light])
    for at in range(2, len(answer)):
        assert heard(f"ab{answer[:at]}", f"{answer[at:]}c") == ("abc", [light]), at


@pytest.mark.parametrize("keys", ["\x1b]", "\x1b[", "\x1b", "\x1b[A", "\x1b[?2026;2$y", "\x1b[97u", "]11;", "\x1b[?9"])
def test_keys_that_begin_like_an_answer_are_keys(keys: str) -> None:
    assert heard(keys, "") == (keys, [])
    assert heard(keys, "x") == (f"{keys}x", [])


def test_an_answer_without_end_keeps_nothing_back() -> None:
    assert heard("\x1b]11;" + "x" * 5000) == ("\x1b]11;" + "x" * 5000, [])


@given(st.lists(st.text(alphabet="\x1b]1[?97;2n\\\x07rgb:f/ab", max_size=12), max_size=6))
def test_what_is_no_answer_is_never_lost(reads: list[str]) -> None:
    left, lights = heard(*reads, "")
    text = "".join(reads)
    if not lights and "]11;" not in text:
        assert left == text


async def test_auto_follows_the_terminal_and_a_chosen_theme_does_not(open_app: OpenApp) -> None:
    async with open_app(SOPHIA_THEME="auto", SOPHIA_THEME_LIGHT="sophia-light") as (app, pilot):
        assert app.theme == "sophia-dark"
        app.looks.seen(app, light=True)
        await pilot.pause()
        assert app.theme == "sophia-light"
        app.looks.seen(app, light=False)
        assert app.theme == "sophia-dark"
        await app.runtime.run("theme.use", "sophia-light")
        app.looks.seen(app, light=True)
        app.looks.seen(app, light=False)
        assert app.theme == "sophia-light"


async def test_somebody_who_looks_at_themes_is_not_disturbed(open_app: OpenApp) -> None:
    async with open_app(SOPHIA_THEME="auto") as (app, _):
        other = next(name for name in app.looks.themes if name not in ("sophia-dark", "sophia-light"))
        app.theme = other
        app.looks.seen(app, light=True)
        assert app.theme == other
        assert app.looks.name == "sophia-light"


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_a_terminal_can_is_taken_out_of_the_keys(cut: int) -> None:
    told: list[str] = []
    hearing, said = Hearing(lambda light: None, told.append), "a\x1b[?63;1;4cb"
    left = hearing.feed(said[:cut]) + hearing.feed(said[cut:]) + hearing.rest()
    assert (left, told) == ("ab", ["63;1;4"]) or (cut == 2 and told == [] and left == said)
