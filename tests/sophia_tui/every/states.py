"""Every screen there is, in each of its main states, made on the real app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from textual.screen import Screen
from textual.widgets import TextArea
from textual.widgets._toast import Toast

from backend_client import BackendError
from backend_client.errors import Unreachable
from sophia_core.attach.pictures import plain_png
from sophia_core.attach.reading import Ready
from sophia_core.events import LevelMeasured, ListeningChanged, SpeakingChanged, VoiceDegraded
from sophia_core.metrics.ports import Span
from sophia_core.metrics.tracing import Waterfall
from sophia_tui.screens.allow_program import AllowProgram
from sophia_tui.screens.ask_secret import AskSecret
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.ask_value import AskValue
from sophia_tui.screens.compare import CompareScreen
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.file_picker import FilePicker
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.macro_editor import MacroEditor
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.persona_editor import PersonaEditor
from sophia_tui.screens.personas import PersonaScreen
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.preview import PreviewScreen
from sophia_tui.screens.recovery_key import RecoveryKey
from sophia_tui.screens.settings import SettingsScreen
from sophia_tui.screens.sign_in import SignIn
from sophia_tui.screens.store_trouble import StoreTrouble
from sophia_tui.screens.unlock import Unlock
from sophia_tui.screens.waterfall import WaterfallScreen
from tests.scripted import ScriptedReply, chat, delta, refusal
from tests.sophia_tui.every.servers import models
from tests.sophia_tui.every.talking import shown
from tests.sophia_tui.every.walk import Walk

RICH = """Here is **what** to do, in `three` steps:

1. Look at the *table*
2. Run the code

| name | size |
|---|---:|
| one.txt | 12 kB |
| two.txt | 3 MB |

```python
def reverse(items: list[int]) -> list[int]:
    return items[::-1]  # a copy
```

> And a quotation with a [link](https://example.org).
"""
KEY = "ABCDEFG-1234567-HJKMNPQ-RSTVWXY-0A1B2C3-Z9Y8X7W-QWERTYP-7654321"
Make: TypeAlias = Callable[[Walk], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class State:
    """What to do to get there, and which screen shows it."""

    make: Make
    screen: str = "MainScreen"
    script: tuple[ScriptedReply | BackendError, ...] = ()
    pages: Mapping[str, ScriptedReply] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    toasts: bool = False


STATES: dict[str, State] = {}


def state(
    screen: type[Screen[Any]] | None = None,
    *script: ScriptedReply | BackendError,
    pages: Mapping[str, ScriptedReply] | None = None,
    **env: str,
) -> Callable[[Make], Make]:
    """Declares a state of a screen; none: the main one."""

    def mark(make: Make) -> Make:
        shown = screen.__name__ if screen else "MainScreen"
        STATES[make.__name__] = State(make, shown, script, pages or {}, env)
        return make

    return mark


async def read_again(walk: Walk) -> None:
    """As after the next start: how fast an answer came, which wraps as it likes, is not known any more."""
    turns, transcript = walk.app.chat.turns, walk.app.chat.transcript
    turns._footers.clear()
    await walk.do(f"/open {walk.app.runtime.current.session_id}")
    await walk.until(lambda: not any("first token" in each.footer for each in transcript.entries), "what is stored")


# -- the main screen


@state()
async def welcome(walk: Walk) -> None:
    """Nothing was asked yet."""


@state(None, chat(RICH, reasoning=("First I think.\nThen I think again.",), tokens=(120, 80)))
async def conversation(walk: Walk) -> None:
    await walk.ask("How do I reverse a list?")
    await read_again(walk)


@state(None, chat("An answer.", reasoning=("First I think.\nThen I think again.",)))
async def unfolded(walk: Walk) -> None:
    Path("notes.txt").write_text("some notes\n")
    await walk.do("/attach notes.txt")
    await walk.ask("What is in it?")
    await read_again(walk)
    await walk.press("alt+r")
    await walk.press("alt+up", "alt+up")
    await walk.press("alt+u")


@state(None, ScriptedReply((delta(role="assistant", content="Half of an answer that is still"), asyncio.Event())))
async def streaming(walk: Walk) -> None:
    await walk.begin("Tell me a long story")
    await walk.until(lambda: "still" in walk.answer)


@state(None, refusal(400, "the model does not know this parameter"))
async def an_error(walk: Walk) -> None:
    await walk.ask("What is wrong?")
    await walk.until(lambda: "Check the provider" in walk.app.chat.transcript.entries[-1].footer, "the next step")


@state(None, *[Unreachable("nobody answers")] * 3)
async def queued(walk: Walk) -> None:
    await walk.do("Is anybody there?")
    await walk.until(lambda: walk.app.chat.transcript.entries[-1].status == "queued")


@state(None, chat("about pelicans"), chat("about herons"), chat("about owls"))
async def sessions_list(walk: Walk) -> None:
    for name in ("Birds of the sea", "Birds of the river", "Birds of the night"):
        await walk.press("ctrl+n")
        await walk.ask(name)
    await read_again(walk)
    await walk.do("/pin")
    await walk.do("/move Nature")
    await walk.do("/tag owls")
    if not walk.app.chat.sessions.display:
        await walk.press("ctrl+b")


@state(None, chat("about pelicans and their beaks"))
async def search_hits(walk: Walk) -> None:
    await walk.ask("Birds of the sea")
    await read_again(walk)
    await walk.press("ctrl+f")
    await walk.pilot.press(*"pelicans")
    await walk.until(lambda: "»" in shown(walk), "the hit")


@state(None, chat("about pelicans"))
async def a_list_in_the_conversation(walk: Walk) -> None:
    await walk.ask("Birds of the sea")
    await read_again(walk)
    await walk.do("/sessions")
    await walk.do("/session.messages")


@state()
async def slash_commands(walk: Walk) -> None:
    await walk.pilot.press(*"/se")
    await walk.pilot.pause()


@state()
async def attached(walk: Walk) -> None:
    Path("notes.txt").write_text("some notes\n")
    Path("red.png").write_bytes(plain_png(40, 20, (255, 0, 0)))
    await walk.do("/attach notes.txt")
    await walk.do("/attach red.png")


@state()
async def the_tour(walk: Walk) -> None:
    await walk.do("/tour")


@state(None, chat("one"), chat("two"))
async def editing_a_question(walk: Walk) -> None:
    await walk.ask("What is a process?")
    await walk.press("ctrl+r")
    await read_again(walk)
    await walk.press("ctrl+g")


@state()
async def voice_pane(walk: Walk) -> None:
    await walk.press("f3")


@state()
async def voice_hearing(walk: Walk) -> None:
    """Somebody speaks: seen in the pane and in the status bar."""
    await walk.press("f3")
    walk.app.runtime.bus.publish(ListeningChanged("hearing", "How do I reverse a", "embedded", open=True))
    walk.app.runtime.bus.publish(LevelMeasured(0.6, speech=True))
    walk.app.runtime.bus.publish(VoiceDegraded("ear", "server", "No connection.", "Is it running?", "embedded"))
    await walk.settle()


@state()
async def voice_in_chat(walk: Walk) -> None:
    """What is heard stands above the prompt, and SOPHIA speaks."""
    walk.app.runtime.bus.publish(SpeakingChanged("speaking", "A list knows its length.", "embedded"))
    walk.app.runtime.bus.publish(ListeningChanged("hearing", "Why does the list", "embedded", open=True))
    await walk.settle()


@state(AskText)
async def voice_behind_a_dialog(walk: Walk) -> None:
    """The microphone is open below a dialog, and above it."""
    walk.app.runtime.bus.publish(ListeningChanged("waiting", hands_free=True, open=True))
    walk.app.run_worker(walk.app.push_screen_wait(AskText("What is the new persona called?")))
    await walk.screen(AskText)


@state(CompareScreen, chat(RICH), chat(RICH))
async def comparing(walk: Walk) -> None:
    await walk.begin("/chat.compare alpha beta 'How do I reverse a list?'")
    await walk.screen(CompareScreen)
    await walk.until(lambda: not walk.app.runtime.chat.busy, "both answers")


@state()
async def recording(walk: Walk) -> None:
    await walk.do("/macro.record")


async def refused_command(walk: Walk) -> None:
    await walk.do("/session.opne")
    for said in list(walk.app._notifications):
        walk.app.clear_notifications()
        walk.app.notify(said.message, severity=said.severity, timeout=3600, markup=False)  # for as long as it takes
    await walk.until(lambda: walk.app.screen.query(Toast), "the words in the corner")


STATES["refused_command"] = State(refused_command, toasts=True)


@state(SOPHIA_KEYS__PRESET="emacs")
async def which_key(walk: Walk) -> None:
    walk.app.keyboard.learn({"preset": "emacs"})
    walk.app.keyboard.hint_delay = 0.001
    await walk.pilot.press("ctrl+x")
    await walk.until(lambda: "and then" in shown(walk), "the hints")


@state(SOPHIA_SCREEN__ASCII_ONLY="true")
async def ascii_only(walk: Walk) -> None:
    """Where the locale has no line-drawing characters."""


# -- dialogs that the app opens


@state(PaletteScreen, chat("one"))
async def palette(walk: Walk) -> None:
    await walk.ask("Birds of the sea")
    await read_again(walk)
    await walk.app.macro_guide.refresh()
    await walk.pilot.press("ctrl+p")
    await walk.screen(PaletteScreen)


@state(PaletteScreen)
async def palette_found(walk: Walk) -> None:
    await walk.app.macro_guide.refresh()
    await walk.pilot.press("ctrl+p")
    await walk.screen(PaletteScreen)
    await walk.pilot.press(*"theme")


@state(HelpScreen)
async def help_screen(walk: Walk) -> None:
    await walk.pilot.press("f1")
    await walk.screen(HelpScreen)


@state(HelpScreen)
async def help_here(walk: Walk) -> None:
    walk.app.dispatcher.start("help.here")
    await walk.screen(HelpScreen)


@state(SettingsScreen)
async def settings(walk: Walk) -> None:
    await walk.begin("/settings")
    await walk.screen(SettingsScreen)


@state(AskText)
async def a_setting(walk: Walk) -> None:
    await settings(walk)
    await walk.pilot.press(*"temperature", "enter")
    await walk.screen(AskText)


@state(PersonaScreen)
async def personas(walk: Walk) -> None:
    await walk.begin("/personas")
    await walk.screen(PersonaScreen)
    await walk.pilot.press(*"teach")


@state(PersonaEditor)
async def persona_editor(walk: Walk) -> None:
    await walk.begin("/persona.edit captain")
    await walk.screen(PersonaEditor)


@state(Pick)
async def themes(walk: Walk) -> None:
    await walk.pilot.press("ctrl+t")
    await walk.screen(Pick)


@state(Pick, chat("one"), chat("two"), chat("three"))
async def branch_tree(walk: Walk) -> None:
    await walk.ask("What is a process?")
    await walk.press("ctrl+r")
    await walk.press("ctrl+g")
    await walk.paste(" And a thread?")
    await walk.press("enter")
    await walk.begin("/tree")
    await walk.screen(Pick)


@state(Pick, pages={"/models": models("alpha", "beta")})
async def wizard_servers(walk: Walk) -> None:
    await walk.begin("/connect")
    await walk.screen(Pick)


@state(AskText, pages={"/models": models("alpha")})
async def wizard_name(walk: Walk) -> None:
    await wizard_servers(walk)
    await walk.pilot.press("enter")
    await walk.screen(AskText)


@state(AskText)
async def wizard_address(walk: Walk) -> None:
    await walk.begin("/connect")
    await walk.screen(AskText)


@state(MacroEditor)
async def macro_editor(walk: Walk) -> None:
    await walk.begin("/macro mine")
    await walk.screen(MacroEditor)


@state(MacroEditor)
async def macro_editor_mistakes(walk: Walk) -> None:
    await walk.begin("/macro mine")
    editor = await walk.screen(MacroEditor)
    editor.query_one(TextArea).text = 'help = 3\n[[steps]]\nrum = "nothing"\n'
    await walk.until(lambda: "quotation marks" in shown(walk), "the mistakes")


@state(AskValue)
async def a_parameter(walk: Walk) -> None:
    walk.app.dispatcher.choose(walk.app.runtime.registry.get("theme.use").spec)
    await walk.screen(AskValue)


@state(FilePicker)
async def file_picker(walk: Walk) -> None:
    Path("inner").mkdir()
    Path("notes.txt").write_text("first line\nsecond line\n")
    Path("red.png").write_bytes(plain_png(40, 20, (255, 0, 0)))
    await walk.pilot.press("alt+a")
    await walk.screen(FilePicker)
    await walk.pilot.press("down")
    await walk.pilot.pause()


@state(Confirm, chat("one"))
async def confirm(walk: Walk) -> None:
    await walk.ask("Birds of the sea")
    await read_again(walk)
    await walk.begin("/session.delete")
    await walk.screen(Confirm)


@state(AskSecret)
async def new_passphrase(walk: Walk) -> None:
    await walk.begin("/passphrase")
    await walk.screen(AskSecret)
    await walk.paste("four unrelated words")


@state(Unlock, chat("a secret"))
async def locked(walk: Walk) -> None:
    await (await walk.app.runtime.vault.get()).keys.add_passphrase("four unrelated words")
    await walk.ask("Tell me")
    await walk.begin("/lock")
    await walk.screen(Unlock)


# -- dialogs that need what a test has not


def pushed(name: str, kind: type[Screen[Any]], make: Callable[[], Screen[Any]], *keys: str) -> None:
    """A dialog as it is when something opens it."""

    async def open_it(walk: Walk) -> None:
        walk.app.push_screen(make())
        await walk.screen(kind)
        await walk.pilot.press(*keys)

    STATES[name] = State(open_it, kind.__name__)


TEXT = Ready("notes.txt", "file", "text/plain", b"first line\nsecond line\n", "text, 2 lines")
TRACE = Waterfall(
    "01ABC",
    "qwen@near",
    "complete",
    1_900_000_000_000,
    "a" * 32,
    (
        Span("a" * 32, "1" * 16, "", "chat qwen", 100.0, 104.0, True, {"gen_ai.usage.input_tokens": 7}, "client"),
        Span("a" * 32, "2" * 16, "1" * 16, "queue near", 100.1, 100.6),
        Span("a" * 32, "3" * 16, "1" * 16, "attempt near", 100.6, 101.0, False, {"error.type": "timeout"}, "client"),
        Span("a" * 32, "4" * 16, "1" * 16, "attempt far", 101.5, 104.0, True, {}, "client"),
        Span("a" * 32, "5" * 16, "4" * 16, "first token", 101.5, 102.5),
        Span("a" * 32, "6" * 16, "4" * 16, "server prompt", 101.7, 102.3, True, {}, "server"),
        Span("a" * 32, "7" * 16, "4" * 16, "stream", 102.5, 104.0),
    ),
)
PROGRAM = ("pytest", "-q", "--maxfail", "3", "tests/a folder with blanks")
MACRO = 'help = "Runs the tests."\n[[steps]]\nshell = ["pytest", "-q"]\n'
HINT = "Restore a backup: sophia backup restore FILE. Or go on without saving."

pushed("recovery_key", RecoveryKey, lambda: RecoveryKey(KEY))
pushed("allow_program", AllowProgram, lambda: AllowProgram("tests", PROGRAM, "/home/ada/work", MACRO, "tests.toml"))
pushed(
    "sign_in_code",
    SignIn,
    lambda: SignIn("box", "https://login.example.org/device", code="WXYZ-1234", ascii_only=False),
)
pushed(
    "sign_in_paste", SignIn, lambda: SignIn("box", "https://login.example.org/auth?x=1", paste=True, ascii_only=False)
)
pushed(
    "store_trouble", StoreTrouble, lambda: StoreTrouble("The file is damaged.", "/home/ada/store", HINT, salvage=True)
)
pushed("waterfall", WaterfallScreen, lambda: WaterfallScreen(TRACE), "down", "down")
pushed("preview_text", PreviewScreen, lambda: PreviewScreen(TEXT))
