"""What we know of the terminal, and the one key we teach Textual."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from sophia_tui.terminal import speaks_utf8, takes_mouse, tell_alt_enter


def keys(sequence: str) -> list[str]:
    parser = XTermParser()
    return [message.key for message in parser.feed(sequence) if isinstance(message, events.Key)]


def test_alt_enter_is_told_from_enter() -> None:
    tell_alt_enter()
    assert keys("\x1b\r") == ["alt+enter"]
    assert keys("\r") == ["enter"]


def test_alt_minus_takes_an_attachment_off_and_types_no_dash() -> None:
    tell_alt_enter()
    assert keys("\x1b-") == ["alt+minus"]
    assert keys("-") == ["minus"]


@pytest.mark.parametrize(
    ("env", "utf8"),
    [
        ({}, True),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "C.UTF-8", "LC_ALL": "POSIX"}, False),
    ],
)
def test_the_locale_says_what_can_be_drawn(env: dict[str, str], utf8: bool) -> None:
    assert speaks_utf8(env) is utf8


def test_the_mouse_is_left_alone_where_it_would_hold_esc_back() -> None:
    assert takes_mouse(None, {}) and not takes_mouse(None, {"STY": "1.pts"})
    assert takes_mouse(True, {"STY": "1.pts"}) and not takes_mouse(False, {})
