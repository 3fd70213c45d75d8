"""What the app shows of the voice: in the status bar, in dialogs, above the prompt and in the pane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sophia_core.events import (
    Event,
    LevelMeasured,
    ListeningChanged,
    PersonaChanged,
    SettingChanged,
    SpeakingChanged,
    SpeechHeard,
    VoiceChanged,
    VoiceDegraded,
)
from sophia_core.sanitize import one_line
from sophia_tui.bindings import key_hints
from sophia_tui.widgets.microphone import OPEN, MicrophoneSign

if TYPE_CHECKING:
    from sophia_core.voice.happenings import ListeningState, SpeakingState
    from sophia_tui.app import SophiaApp
    from sophia_tui.panes.voice import VoicePane

STANDING: Final = "voice"
WORDS: Final = {
    "off": "off",
    "opening": "opening",
    "waiting": "waiting for you to speak",
    "hearing": "hearing you",
    "writing": "writing it down",
}
"""What a person reads for each state of listening."""


@dataclass(frozen=True, slots=True)
class VoiceValues:
    """Everything that is known of the voice now."""

    listening: ListeningState = "off"
    open: bool = False
    """The microphone is."""
    hands_free: bool = False
    partial: str = ""
    heard: str = ""
    """What was said last, as it was written down."""
    ear: str = ""
    ear_why: str = ""
    """Why it is not a better one."""
    off_why: str = ""
    speaking: SpeakingState = "silent"
    sentence: str = ""
    mouth: str = ""
    mouth_why: str = ""
    trouble: str = ""
    """What failed last, and what to do."""
    persona: str = ""
    microphone: str = ""
    loudspeaker: str = ""
    """Chosen ones; empty: the system's own."""
    microphone_used: str = ""
    loudspeaker_used: str = ""
    """What was opened instead, where the chosen one was not there."""


def after(values: VoiceValues, event: Event) -> VoiceValues:
    """The values once this event is known; pure."""
    match event:
        case ListeningChanged():
            return _listening(values, event)
        case SpeechHeard():
            why = values.ear_why if event.ear == values.ear else ""
            heard, ear = one_line(event.text, 2000), one_line(event.ear, 40) or values.ear
            return replace(values, heard=heard, partial="", trouble="", ear=ear, ear_why=why)
        case SpeakingChanged():
            mouth = one_line(event.mouth, 40) if event.mouth else values.mouth
            why = values.mouth_why if mouth == values.mouth else ""
            said = one_line(event.sentence, 600)
            used = "" if event.state == "silent" else values.loudspeaker_used
            spoken = replace(values, speaking=event.state, sentence=said, mouth=mouth, mouth_why=why)
            return replace(spoken, loudspeaker_used=used)
        case VoiceChanged(part="ear"):
            return replace(values, ear=one_line(event.name or "nobody", 40), ear_why=one_line(event.reason, 200))
        case VoiceChanged(part="mouth"):
            return replace(values, mouth=one_line(event.name or "nobody", 40), mouth_why=one_line(event.reason, 200))
        case VoiceDegraded():
            twice = event.reason.casefold().startswith(f"{event.name.casefold()}:")
            words = " ".join(filter(None, (event.reason if twice else f"{event.name}: {event.reason}", event.hint)))
            told = replace(values, trouble=one_line(words, 400))
            return _in_place_of(told, event.name, event.next) if event.part == "device" and event.next else told
        case PersonaChanged():
            return replace(values, persona=one_line(event.title, 40))
        case SettingChanged(name="voice.input"):
            return replace(values, microphone=one_line(event.after or "", 80), microphone_used="")
        case SettingChanged(name="voice.output"):
            return replace(values, loudspeaker=one_line(event.after or "", 80), loudspeaker_used="")
        case _:
            return values


def _in_place_of(values: VoiceValues, chosen: str, used: str) -> VoiceValues:
    """Another device than the chosen one is open."""
    used = one_line(used, 80)
    is_microphone = values.microphone == one_line(chosen, 80)
    return replace(values, microphone_used=used) if is_microphone else replace(values, loudspeaker_used=used)


def _listening(values: VoiceValues, event: ListeningChanged) -> VoiceValues:
    ear = one_line(event.ear, 40) if event.ear else values.ear
    return replace(
        values,
        listening=event.state,
        open=event.open,
        hands_free=event.hands_free,
        partial=one_line(event.partial, 2000),
        ear=ear,
        ear_why=values.ear_why if ear == values.ear else "",  # why it was not the first is not said of the first
        off_why=one_line(event.reason, 200),
        trouble="" if event.state == "hearing" else values.trouble,
        microphone_used="" if event.state == "opening" else values.microphone_used,
    )


class VoiceFeed:
    """Keeps all of that true. The pane is built when it is first looked at, from what is known here."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self.values = VoiceValues()
        self._pane: VoicePane | None = None

    def pane(self) -> VoicePane:
        """The pane, built when it is first looked at."""
        from sophia_tui.panes.voice import VoicePane

        key = key_hints(self._app.keys, [("voice.talk", "")])
        self._pane = VoicePane(self.values, key=key[0][0] if key else "", ascii_only=self._app.ascii_only)
        return self._pane

    def attend(self) -> None:
        """There is a runtime now: what is said may come into the prompt."""
        self._app.runtime.voice.listening.editable = True
        voice = self._app.runtime.settings.voice
        self.values = replace(self.values, microphone=one_line(voice.input, 80), loudspeaker=one_line(voice.output, 80))

    def heard(self, event: Event) -> None:
        """One event of the bus."""
        if isinstance(event, LevelMeasured):
            if self._pane is not None:
                self._pane.measured(event.level, event.speech)
            return
        values = after(self.values, event)
        if values == self.values and not isinstance(event, SpeechHeard):
            return
        before, self.values = self.values, values
        if before.open != values.open:
            self._sign(values.open)
        self._status()
        self._standing()
        if self._pane is not None:
            self._pane.values = values
        if isinstance(event, SpeechHeard) and event.to == "prompt":
            self._into_prompt(event.text)

    def _sign(self, on: bool) -> None:
        """The sign in every dialog that is open, or will be."""
        self._app.set_class(on, OPEN)
        for screen in self._app.screen_stack:
            for sign in screen.query(MicrophoneSign):
                sign.display = on

    def _status(self) -> None:
        status, values = self._app.status, self.values
        status.values = replace(
            status.values,
            microphone=("hands-free" if values.hands_free else "mic") if values.open else "",
            speaking=values.speaking if values.speaking != "silent" else "",
        )

    def _standing(self) -> None:
        """What is heard stands above the prompt, for those who look there."""
        values, standing = self.values, self._app.chat.standing
        if values.listening == "off" or (values.listening == "waiting" and values.hands_free):
            standing.clear(STANDING)
            return
        key = key_hints(self._app.keys, [("voice.talk", "")])
        ends = f" · {key[0][0]} or a silence ends it" if key and values.listening in ("waiting", "hearing") else ""
        said = f"“{values.partial[-160:]}”" if values.partial else WORDS[values.listening].capitalize()
        standing.say(STANDING, f"{said}{ends}", "info")

    def _into_prompt(self, text: str) -> None:
        """Behind what is typed already, to be edited and sent; one step of undo takes it away again."""
        app = self._app
        draft = app.chat.prompt.draft
        if app.dispatcher.is_command(draft):  # the line that began to listen
            draft = ""
        app.chat.prompt.put(f"{draft.rstrip()} {text}" if draft.strip() else text)
        if len(app.screen_stack) == 1 and not self.values.hands_free:
            app.show_pane("chat")
