from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sophia_cli.exits import USAGE, Quit
from sophia_cli.prompt import MAX_BYTES, read_prompt
from tests.sophia_cli.harness import Piped


@contextmanager
def saying(data: bytes) -> Iterator[int]:
    """A descriptor that holds the bytes and then ends."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    yield reader
    os.close(reader)


@pytest.mark.parametrize(
    ("words", "piped_in", "question"),
    [
        (["what", "is", "it?"], b"", "what is it?"),
        ([], b"from a pipe\n", "from a pipe"),
        (["explain this:"], b"line 1\nline 2\n", "explain this:\n\nline 1\nline 2"),
        (["-"], b"only this", "only this"),
        (["hi"], b" \n", "hi"),
        ([], b"\xef\xbb\xbfwith a BOM", "with a BOM"),
        ([], b"bad \xff byte", "bad � byte"),
        ([], "grüße\r\n".encode(), "grüße"),
        (["bad \udcff argument"], b"", "bad � argument"),
    ],
)
def test_the_question_is_the_words_and_what_is_piped_in(
    pipe: Piped, words: list[str], piped_in: bytes, question: str
) -> None:
    with saying(piped_in) as descriptor:
        assert read_prompt(words, pipe.console, descriptor) == question


@pytest.mark.parametrize("words", [[], ["-"], ["  "]])
def test_without_a_question_there_is_a_clear_error(pipe: Piped, words: list[str]) -> None:
    with saying(b"\n \n") as descriptor, pytest.raises(Quit, match="nothing to ask") as ending:
        read_prompt(words, pipe.console, descriptor)
    assert ending.value.code == USAGE


def test_a_flood_on_stdin_is_refused(pipe: Piped) -> None:
    zero = os.open("/dev/zero", os.O_RDONLY)
    try:
        with pytest.raises(Quit, match=f"more than {MAX_BYTES >> 20} MiB"):
            read_prompt([], pipe.console, zero)
    finally:
        os.close(zero)


def test_a_folder_as_stdin_is_refused(pipe: Piped) -> None:
    folder = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(Quit, match="stdin cannot be read"):
            read_prompt([], pipe.console, folder)
    finally:
        os.close(folder)
