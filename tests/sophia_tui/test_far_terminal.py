"""The real app on a pseudo-terminal whose other end is slow, stops taking anything, or hangs up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import child_env
from benchmarks.slow_link import SlowTerminal
from benchmarks.streaming_server import end_mark, serving
from benchmarks.terminal import READY, SOPHIA

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals here")
PATIENCE = 120.0


@pytest.fixture
def far(tmp_path: Path) -> Iterator[SlowTerminal]:
    with serving() as url:
        env = {**child_env(tmp_path, url), "SSH_TTY": "/dev/pts/9", "SOPHIA_CHAT__TITLES": "off"}
        terminal = SlowTerminal(SOPHIA, env, trip=0.1, width=30_000.0)
        try:
            terminal.wait_for(READY, PATIENCE)
            terminal.settle(0.5)
            yield terminal
        finally:
            terminal.close()


def _pump_until(terminal: SlowTerminal, end: float) -> None:
    while time.monotonic() < end:
        terminal.pump(0.05)


def test_an_app_whose_terminal_takes_nothing_goes_on_and_shows_all_of_it_afterwards(far: SlowTerminal) -> None:
    far.type("tokens=400 rate=400")
    far.wait_for("rate=400", PATIENCE)
    far.most_underway = 0
    far.type("\r")
    far.stalled = True
    for turn in range(40):  # sizes that come one after the other, while nothing is taken
        far.resize(150 + turn % 9, 40 + turn % 5)
        _pump_until(far, time.monotonic() + 0.02)
    far.resize(160, 48)
    _pump_until(far, time.monotonic() + 1.0)
    assert far.most_underway < 100_000  # what could not be drawn did not queue
    far.stalled = False
    far.wait_for(end_mark(400), PATIENCE)
    far.type("Я")
    far.wait_for("Я", PATIENCE)


def test_a_terminal_that_hangs_up_ends_the_app_and_what_it_said_is_there_again(
    far: SlowTerminal, tmp_path: Path
) -> None:
    far.type("tokens=60 rate=2000\r")
    far.wait_for(end_mark(60), PATIENCE)
    far.type("half a question")
    far.wait_for("half a question", PATIENCE)
    os.kill(far.pid, signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            far.pump(0.05)
        except RuntimeError:
            break
    done, status = os.waitpid(far.pid, 0)
    assert done == far.pid and os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    again = SlowTerminal(SOPHIA, child_env(tmp_path, "http://127.0.0.1:9/v1"), trip=0.0, width=None)
    try:
        again.wait_for(end_mark(60), PATIENCE)
        again.wait_for("half a question", PATIENCE)
    finally:
        again.close()
