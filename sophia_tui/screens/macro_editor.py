"""Writing a macro: what is wrong with it is said below the text, with the place, while one types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import Button, TextArea

from sophia_core.config_file import Problem
from sophia_core.macros.language import parse_macro
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

CHECK_DELAY = 0.2
MOST_SHOWN = 20
TEMPLATE = """\
help = "What it is for, in one line."
# key = "ctrl+x m"

# What it asks before it begins: type is text, number, yes, choice, file, folder, session, model or theme.
[parameters.length]
ask = "How long should it be?"
choices = ["two sentences", "a page"]
default = "two sentences"

# Steps run one after the other. {name} stands for a parameter, for the result of a step with that name, or for
# {selection}, {answer}, {date}, {folder}, {git_branch} and others; {{ and }} for the braces themselves.
[[steps]]
ask = "Explain this in {length}: {selection}"
name = "said"
when = "selection is not empty"

[[steps]]
say = "Explained in {length}."

# More of what a step can do:
# run = "copy.message"                            a command line, as after the slash
# shell = ["git", "diff", "--stat"]               a program; you are asked before it runs
# read = "notes.md"                               the text of a file
# save = "out.md", with text = "{said}"           writes a file
# macro = "review"                                runs another macro
# each = "{files}"                                once for each line, which is {item}
"""


class MacroEditor(Dialog[str]):
    """The path of the saved macro, None when the person left. `save` writes the text and raises ValueError's kin."""

    KIND: ClassVar = "Macro"
    TEMPLATE: ClassVar = TEMPLATE
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+o,ctrl+s", "save", show=False, priority=True)]
    DEFAULT_CSS = """
    MacroEditor {
        Box { width: 120; height: 96%; }
        TextArea { height: 1fr; min-height: 3; margin: 1 0 0 0; border: none; background: $panel; }
        TextArea:focus { border: none; }
        #problems { height: auto; max-height: 6; margin: 1 0 0 0; }
        #problems Line { color: $text-error; }
        #problems.-sound Line { color: $text-success; }
        &.-short TextArea, &.-short #problems { margin: 0; }
    }
    """

    def __init__(self, name: str, text: str, where: str, save: Callable[[str], Awaitable[str]]) -> None:
        super().__init__()
        self._macro, self._before, self._where, self._save = name, text or self.TEMPLATE, where, save
        self._new = not text
        self._checking: Timer | None = None
        self._sure = False

    def compose_box(self) -> ComposeResult:
        yield Line(f"{self.KIND} {self._macro}", classes="title")
        yield Line(self._where, classes="note")
        yield TextArea(self._before, soft_wrap=False, show_line_numbers=True, tab_behavior="focus", id="source")
        with VerticalScroll(id="problems", can_focus=False):
            yield Line(id="wrong")
        with Choices():
            yield Choice("Save", "save", "primary")
            yield Choice("Leave", "leave")
        yield Line("Ctrl+O saves, Tab goes to the buttons, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        area = self.query_one(TextArea)
        area.cursor_blink = False
        area.focus()
        self.check()

    @property
    def source(self) -> str:
        """The text as it stands."""
        return self.query_one(TextArea).text

    @on(TextArea.Changed)
    def typed(self) -> None:
        """Looks the text over as soon as nobody types for a moment."""
        self._sure = False
        if self._checking is not None:
            self._checking.stop()
        self._checking = self.set_timer(CHECK_DELAY, self.check)

    def problems(self) -> Sequence[Problem]:
        """What is wrong with the text as it stands."""
        return parse_macro(self._macro, self.source.encode("utf-8", "replace"))[1]

    def check(self) -> bool:
        """Says what is wrong, and whether nothing is."""
        problems = self.problems()
        lines = [str(each).removeprefix(f"{self._macro}: ") for each in problems[:MOST_SHOWN]]
        self.query_one("#problems").set_class(not lines, "-sound")
        self.query_one("#wrong", Line).say("\n".join(lines) or "Nothing is wrong with it.")
        return not lines

    async def action_save(self) -> None:
        """Saves and leaves; with something wrong it stays."""
        if not self.check():
            self.app.bell()
            return
        try:
            path = await self._save(self.source)
        except Exception as error:
            self.query_one("#problems").set_class(False, "-sound")
            self.query_one("#wrong", Line).say(str(error))
            return
        self.dismiss(path)

    @on(Button.Pressed)
    async def pressed(self, event: Button.Pressed) -> None:
        """Saves or leaves."""
        event.stop()
        if event.button.id == "save":
            await self.action_save()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Leaves; a changed text is given up only when asked twice."""
        if self.source != self._before and not self._sure:
            self._sure = True
            self.query_one("#problems").set_class(False, "-sound")
            self.query_one("#wrong", Line).say("It is not saved. Esc again leaves without saving.")
            return
        self.dismiss(None)
