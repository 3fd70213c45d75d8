"""The pane of persona and voice: who speaks and who listens, with what, what is heard and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.getters import query_one
from textual.reactive import reactive
from textual.widgets import Button

from sophia_tui.screens.dialog import Choice, Choices, Line
from sophia_tui.voice_feed import WORDS, VoiceValues
from sophia_tui.widgets.microphone import LevelMeter

COMMANDS: Final = {
    "talk": "voice.talk",
    "hands-free": "voice.hands_free",
    "forget": "voice.cancel",
    "read": "voice.read",
    "pause": "voice.pause",
    "skip": "voice.skip",
    "repeat": "voice.repeat",
    "hush": "voice.stop",
    "choose-microphone": "voice.microphone",
    "choose-loudspeaker": "voice.loudspeaker",
    "choose-voice": "voice.choose",
    "choose-persona": "persona.choose",
}
"""What each button runs."""
USUAL: Final = "the system's own"
NOBODY: Final = "as the settings say"


class Row(Horizontal):
    """A word, what there is of it, and a button that changes it."""

    DEFAULT_CSS = """
    Row { height: auto; }
    Row > .word { width: 14; color: $text-muted; }
    Row > .value { width: 1fr; height: auto; }
    """

    def __init__(self, word: str, id: str, button: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._word, self._value, self._button = word, id, button

    def compose(self) -> ComposeResult:
        yield Line(self._word, classes="word")
        yield Line("–", id=self._value, classes="value")
        if self._button:
            yield Choice(self._button[1], self._button[0])


class VoicePane(VerticalScroll):
    """Shows what is known, and asks the app for commands."""

    DEFAULT_CSS = """
    VoicePane { padding: 1 2; }
    VoicePane > Choices { height: 1; margin: 0 0 1 0; }
    VoicePane > .title { text-style: bold; margin: 0 0 1 0; }
    VoicePane > .note { color: $text-muted; height: auto; }
    VoicePane #level-row { height: 1; }
    VoicePane #trouble { color: $text-warning; height: auto; margin: 1 0 0 0; }
    """

    values: reactive[VoiceValues] = reactive(VoiceValues(), init=False)
    meter = query_one(LevelMeter)

    def __init__(self, values: VoiceValues, *, key: str = "", ascii_only: bool = False) -> None:
        """`key` is the one that begins to listen."""
        super().__init__(id="voice", can_focus=False)
        self.set_reactive(VoicePane.values, values)
        self._key, self._ascii = key, ascii_only

    def compose(self) -> ComposeResult:
        yield Line("Persona & voice", classes="title")
        yield Row("Listening", "listening")
        with Horizontal(id="level-row"):
            yield Line("", classes="word")
            yield LevelMeter(ascii_only=self._ascii)
        yield Row("You", "partial")
        with Choices():
            yield Choice("Talk", "talk", "primary")
            yield Choice("Hands-free", "hands-free")
            yield Choice("Forget it", "forget")
        yield Row("Speaking", "speaking")
        with Choices():
            yield Choice("Read the answer", "read", "primary")
            yield Choice("Pause", "pause")
            yield Choice("Skip", "skip")
            yield Choice("Repeat", "repeat")
            yield Choice("Stop", "hush")
        yield Row("Persona", "persona", ("choose-persona", "Choose"))
        yield Row("Voice", "mouth", ("choose-voice", "Choose"))
        yield Row("Written by", "ear")
        yield Row("Microphone", "microphone", ("choose-microphone", "Choose"))
        yield Row("Loudspeaker", "loudspeaker", ("choose-loudspeaker", "Choose"))
        yield Line(id="trouble")
        yield Line(self._advice(), classes="note")

    def _advice(self) -> str:
        key = self._key or "/talk"
        return f"{key}, then speak; a silence ends it, or {key} again. No sound is kept. F2 goes back to the chat."

    def on_mount(self) -> None:
        self._show(self.values)

    def on_show(self) -> None:
        """The keys go to the first button: Enter speaks."""
        if self.screen.focused is None:
            self.query_one("#talk", Choice).focus(scroll_visible=False)

    def measured(self, level: float, speech: bool) -> None:
        """How loud it is; nothing is drawn where nobody looks, or nothing may move."""
        if self.is_mounted and self.is_on_screen and not self.meter.still:
            self.meter.set_class(speech, "-speech")
            self.meter.level = level

    def watch_values(self, values: VoiceValues) -> None:
        if self.is_mounted:
            self._show(values)

    def _show(self, values: VoiceValues) -> None:
        for line, text in self._texts(values):
            self.query_one(f"#{line}", Line).update(text)
        self.query_one("#trouble", Line).say(values.trouble)
        self.query_one("#level-row").display = values.open and not self.meter.still
        if not values.open:
            self.meter.level = 0.0
        self._label("talk", "Done" if values.open and not values.hands_free else "Talk")
        self._label("hands-free", "Hands-free off" if values.hands_free else "Hands-free")
        self._label("pause", "Go on" if values.speaking == "paused" else "Pause")
        self._dim(("forget",), values.listening == "off")
        self._dim(("pause", "skip", "hush"), values.speaking == "silent")

    def _texts(self, values: VoiceValues) -> Sequence[tuple[str, str]]:
        on, off = ("(*)", "( )") if self._ascii else ("●", "○")
        state = WORDS[values.listening]
        listening = f"{on} the microphone is on: {state}" if values.open else f"{off} {state}"
        why = f" · {values.off_why}" if values.off_why and not values.open else ""
        said = values.sentence if values.speaking != "silent" else ""
        return (
            ("listening", f"{listening}{why}"),
            ("partial", values.partial or values.heard or "–"),
            ("speaking", f"{values.speaking}: {said}" if said else values.speaking),
            ("persona", values.persona or "nobody in particular"),
            ("mouth", _with(values.mouth or NOBODY, values.mouth_why)),
            ("ear", _with(values.ear or NOBODY, values.ear_why)),
            ("microphone", _device(values.microphone, values.microphone_used)),
            ("loudspeaker", _device(values.loudspeaker, values.loudspeaker_used)),
        )

    def _label(self, button: str, label: str) -> None:
        choice = self.query_one(f"#{button}", Choice)
        if str(choice.label) != label:
            choice.label = label

    def _dim(self, buttons: Sequence[str], dimmed: bool) -> None:
        for button in buttons:
            self.query_one(f"#{button}", Choice).disabled = dimmed

    @on(Button.Pressed)
    async def pressed(self, event: Button.Pressed) -> None:
        """By mouse or key: the app runs it."""
        event.stop()
        await self.run_action(f"app.dispatch({COMMANDS[event.button.id or '']!r})")


def _device(chosen: str, used: str) -> str:
    return f"{used} · {chosen} is not there" if used else chosen or USUAL


def _with(name: str, why: str) -> str:
    return f"{name} · {why}" if why else name
