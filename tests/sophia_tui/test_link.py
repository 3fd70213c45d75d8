"""The link to the terminal: what is known of it, when frames wait, and that a slow or silent one holds nobody up."""

from __future__ import annotations

import asyncio
import os
import pty
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets._toast import ToastRack

from sophia_core.doctor import link_check
from sophia_core.events import TourStepped
from sophia_core.terminal_link import NARROW, Figures, amount, keep, kept, measure, milliseconds
from sophia_tui.app import SophiaApp
from sophia_tui.drawing import Shown
from sophia_tui.link import BACKLOG, FIRST_WINDOW, GIVES_UP, LEAST_WINDOW, Gate, Link, frames_for
from sophia_tui.linking import FAR
from sophia_tui.screens.ask_text import AskText
from sophia_tui.writer import MOST, Writer
from tests.sophia_tui.conftest import settle

Open = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
PATIENCE = 30.0


def ask(link: Link, size: int, at: float, took: float) -> None:
    """A frame of that size, asked after, answered."""
    link.wrote(size)
    link.asking(at)
    link.answered(at + took)


def test_a_narrow_link_is_known_after_one_full_frame() -> None:
    link = Link(remote=True)
    ask(link, 4, 0.0, 0.3)
    ask(link, 8000, 1.0, 4.3)
    assert link.round_trip_s == pytest.approx(0.315)
    assert link.bytes_per_s == pytest.approx(2000, rel=0.02)
    assert LEAST_WINDOW < link.window < 1000
    assert link.figures().slow


def test_frames_wait_while_too_much_is_underway_and_go_on_when_it_has_arrived() -> None:
    link, said = Link(remote=True), list[str]()
    gate = Gate(link, lambda: said.append("hold"), lambda: said.append("release"), lambda: 0.0)
    link.wrote(FIRST_WINDOW + 1)
    link.asking(0.0)
    gate.look(0)
    gate.look(0)
    assert said == ["hold"] and gate.closed and link.held == 1
    link.answered(0.5)
    gate.look(0)
    assert said == ["hold", "release"] and not gate.closed


def test_a_terminal_that_leaves_bytes_lying_makes_frames_wait_without_any_answer() -> None:
    link = Link()
    assert not link.full(BACKLOG) and link.full(BACKLOG + 1)


def test_a_near_terminal_is_not_asked_after_each_frame() -> None:
    link = Link(remote=True)
    assert link.asks
    ask(link, 4, 0.0, 0.001)
    assert not link.asks
    link.wrote(1 << 20)
    assert not link.full(0)


def test_one_that_never_answers_is_given_up_on_and_a_late_answer_counts() -> None:
    link = Link(remote=True)
    link.wrote(FIRST_WINDOW * 2)
    link.asking(0.0)
    for _ in range(GIVES_UP):
        assert link.asks
        link.late()
        assert not link.full(0)
    assert not link.asks
    link.answered(9.0)
    assert link.asks and link.round_trip_s == 9.0


def test_answers_belong_to_questions_in_their_order() -> None:
    link = Link(remote=True)
    link.wrote(100)
    link.asking(0.0)
    link.wrote(900)
    link.asking(1.0)
    link.answered(0.3)
    assert (link.taken, link.underway, link.round_trip_s) == (100, 900, 0.3)
    link.answered(1.4)
    assert link.underway == 0 and not link.asked
    link.answered(2.0)  # nobody asked
    assert link.round_trip_s == pytest.approx(0.315)


def test_farther_away_is_drawn_less_often() -> None:
    assert [frames_for(each, 12) for each in (None, 0.001, 0.05, 0.2, 0.9)] == [12, 12, 8, 5, 4]


def test_only_what_differs_is_written() -> None:
    shown = Shown()
    assert shown.put((0, 0, 10, "a" * 10)) and shown.put((1, 0, 10, "b" * 10))
    assert not shown.put((0, 0, 10, "a" * 10))
    assert shown.put((0, 5, 8, "ccc"))  # written over a part of it
    assert shown.put((0, 0, 10, "a" * 10))
    assert not shown.put((1, 0, 10, "b" * 10))
    shown.forget()
    assert shown.put((1, 0, 10, "b" * 10))


def test_a_terminal_that_takes_nothing_does_not_hold_the_writer_of_text_up() -> None:
    taken, given = os.pipe()
    written = threading.Event()
    writer = Writer(given, written.set, lambda: None)
    writer.start()
    text = "x" * 100_000
    for _ in range(MOST // 100_000 + 5):  # far more than a pipe takes; each returns at once
        writer.write(text)
    assert writer.backlog <= MOST
    expected, got = writer.given, 0
    while got < expected:
        got += len(os.read(taken, 1 << 16))
    assert written.wait(PATIENCE)
    writer.stop()
    assert (writer.backlog, writer.written) == (0, expected)
    os.close(taken)
    os.close(given)


def test_a_terminal_that_is_gone_is_told_once_and_takes_the_rest_silently() -> None:
    taken, given = os.pipe()
    gone = threading.Event()
    os.close(taken)
    writer = Writer(given, lambda: None, gone.set)
    writer.start()
    writer.write("x")
    assert gone.wait(PATIENCE)
    writer.write("y" * 10)
    assert writer.gone and writer.backlog == 0
    writer.stop()
    os.close(given)


def _answer(master: int, answers: int) -> None:
    """A terminal that answers so many questions and then falls silent."""
    seen = b""
    while answers:
        try:
            seen += os.read(master, 1 << 16)
        except OSError:  # nobody is at the other end any more
            return
        while b"\x1b[6n" in seen and answers:
            seen = seen.partition(b"\x1b[6n")[2]
            answers -= 1
            os.write(master, b"\x1b[5;7R")


@pytest.mark.parametrize("answers", [0, 2, 9])
def test_a_terminal_is_measured(answers: int) -> None:
    master, slave = pty.openpty()
    terminal = threading.Thread(target=_answer, args=(master, answers), daemon=True)
    terminal.start()
    found = measure(slave, wait_s=PATIENCE if answers == 9 else 0.3)
    assert (found.round_trip_s is None) == (answers == 0)
    assert (found.bytes_per_s is None) == (answers < 9)
    os.close(slave)
    terminal.join(PATIENCE)
    os.close(master)


def test_what_is_no_terminal_is_told_apart() -> None:
    taken, given = os.pipe()
    with pytest.raises(OSError, match="no terminal"):
        measure(taken)
    os.close(taken)
    os.close(given)


def test_the_doctor_says_what_the_figures_mean() -> None:
    near, far = Figures(0.0004, 5e6, 87.4), Figures(0.31, 2050.0)
    assert link_check(near, {}).detail == (
        "round trip 0.4 ms, takes about 5.0 MB/s, 87 bytes for each token of the last answers"
    )
    assert (link_check(near, {}).status, link_check(far, {}).status) == ("ok", "warn")
    assert "the way to tmux" in link_check(near, {"TMUX": "/tmp/x"}).detail
    assert link_check(Figures(), {}).status == "warn"
    assert (milliseconds(2.13), amount(830), amount(2_100)) == ("2.1 s", "830 B", "2.1 kB")


def test_what_drawing_cost_is_kept_for_the_doctor(tmp_path: Path) -> None:
    keep(tmp_path / "new", 87.43)
    assert kept(tmp_path / "new") == 87.4
    for hostile in ("", "[]", '{"bytes_per_token": "x"}', '{"bytes_per_token": 1e99}', "{" * 5000, "\xff"):
        (tmp_path / "link.json").write_text(hostile, encoding="latin-1")
        assert kept(tmp_path) is None


async def test_what_changes_while_nothing_is_drawn_is_drawn_afterwards(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        app.hold()
        app.hold()
        assert app._batch_count == 1
        app._missed.append(Region(0, 0, 10, 2))
        await pilot.resize_terminal(100, 30)
        app.chat.prompt.put("typed while nothing was drawn")
        await pilot.pause()
        app.release()
        app.release()
        await settle(app, pilot)
        assert app._batch_count == 0 and not app._missed
        assert app.chat.prompt.region.right == 100


async def test_a_slow_link_makes_the_screen_calm_and_is_told(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_app() as (app, pilot):
        far = Figures(0.31, NARROW / 10)
        monkeypatch.setattr(type(app.linking), "figures", property(lambda self: far))
        app.linking.measured()
        await pilot.pause()
        assert app.has_class(FAR) and not app.chat.prompt.cursor_blink
        assert app.status.values.slow_link == "310 ms"
        assert 1 / app.chat.transcript.pacer.fastest == pytest.approx(4)


async def test_words_in_the_corner_lie_above_the_line_of_the_tour(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as (app, pilot):
        await app.screen.mount(rack := ToastRack())  # tests have none of their own
        app.runtime.bus.publish(TourStepped("chat", 1, 4, "Ask something: " + "a long step " * 9))
        await settle(app, pilot)
        below = app.screen.size.height - app.chat.coach.region.y
        assert app.chat.coach.region.height > 1
        assert rack.styles.margin.bottom >= below
        app.chat.coach.rest()
        await settle(app, pilot)
        assert rack.styles.margin.bottom < below


async def test_the_title_of_what_is_asked_is_short(open_app: Open) -> None:
    async with open_app() as (app, pilot):
        app.dispatcher.choose(next(spec for spec in app.specs if spec.name == "session.rename"))
        async with asyncio.timeout(PATIENCE):
            while not isinstance(app.screen, AskText):
                await pilot.pause()
        assert app.screen.question == "session.rename: title"
        assert app.screen.detail.endswith(".")
        await pilot.press("escape")


async def test_a_disk_that_is_full_is_told_while_answers_are_still_saved(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from local_store import Store
    from sophia_tui.store_notices import StoreNotices

    async with open_app(size=(80, 24)) as (app, _):
        notices, spent = StoreNotices(app), True
        monkeypatch.setattr(Store, "on_reserve", property(lambda self: spent))
        notices.reserve()
        assert "The disk is full" in str(app.chat.standing.content)
        assert app.status.values.store_state == "disk full"
        spent = False
        notices.reserve()
        assert not app.chat.standing.says("reserve") and app.status.values.store_state is None
