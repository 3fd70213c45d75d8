"""One task: all of it with what belongs to it, and the form that it is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button, Input, OptionList, TextArea
from textual.widgets.option_list import Option

from local_store.board import LONGEST_TITLE
from sophia_core.board.rows import COLUMNS, TaskShown
from sophia_core.present import when
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

Wish = Literal["open", "run", "edit", "drop"]
MOST_LINKS: Final = 200
SAYS: Final = {
    "run": "the run",
    "session": "the session",
    "commit": "the commit",
    "message": "the answer that it is from",
    "plan": "the plan",
}
"""What a link leads to."""


class TaskScreen(Dialog[tuple[Wish, str, str]]):
    """What is wanted of the task; of `open`, the kind and the target of a link. None when the person left."""

    AUTO_FOCUS = "#links, #edit"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+down,pagedown", "read(1)", "Read on", show=False),
        Binding("shift+up,pageup", "read(-1)", "Read back", show=False),
        Binding("r", "wish('run')", "Run as a plan", show=False),
        Binding("e", "wish('edit')", "Edit", show=False),
        Binding("d", "wish('drop')", "Take off the board", show=False),
    ]
    DEFAULT_CSS = """
    TaskScreen {
        Box { width: 96; max-height: 96%; }
        #text { height: auto; max-height: 60%; margin: 1 0 0 0; scrollbar-size-vertical: 1; }
        #text Line { width: 1fr; }
        #links { height: auto; max-height: 8; margin: 1 0 0 0; padding: 0; border: none; background: $surface; }
        #links > .option-list--option { padding: 0; }
        #links:focus > .option-list--option-highlighted { background: $panel; color: $foreground; text-style: bold; }
        &.-short #text, &.-short #links { margin: 0; }
    }
    """

    def __init__(self, shown: TaskShown) -> None:
        super().__init__()
        self.shown = shown
        self._links = shown.links[:MOST_LINKS]

    def compose_box(self) -> ComposeResult:
        row = self.shown.row
        yield Line(row.title, classes="title")
        yield Line(_about(self.shown), classes="note")
        with VerticalScroll(id="text", can_focus=False):
            yield Line(self.shown.body or "Nothing more is said of it.")
        if self._links:
            lines = [f"{SAYS[kind]} {target}" for kind, target in self._links]
            yield OptionList(*map(Option, lines), id="links", markup=False)
        with Choices():
            yield Choice("Run", "run", "primary")
            yield Choice("Edit", "edit")
            yield Choice("Drop", "drop", "error")
            yield Choice("Leave", "leave")
        enter = "Enter opens what belongs to it, " if self._links else ""
        yield Line(f"{enter}r runs, e edits, d drops, PgDn reads on, Esc leaves", classes="keys")

    @on(OptionList.OptionSelected, "#links")
    def _link_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        kind, target = self._links[event.option_index]
        self.dismiss(("open", kind, target))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "leave":
            self.dismiss(None)
        else:
            self.action_wish(event.button.id or "")  # type: ignore[arg-type]

    def action_wish(self, wish: Wish) -> None:
        """Leaves, wanting this."""
        self.dismiss((wish, "", ""))

    def action_read(self, step: int) -> None:
        """Reads on in its text."""
        text = self.query_one("#text", VerticalScroll)
        text.scroll_relative(y=step * max(1, text.size.height - 1), animate=False)


def _about(shown: TaskShown) -> str:
    row = shown.row
    parts = [f"Task {row.number}, {COLUMNS[row.state]}", f"changed {when(row.updated_at)}"]
    parts += [f"priority {row.priority}"] if row.priority else []
    parts += [", ".join(row.labels)] if row.labels else []
    parts += [f"from {shown.source}"] if shown.source and not shown.source.startswith("message:") else []
    return one_line(" · ".join(parts), 300)


@dataclass(frozen=True, slots=True)
class Said:
    """What a task is to say."""

    title: str
    body: str = ""
    labels: str = ""
    priority: int = 0


class TaskForm(Dialog[Said]):
    """What was filled in; None when the person left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+o,ctrl+s", "save", show=False, priority=True)]
    DEFAULT_CSS = """
    TaskForm {
        Box { width: 96; max-height: 96%; }
        .label { margin: 0; }
        TextArea { height: 6; border: none; background: $panel; padding: 0 1; }
        TextArea:focus { border: none; background-tint: $foreground 8%; }
        &.-short TextArea { height: 4; }
    }
    """

    def __init__(self, heading: str, before: Said) -> None:
        super().__init__()
        self._heading, self._before = heading, before

    def compose_box(self) -> ComposeResult:
        before = self._before
        yield Line(self._heading, classes="title")
        yield Line("Title", classes="label")
        yield Input(before.title, id="title", max_length=LONGEST_TITLE)
        yield Line("Text: what a plan is told besides the title", classes="label")
        yield TextArea(before.body, soft_wrap=True, tab_behavior="focus", id="body")
        yield Line("Labels, separated by commas", classes="label")
        yield Input(before.labels, id="labels", max_length=1000)
        yield Line("Priority: the higher the sooner, from -100 to 100", classes="label")
        yield Input(str(before.priority or ""), "0", id="priority", max_length=4)
        yield Line(id="trouble", classes="trouble")
        with Choices():
            yield Choice("Save", "save", "primary")
            yield Choice("Leave", "leave")
        yield Line("Enter or Ctrl+O saves, Tab moves, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        if self.app.has_class("-still"):
            self.query_one(TextArea).cursor_blink = False

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_save()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "save":
            self.action_save()
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """Leaves with what was filled in, if it can be a task."""
        title, priority = self._field("title"), self._field("priority") or "0"
        if not title:
            self._trouble("title", "A task needs a title.")
        elif not priority.removeprefix("-").isdecimal() or not -100 <= int(priority) <= 100:
            self._trouble("priority", "A priority is a number from -100 to 100.")
        else:
            self.dismiss(Said(title, self.query_one(TextArea).text, self._field("labels"), int(priority)))

    def _field(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _trouble(self, name: str, words: str) -> None:
        self.query_one("#trouble", Line).say(words)
        self.query_one(f"#{name}", Input).focus()
