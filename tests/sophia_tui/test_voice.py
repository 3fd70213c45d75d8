"""The voice in the app: whoever is listened to sees it, wherever they are."""

from __future__ import annotations

from typing import Any

import pytest

from sophia_core.events import (
    LevelMeasured,
    ListeningChanged,
    SettingChanged,
    SpeakingChanged,
    SpeechHeard,
    VoiceChanged,
)
from sophia_core.voice.happenings import VoiceDegraded
from sophia_tui.screens.ask_text import AskText
from sophia_tui.voice_feed import VoiceValues, after
from sophia_tui.widgets.microphone import LevelMeter, MicrophoneSign
from sophia_tui.widgets.status import StatusValues, arrange
from tests.sophia_tui.conftest import settle

OPEN = ListeningChanged("hearing", "so far \x1b[2J", "embedded", open=True)
SHUT = ListeningChanged("off")


@pytest.mark.parametrize("width", [6, 12, 20, 40, 80, 200])
def test_the_open_microphone_is_in_the_status_bar_at_any_width(width: int) -> None:
    values = StatusValues(
        provider="a", model="a-very-long-model-name", mode="NORMAL", level=4, level_text="offline", microphone="mic",
        level_reason="nothing can be reached", store_state="not saved", busy=True, macro="review 2/5", recording=3,
    )  # fmt: skip
    assert arrange(values, width)[0].part == "microphone"


async def test_the_sign_is_in_a_dialog_that_is_open_and_in_one_that_opens(open_app: Any) -> None:
    async with open_app(size=(60, 12)) as (app, pilot):
        app.push_screen(AskText("One?"))
        await settle(app, pilot)
        assert not app.screen.query_one(MicrophoneSign).display
        app.runtime.bus.publish(OPEN)
        assert app.screen.query_one(MicrophoneSign).display
        app.push_screen(AskText("Two?"))
        await settle(app, pilot)
        assert all(screen.query_one(MicrophoneSign).display for screen in app.screen_stack[1:])
        app.runtime.bus.publish(SHUT)
        await settle(app, pilot)
        assert not any(screen.query_one(MicrophoneSign).display for screen in app.screen_stack[1:])
        assert app.status.values.microphone == ""


async def test_the_meter_moves_only_where_things_may_move(open_app: Any) -> None:
    async with open_app() as (app, pilot):
        app.set_class(False, "-still")
        await pilot.press("f3")
        app.runtime.bus.publish(OPEN)
        app.runtime.bus.publish(LevelMeasured(0.5, speech=True))
        await settle(app, pilot)
        meter = app.screen.query_one(LevelMeter)
        assert meter.level == 0.5 and meter.size.width > 10
        app.set_class(True, "-still")
        app.runtime.bus.publish(LevelMeasured(0.9))
        assert meter.level == 0.5
        app.runtime.bus.publish(SHUT)
        assert meter.level == 0.0


async def test_what_is_heard_is_never_more_than_text(open_app: Any) -> None:
    async with open_app() as (app, pilot):
        app.runtime.bus.publish(OPEN)
        await settle(app, pilot)
        assert app.chat.standing.says("voice") and "\x1b" not in app.voice.values.partial
        app.runtime.bus.publish(SHUT)
        assert not app.chat.standing.says("voice")


@pytest.mark.parametrize(
    ("reason", "said"),
    [("Server: no such route.", "Server: no such route. Next."), ("It is gone.", "server: It is gone. Next.")],
)
def test_who_failed_is_named_once(reason: str, said: str) -> None:
    assert after(VoiceValues(), VoiceDegraded("mouth", "server", reason, "Next.")).trouble == said


def test_why_another_one_listens_or_speaks_is_not_said_of_the_first() -> None:
    second = after(VoiceValues(), VoiceChanged("ear", "embedded", "Server: it has no speech."))
    assert after(second, ListeningChanged("opening", ear="embedded", open=True)).ear_why
    again = after(second, ListeningChanged("opening", ear="server", open=True))
    assert (again.ear, again.ear_why) == ("server", "")
    assert after(again, SpeechHeard("hello", "embedded", 1.0, "prompt")).ear == "embedded"
    spoken = after(VoiceValues(), VoiceChanged("mouth", "embedded", "Server: it has no speech."))
    assert after(spoken, SpeakingChanged("speaking", mouth="server")).mouth_why == ""


def test_another_device_than_the_chosen_one_is_named_while_it_stands_in() -> None:
    chosen = after(VoiceValues(loudspeaker="desk"), SettingChanged("voice.input", None, "headset", "settings.set"))
    gone = after(chosen, VoiceDegraded("device", "headset", "It is not there.", "Plug it in.", "laptop"))
    assert (gone.microphone, gone.microphone_used, gone.loudspeaker_used) == ("headset", "laptop", "")
    assert after(gone, ListeningChanged("opening", open=True)).microphone_used == "", "it may be back"
    quiet = after(gone, VoiceDegraded("device", "desk", "It is not there.", "Plug it in.", "hall"))
    assert quiet.loudspeaker_used == "hall"
    assert after(quiet, SpeakingChanged("silent")).loudspeaker_used == ""
