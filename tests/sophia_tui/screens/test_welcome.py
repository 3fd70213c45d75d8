"""The welcome: never in the way of typing, and smaller where there is less room."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import TextArea

from sophia_tui.screens.dialog import Choice
from sophia_tui.screens.welcome import SAMPLES, Welcome


def welcome() -> Welcome:
    made = Welcome([("Enter", "sends"), ("F1", "help")], model="Loading the embedded model")
    made.styles.height = "1fr"
    return made


async def test_typing_goes_to_the_prompt_from_the_start(show: Any) -> None:
    async with show(below=welcome()) as shown:
        await shown.type("1 hello")
        assert shown.host.query_one(TextArea).text == "1 hello" and shown.host.heard == []


@pytest.mark.parametrize(
    ("keys", "sample"), [(["enter"], 3), (["up", "up", "enter"], 1), (["3"], 2), (["up", "down", "enter"], 3)]
)
async def test_a_sample_is_chosen_by_keyboard(show: Any, keys: list[str], sample: int) -> None:
    async with show(below=welcome()) as shown:
        await shown.press("shift+tab", *keys)
        assert shown.host.heard == [Welcome.Chosen(SAMPLES[sample])]


async def test_a_sample_is_chosen_by_mouse(show: Any) -> None:
    async with show(below=welcome()) as shown:
        await shown.pilot.click("#sample-2")
        await shown.pilot.pause()
        assert shown.host.heard == [Welcome.Chosen(SAMPLES[1])]


async def test_letters_typed_on_a_sample_are_passed_on(show: Any) -> None:
    async with show(below=welcome()) as shown:
        shown.host.query_one("#sample-1").focus()
        await shown.press("h", "9")
        assert shown.host.heard == [Welcome.Typed("h")]


async def test_the_state_of_the_model_is_shown(show: Any) -> None:
    async with show(below=welcome()) as shown:
        shown.host.query_one(Welcome).say_model("Loading the embedded model", 0.43)
        assert "Loading the embedded model 43 %" in shown.says()
        shown.host.query_one(Welcome).say_model("The embedded [model] is ready")
        assert "The embedded [model] is ready" in shown.says()
        shown.host.query_one(Welcome).say_model("Loading", 7.0)
        assert "Loading 100 %" in shown.says()


@pytest.mark.parametrize(
    ("size", "samples", "name"), [((80, 24), 4, True), ((80, 14), 4, True), ((80, 10), 0, True), ((20, 5), 0, False)]
)
async def test_less_is_shown_where_there_is_less_room(
    show: Any, size: tuple[int, int], samples: int, name: bool
) -> None:
    async with show(below=welcome(), size=size) as shown:
        await shown.settle()
        own = shown.host.query_one(Welcome)
        visible = [each for each in own.query(Choice) if each.display]
        assert len(visible) == samples
        assert all(own.region.contains_region(each.region) for each in visible)
        assert own.query_one("#hello").display == name
        await shown.type("still typing")
        assert shown.host.query_one(TextArea).text == "still typing"
