"""What is said shorter looks the same: both ways are drawn on a small terminal of our own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_tui.thrift import fills, thrifty

WIDTH, HEIGHT = 60, 4
TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(.)", re.DOTALL)
OFF = {"22": "12", "23": "3", "24": "4", "27": "7", "29": "9"}
Cell = tuple[str, frozenset[str], str, str]


class Terminal:
    """Understands what a frame is made of; erased cells take the ground they are erased with."""

    def __init__(self) -> None:
        blank: Cell = (" ", frozenset(), "", "")
        self.cells = [[blank] * WIDTH for _ in range(HEIGHT)]
        self.marks: frozenset[str] = frozenset()
        self.ink = self.ground = ""
        self.x = self.y = 0

    def feed(self, data: str) -> Terminal:
        for codes, final, char in TOKEN.findall(data):
            if char:
                self.put(char)
                self.x += 1
            elif final == "H":
                row, column = [*codes.split(";"), "1"][:2]
                self.y, self.x = int(row) - 1, int(column) - 1
            elif final == "X":
                for step in range(int(codes)):
                    self.put(" ", self.x + step, erased=True)
            elif final == "C":
                self.x += int(codes)
            elif final == "m":
                self.style((codes or "0").split(";"))
        return self

    def put(self, char: str, x: int | None = None, *, erased: bool = False) -> None:
        x = self.x if x is None else x
        if x < WIDTH and self.y < HEIGHT:
            marks = frozenset() if erased else self.marks
            if char == " " and not marks & {"4", "7", "9", "21", "53"}:
                self.cells[self.y][x] = (" ", frozenset(), "", self.ground)
            else:
                self.cells[self.y][x] = (char, marks, self.ink, self.ground)

    def style(self, codes: list[str]) -> None:
        while codes:
            code = codes.pop(0) or "0"
            if code == "0":
                self.marks, self.ink, self.ground = frozenset(), "", ""
            elif code in OFF:
                self.marks -= set(OFF[code])
            elif code in ("38", "48"):
                count = 2 if codes[0] == "5" else 4
                colour = ";".join(codes[:count])
                del codes[:count]
                self.ink, self.ground = (colour, self.ground) if code == "38" else (self.ink, colour)
            elif code[0] == "3" and len(code) == 2:
                self.ink = "" if code == "39" else code
            elif code[0] == "4" and len(code) == 2:
                self.ground = "" if code == "49" else code
            else:
                self.marks |= {code}


MARKS = st.lists(st.sampled_from(["1", "2", "3", "4", "7", "9", "21", "53"]), max_size=3)
INK = st.sampled_from([[], ["31"], ["38;2;1;2;3"], ["38;5;7"], ["39"]])
GROUND = st.sampled_from([[], ["44"], ["48;2;1;2;3"], ["48;5;7"], ["49"]])
TEXT = st.sampled_from(["a", "word ", " ", " " * 15, " " * 20, "x" + " " * 30, "end"])
PLACE = st.builds(lambda y, x: f"\x1b[{y};{x}H", st.integers(1, HEIGHT), st.integers(1, 40))
RUN = st.builds(lambda m, i, g, t: f"\x1b[{';'.join([*m, *i, *g]) or '0'}m{t}\x1b[0m", MARKS, INK, GROUND, TEXT)
HALF = st.builds(lambda m, i, t: f"\x1b[{';'.join([*m, *i]) or '1'}m{t}", MARKS, INK, TEXT)
FRAME = st.lists(PLACE | RUN | RUN | HALF, max_size=30).map(lambda parts: "".join(parts) + "\x1b[0m")


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAME, min_size=1, max_size=3), st.booleans())
def test_it_looks_the_same_and_is_never_longer(frames: list[str], erase: bool) -> None:
    plain, short = Terminal(), Terminal()
    for frame in frames:
        said = thrifty(frame, erase=erase)
        assert len(said) <= len(frame)
        assert plain.feed(frame).cells == short.feed(said).cells
        assert (short.marks, short.ink, short.ground) == (frozenset(), "", "")
        plain.x = short.x = plain.y = short.y = 0


def test_what_the_terminal_has_is_not_said_again() -> None:
    style = "\x1b[38;2;1;2;3;48;2;4;5;6m"
    frame = "".join(f"\x1b[{row};1H{style}one\x1b[0m{style} two\x1b[0m" for row in range(1, 21))
    assert thrifty(frame).count(style) == 1
    assert len(thrifty(frame)) < len(frame) / 3


@pytest.mark.parametrize(
    "data",
    [
        "no sequences at all",
        "\x1b[?2026h\x1b[?25l",
        "\x1b[4:3mcurly\x1b[0m",
        "\x1b[58;2;1;2;3mcoloured line\x1b[0m",
        "\x1b[38;2;1mcut",
        "\x1bPq\x1b[1mpicture\x1b[0m\x1b\\",
        "\x1b_Ga=T\x1b\\\x1b[1mpicture\x1b[0m",
        "\x1b[31mleft so",
    ],
)
def test_what_is_not_understood_is_left_alone(data: str) -> None:
    assert thrifty(data) == data


def test_a_link_keeps_its_place_among_the_colours() -> None:
    link = "\x1b]8;id=1;https://example.org\x1b\\"
    assert thrifty(f"\x1b[31m{link}here\x1b]8;;\x1b\\\x1b[0m") == f"\x1b[31m{link}here\x1b]8;;\x1b\\\x1b[m"


def test_screen_is_not_asked_to_erase_in_colour() -> None:
    assert fills({"TERM": "xterm-256color"}) and fills({"TERM": "screen-256color", "TMUX": "/tmp/tmux"})
    assert not fills({"TERM": "screen"}) and not fills({"TERM": "xterm", "STY": "1.screen"})
