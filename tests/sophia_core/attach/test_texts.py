"""Which bytes are text, and how a text is put before a model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.attach.dropping import dropped
from sophia_core.attach.texts import decoded, fenced


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_text_is_read_in_its_encoding(encoding: str) -> None:
    text = "def größe(x):\n    return x  # € and so on\n" * 3
    found = decoded(text.encode(encoding))
    assert found is not None
    assert found[0] == text


def test_latin_1_is_read_where_windows_has_no_such_letter() -> None:
    assert decoded(b"caf\xe9 \x81") == ("café \x81", "latin-1")


@pytest.mark.parametrize("content", [b"\0\1\2\3", b"MZ\x90\0\3\0\0\0", b"\x00\xd8\x00" * 9, bytes(range(256))])
def test_other_bytes_are_no_text(content: bytes) -> None:
    assert decoded(content) is None


def test_a_terminal_recording_is_text() -> None:
    assert decoded(b"\x1b[31mred\x1b[0m\r\n") == ("\x1b[31mred\x1b[0m\r\n", "utf-8")


@given(st.text(alphabet="`~ab\n", max_size=60), st.text(max_size=30))
def test_nothing_in_a_file_ends_its_block(text: str, name: str) -> None:
    block = fenced(name, text)
    fence = re.match(r"The file `[^\n]*`:\n(`+)", block)
    assert fence is not None
    body = block[fence.end() :].partition("\n")[2]
    inside, _, last = body.rpartition("\n")
    assert last == fence[1]
    assert fence[1] not in inside


def test_the_language_follows_the_name() -> None:
    assert "\n```python\n" in fenced("a.py", "x")
    assert "\n```\n" in fenced("strange.name with spaces", "x")
    assert "`it's`" not in fenced("a`b", "x")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("/tmp/a.png", ["/tmp/a.png"]),
        ("/tmp/a.png ", ["/tmp/a.png"]),
        ("'/tmp/my picture.png'", ["/tmp/my picture.png"]),
        ("/tmp/my\\ picture.png", ["/tmp/my picture.png"]),
        ("/tmp/my picture.png", ["/tmp/my picture.png"]),
        ("file:///tmp/my%20picture.png", ["/tmp/my picture.png"]),
        ("file://localhost/tmp/a.png\r\nfile:///tmp/b.png\r\n", ["/tmp/a.png", "/tmp/b.png"]),
        ("/tmp/a.png\n/tmp/b c.png", ["/tmp/a.png", "/tmp/b c.png"]),
        ("/tmp/a.png /tmp/b.png", ["/tmp/a.png", "/tmp/b.png"]),
        ("'/tmp/a.png' '/tmp/b.png'", ["/tmp/a.png", "/tmp/b.png"]),
        ("file://elsewhere/tmp/a.png", []),
        ("look at /tmp/a.png", []),
        ("/tmp/a.png is broken", ["/tmp/a.png is broken"]),
        ("relative.png", []),
        ("/", []),
        ("", []),
        ("https://example.org/a.png", []),
        ("'/tmp/a", []),
        ("/tmp/a\0b", []),
        ("/x\n" * 30, []),
    ],
)
def test_paths_that_were_dropped_on_the_terminal_are_found(text: str, paths: list[str]) -> None:
    assert dropped(text) == tuple(map(Path, paths))


@given(st.text(max_size=80))
def test_no_paste_can_make_it_fail(text: str) -> None:
    for each in dropped(text):
        assert each.is_absolute()
