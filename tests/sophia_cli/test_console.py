from __future__ import annotations

import os
import threading

from sophia_cli.console import Console, Stream
from tests.sophia_cli.harness import Piped, piped


def test_a_pipe_gets_the_bytes_untouched(pipe: Piped) -> None:
    pipe.console.out("\x1b[31mred\x07 grüße 🙂\r\n")
    assert pipe.out == "\x1b[31mred\x07 grüße 🙂\r\n"


def test_a_terminal_gets_nothing_it_could_obey() -> None:
    with piped(out_terminal=True) as pipe:
        pipe.console.out("\x1b]0;title\x07 text\u202e\n")
        assert "\x1b" not in pipe.out
        assert "\x07" not in pipe.out
        assert "\u202e" not in pipe.out


def test_errors_are_one_line_and_safe_wherever_they_go(pipe: Piped) -> None:
    pipe.console.say("bad\x1b[2J\nthing", "do\nthis")
    assert pipe.err == "sophia: bad␛[2J thing\n  do this\n"


def test_a_terminal_without_utf8_gets_escapes_for_what_it_cannot_show() -> None:
    reader, writer = os.pipe()
    console = Console(Stream(writer, terminal=True, encoding="iso8859-1"), Stream(writer, terminal=True))
    console.out("ü 🙂")
    console.drain()
    assert os.read(reader, 100) == b"\xfc \\U0001f642"
    os.close(reader)
    os.close(writer)


def test_a_reader_that_went_away_ends_with_141_and_says_nothing() -> None:
    with piped() as pipe:
        told = threading.Event()
        pipe.console.on_failure = told.set
        os.close(pipe.readers["out"])
        pipe.console.out("lost")
        assert told.wait(5)
        pipe.console.out("lost too")
        assert pipe.console.exit_code(0) == 141
        assert pipe.err == ""
        pipe.readers["out"] = os.open(os.devnull, os.O_RDONLY)
        os.dup2(pipe.readers["out"], pipe.console.out_stream.descriptor)


def test_a_full_disk_behind_stdout_is_told() -> None:
    with piped() as pipe:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, pipe.console.out_stream.descriptor)
        os.close(full)
        pipe.console.out("lost")
        assert pipe.console.exit_code(0) == 1
        assert pipe.err == "sophia: stdout cannot be written: No space left on device\n"


def test_a_slow_reader_holds_up_nobody(pipe: Piped) -> None:
    os.set_blocking(pipe.console.out_stream.descriptor, True)
    for _ in range(20):
        pipe.console.out("x" * 10_000)
    received = b""
    while len(received) < 200_000:
        received += os.read(pipe.readers["out"], 1 << 16)
    assert received == b"x" * 200_000
