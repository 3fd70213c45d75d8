"""The status row: what is said at which width, and when it is drawn again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.color import Color
from textual.content import Content

from sophia_tui.widgets.status import GAP, StatusBar, StatusValues, arrange

FULL = StatusValues(
    provider="gh200",
    model="Qwen2.5-72B-Instruct",
    tokens_per_s=38.24,
    tokens_in=1204,
    tokens_out=340,
    cost_usd=0.0123,
    level=0,
    level_text="primary",
    hints=(("f1", "help"), ("ctrl+p", "palette"), ("ctrl+n", "new")),
)


def line(values: StatusValues, width: int, **options: Any) -> str:
    return GAP.join(piece.text for piece in arrange(values, width, **options))


def test_eighty_columns_say_all_that_matters() -> None:
    said = line(FULL, 78)
    for part in ("● L0", "gh200 · Qwen2.5-72B-Instruct", "38.2 tok/s", "↑1.2k ↓340", "$0.0123"):
        assert part in said


def test_twenty_columns_say_level_and_model() -> None:
    assert line(FULL, 20) == "● L0  Qwen2.5-72B-I…"


def test_a_wide_row_writes_everything_out() -> None:
    said = line(replace(FULL, weak_key=True, store_state="unsaved", following=False, unseen=12), 198)
    assert said == (
        "● L0 primary  gh200 · Qwen2.5-72B-Instruct  38.2 tok/s  1.2k in 340 out  $0.0123  ↓ 12 new  ! unsaved"
        "  ! weak key  f1 help  ctrl+p palette  ctrl+n new"
    )


def test_hints_fill_what_is_left() -> None:
    assert line(FULL, 92).endswith("f1 help")
    assert "help" not in line(FULL, 78)


@pytest.mark.parametrize(
    ("level", "sign", "ascii_sign"),
    [(0, "● L0", "* L0"), (1, "◕ L1", "+ L1"), (2, "◑ L2", "$ L2"), (3, "◐ L3", "~ L3"), (4, "○ L4", "! L4")],
)
def test_a_level_is_a_sign_and_a_word(level: int, sign: str, ascii_sign: str) -> None:
    values = StatusValues(level=level, level_text="word")
    assert line(values, 40) == f"{sign} word"
    assert line(values, 40, ascii_only=True) == f"{ascii_sign} word"


def test_the_reason_is_said_where_there_is_room() -> None:
    values = replace(FULL, level=3, level_text="embedded", level_reason="no server is configured", hints=())
    values = replace(values, usual_level=3)
    assert line(values, 160).endswith("no server is configured")
    assert "no server" not in line(values, 78)


def test_the_reason_of_a_worse_level_goes_before_figures() -> None:
    values = replace(FULL, level=1, level_text="secondary", level_reason="gh200-a: nothing answers at http://x:8000")
    assert line(values, 78).startswith("◕ L1 secondary  gh200 · Qwen2.5-72B-Instruct  gh200-a: nothing answers")
    assert "does not" not in line(replace(values, level=0, level_reason="gh200 does not answer"), 200)


def test_what_is_being_done_is_cut_before_it_is_left_out() -> None:
    values = replace(FULL, busy=True, doing="trying it for the third time")
    assert "▸ trying it for the third time" in line(values, 120)
    assert "▸ trying it for" in line(values, 40)


def test_what_is_wrong_is_said_before_figures() -> None:
    values = replace(FULL, store_state="locked", embedded_progress=("loading the model", 0.42))
    said = line(values, 40)
    assert "! locked" in said
    assert "42%" in said
    assert "tok/s" not in said


def test_progress_and_busy() -> None:
    assert "loading the model 42%" in line(StatusValues(embedded_progress=("loading the model", 0.421)), 60)
    assert "waiting" in line(StatusValues(embedded_progress=("waiting", None), busy=True), 60)
    assert "▸ answering" in line(StatusValues(busy=True), 60)
    assert "> answering" in line(StatusValues(busy=True), 60, ascii_only=True)


def test_lines_below_are_said_only_to_a_reader_who_scrolled_away() -> None:
    assert "↓ 12 new" in line(StatusValues(following=False, unseen=12), 60)
    assert "new" not in line(StatusValues(following=True, unseen=12), 60)
    assert "new" not in line(StatusValues(following=False, unseen=0), 60)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (99_940, "99.9k"), (128_000, "128k"), (2_500_000, "2.5M")],
)
def test_counts(count: int, text: str) -> None:
    assert f"{text} in" in line(StatusValues(tokens_in=count, tokens_out=7), 60)


@pytest.mark.parametrize(("dollars", "text"), [(0.0, "$0.00"), (0.00042, "$0.0004"), (0.5, "$0.50"), (12.5, "$12.50")])
def test_costs(dollars: float, text: str) -> None:
    assert text in line(StatusValues(cost_usd=dollars), 60)


def test_text_from_outside_is_made_harmless() -> None:
    said = line(StatusValues(provider="p\x1b[2J", model="m\nn", level_text="[red]x"), 80)
    assert said == "● L0 [red]x  p␛[2J · m n"


@given(
    st.builds(
        StatusValues,
        provider=st.text(max_size=20),
        model=st.text(max_size=60),
        tokens_per_s=st.none() | st.floats(0, 1e6),
        tokens_in=st.integers(0, 10**9),
        tokens_out=st.integers(0, 10**9),
        cost_usd=st.none() | st.floats(0, 1e4),
        level=st.integers(-1, 6),
        level_text=st.text(max_size=12),
        level_reason=st.text(max_size=80),
        store_state=st.none() | st.text(max_size=30),
        weak_key=st.booleans(),
        busy=st.booleans(),
        embedded_progress=st.none() | st.tuples(st.text(max_size=30), st.none() | st.floats(-1, 2)),
        following=st.booleans(),
        unseen=st.integers(0, 10**7),
        hints=st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=12)), max_size=6).map(tuple),
    ),
    st.integers(0, 220),
    st.booleans(),
)
def test_it_always_fits(values: StatusValues, width: int, ascii_only: bool) -> None:
    said = line(values, width, ascii_only=ascii_only)
    assert cell_len(said) <= width
    if width >= 4:
        assert "L" in said.split(GAP)[0]


class Room(App[None]):
    """A status row at the bottom, and what was clicked."""

    def __init__(self, values: StatusValues = FULL) -> None:
        super().__init__()
        self.bar = StatusBar(values)
        self.clicked: list[tuple[str, str | None]] = []

    def compose(self) -> ComposeResult:
        yield self.bar

    def on_status_bar_clicked(self, event: StatusBar.Clicked) -> None:
        self.clicked.append((event.part, event.key))


async def test_it_is_drawn_again_only_when_it_reads_differently() -> None:
    app = Room()
    async with app.run_test(size=(160, 24)) as pilot:
        await pilot.pause()
        drawn: list[bool] = []

        def counted() -> Content:
            drawn.append(True)
            return render()

        layouts: list[object] = []
        app.screen.screen_layout_refresh_signal.subscribe(app.bar, layouts.append)
        render = app.bar.render
        app.bar.render = counted  # type: ignore[method-assign]
        app.bar.values = replace(FULL, tokens_per_s=38.21)
        await pilot.pause()
        assert drawn == []
        app.bar.values = replace(FULL, tokens_per_s=40.0)
        await pilot.pause()
        assert drawn == [True]
        assert layouts == []
        assert "40.0 tok/s" in app.bar.render_line(0).text


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (20, 5), (3, 2)])
async def test_it_is_one_row_at_any_size(size: tuple[int, int]) -> None:
    app = Room()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert app.bar.size.height == 1
        assert cell_len(app.bar.render_line(0).text) <= app.bar.size.width
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        assert "38.2 tok/s" in app.bar.render_line(0).text


async def test_hints_stand_at_the_right_end() -> None:
    app = Room()
    async with app.run_test(size=(160, 24)) as pilot:
        await pilot.pause()
        assert app.bar.render_line(0).text.rstrip().endswith("ctrl+n new")
        assert len(app.bar.render_line(0).text.rstrip()) == app.bar.content_size.width


async def test_parts_can_be_clicked() -> None:
    app = Room()
    async with app.run_test(size=(160, 24)) as pilot:
        await pilot.pause()
        text = app.bar.render_line(0).text
        for word in ("L0", "Qwen", "tok/s", "palette"):
            await pilot.click(StatusBar, offset=(text.index(word) + 1, 0))
        await pilot.click(StatusBar, offset=(text.index("f1") - 4, 0))
        await pilot.pause()
        assert app.clicked == [("level", None), ("model", None), ("speed", None), ("hint", "ctrl+p")]


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "solarized-light", "nord"])
async def test_every_part_can_be_read_in_light_and_dark(theme: str) -> None:
    app = Room(replace(FULL, level=4, level_text="offline", level_reason="no network", store_state="full", busy=True))
    async with app.run_test(size=(200, 24)) as pilot:
        app.theme = theme
        await pilot.pause()
        background = app.bar.background_colors[1]
        for segment in app.bar.render_line(0):
            style = segment.style
            if segment.text.strip() and style is not None and style.color is not None:
                paper = Color.from_rich_color(style.bgcolor) if style.bgcolor else background
                ink = Color.from_rich_color(style.color)
                assert abs(ink.brightness - paper.brightness) > 0.2, segment.text
