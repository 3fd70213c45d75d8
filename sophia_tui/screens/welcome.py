"""The first thing a newcomer sees, in place of an empty conversation; typing goes on all the while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Button

from sophia_tui.screens.dialog import Choice, Line

WHAT = "A workstation for talking to language models. Everything said is kept encrypted on this machine."
SAMPLES = (
    "Write a Python function that reverses a list",
    "Find the ten largest files with a shell command",
    "/tour",
    "/connect",
)
WORDS = {
    "/tour": "learn by doing: chatting, macros, searching",
    "/connect": "use a server: vLLM, llama.cpp, Ollama, or an address",
}
"""What the sample commands are for."""


class Welcome(Vertical):
    """What SOPHIA is, sample prompts, the state of the model and the keys to know; less where there is less room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"choose({number})", show=False) for number in range(1, 10)),
        Binding("up,left", "app.focus_previous", show=False),
        Binding("down,right", "app.focus_next", show=False),
    ]
    DEFAULT_CSS = """
    Welcome {
        width: 100%;
        height: 100%;
        align: center middle;
        overflow: hidden;
        #hello { width: 100%; max-width: 76; height: auto; padding: 0 2; }
        #name { text-style: bold; color: $text-primary; }
        #what, #try, #keys { color: $text-muted; }
        #model { margin: 1 0 0 0; }
        #try { margin: 1 0 0 0; }
        #keys { margin: 1 0 0 0; }
        Choice { width: 100%; margin: 0; padding: 0 1; text-align: left; background: transparent; }
        Choice:focus { background: $block-cursor-background; }
        &.-low #model, &.-low #try, &.-low #keys { margin: 0; }
        &.-lower #keys, &.-lower #what { display: none; }
        &.-lowest #try, &.-lowest Choice { display: none; }
        &.-tiny #hello { display: none; }
    }
    """

    @dataclass
    class Chosen(Message):
        """A sample prompt was chosen: put it into the prompt."""

        text: str

    @dataclass
    class Typed(Message):
        """Somebody typed while a sample had the focus: it belongs into the prompt."""

        text: str

    def __init__(
        self,
        keys: Sequence[tuple[str, str]] = (),
        samples: Sequence[str] = SAMPLES,
        model: str = "",
        id: str = "welcome",
    ) -> None:
        """`keys` are (label, what it does) pairs; `model` is the first state of the model."""
        super().__init__(id=id)
        self._keys, self._samples, self._model = keys, tuple(samples)[:9], model

    def compose(self) -> ComposeResult:
        with Vertical(id="hello"):
            yield Line("SOPHIA", id="name")
            yield Line(WHAT, id="what")
            yield Line(self._model, id="model")
            yield Line("Type below, or take one of these: Shift+Tab, then Enter or its number", id="try")
            for number, sample in enumerate(self._samples, 1):
                about = f"  {WORDS[sample]}" if sample in WORDS else ""
                yield Choice(f"{number}  {sample}{about}", f"sample-{number}")
            yield Line("   ".join(f"{key} {what}" for key, what in self._keys), id="keys")

    def say_model(self, text: str, fraction: float | None = None) -> None:
        """Shows how the model is getting on; `fraction` (0 to 1) is shown as a percentage."""
        percentage = "" if fraction is None else f" {round(100 * min(1.0, max(0.0, fraction)))} %"
        self.query_one("#model", Line).say(text + percentage)

    def action_choose(self, number: int) -> None:
        """Chooses a sample by its number; works while one of them has the focus."""
        if number <= len(self._samples):
            self.post_message(self.Chosen(self._samples[number - 1]))

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Chooses the sample that was pressed."""
        event.stop()
        self.action_choose(int(str(event.button.id).rpartition("-")[2]))

    def on_key(self, event: events.Key) -> None:
        """Passes on what is typed while a sample has the focus, so that no letter is ever lost."""
        if event.character and event.is_printable and not event.character.isdecimal():
            event.stop()
            self.post_message(self.Typed(event.character))

    def on_resize(self, event: events.Resize) -> None:
        """Drops the less important first."""
        height, width = event.size.height, event.size.width
        self.set_class(height < 15, "-low")
        self.set_class(height < 11, "-lower")
        self.set_class(height < 8 or width < 30, "-lowest")
        self.set_class(height < 3 or width < 12, "-tiny")
