"""Two answers beside each other, or one above the other; they stream here, and one of them can be gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer

from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line
from sophia_tui.transcript import Transcript

if TYPE_CHECKING:
    from sophia_core.chat.comparing import Side
    from sophia_tui.app import SophiaApp
    from sophia_tui.comparing import Column

WIDE = 100
"""Columns from which the answers stand beside each other."""
KEYS = "Tab other side · 1 2 keep · s stop · c copy · Esc leaves, both are kept"


class Answer(Vertical):
    """One side: who answers, what they say, and what it took."""

    DEFAULT_CSS = """
    Answer {
        width: 1fr;
        height: 1fr;
        .who { width: 100%; height: 1; text-style: bold; color: $text-muted; padding: 0 1; }
        .figures { width: 100%; height: 1; color: $text-muted; padding: 0 1; }
        Transcript { height: 1fr; background: $surface; }
        &.-front .who { background: $block-cursor-background; color: $block-cursor-foreground; }
        &.-ended .figures { color: $text-success; }
        &.-troubled .figures { color: $text-error; }
    }
    """

    def __init__(self, column: Column, *, fps: float, ascii_only: bool) -> None:
        super().__init__(id=column.side)
        self._column, self._fps, self._ascii_only = column, fps, ascii_only
        self._ready = False
        """Whether what is told can be shown: what came before is shown as soon as it can."""

    def compose(self) -> ComposeResult:
        yield Line(classes="who")
        yield Transcript(id=f"{self.id}-text", fps=self._fps, ascii_only=self._ascii_only)
        yield Line(classes="figures")

    def on_mount(self) -> None:
        self._ready = True
        self.transcript.show([self._column.entry()])
        self.restate()

    @property
    def transcript(self) -> Transcript:
        """Where the answer is read."""
        return self.query_one(Transcript)

    def feed(self, text: str, *, reasoning: bool) -> None:
        """More of the answer."""
        if self._ready:
            transcript = self.transcript
            feed = transcript.feed_reasoning if reasoning else transcript.feed
            feed(self._column.answer_id, text)

    def restate(self) -> None:
        """Says how it stands now."""
        if not self._ready:
            return
        column, number = self._column, 1 if self.id == "left" else 2
        self.query_one(".who", Line).say(f"{number}  {column.heading()}")
        self.query_one(".figures", Line).say(column.figures())
        ended = column.finished
        self.set_class(ended is not None and ended.status == "complete", "-ended")
        self.set_class(ended is not None and ended.status != "complete", "-troubled")

    def finish(self) -> None:
        """The answer has ended."""
        if not self._ready:
            return
        entry = self._column.entry()
        self.transcript.finish(entry.id, text=entry.text, status=entry.status, footer=entry.footer)
        self.restate()


class CompareScreen(Dialog["Side"]):
    """Shows both answers; dismisses with the side to go on with, or None. Leaving stops nothing."""

    AUTO_FOCUS = "#left-text"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-roomy"), (WIDE, "-wide")]  # noqa: RUF012 - Textual's own declaration
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab,shift+tab", "turn", "Other side", show=False),
        Binding("left", "turn('left')", show=False),
        Binding("right", "turn('right')", show=False),
        Binding("1", "keep('left')", show=False),
        Binding("2", "keep('right')", show=False),
        Binding("s", "stop", show=False),
        Binding("c", "copy", show=False),
        Binding("ctrl+c", "interrupt", show=False),
    ]
    DEFAULT_CSS = """
    CompareScreen {
        background: $background;
        Box, &.-narrow Box, &.-short Box {
            width: 100%;
            max-width: 100%;
            height: 100%;
            border: none;
            padding: 0 1;
            overflow: hidden;
        }
        .title { height: 1; }
        #sides { layout: vertical; width: 100%; height: 1fr; }
        Choices { margin: 0; height: 1; }
        &.-narrow Choices { layout: horizontal; }
        .keys { margin: 0; height: 1; }
        &.-wide #sides { layout: horizontal; }
        &.-wide #right { margin: 0 0 0 1; }
        &.-short Answer { display: none; }
        &.-short Answer.-front, &.-short.-wide Answer { display: block; }
        &.-short Choices, &.-narrow Choices { display: none; }
    }
    """

    def __init__(self, question: str, columns: Mapping[Side, Column], *, fps: float, ascii_only: bool) -> None:
        """`fps` is how often an answer is drawn while it streams."""
        super().__init__()
        self._question, self._columns, self._fps, self._ascii_only = question, columns, fps, ascii_only
        self._timer: Timer | None = None
        self.front: Side = "left"
        """The side that keys act on."""

    def compose_box(self) -> ComposeResult:
        yield Line(f"Comparing: {one_line(self._question, 300)}", classes="title")
        with Container(id="sides"):
            for column in self._columns.values():
                yield Answer(column, fps=self._fps, ascii_only=self._ascii_only)
        with Choices():
            yield Choice("Keep 1", "keep-left", "primary")
            yield Choice("Keep 2", "keep-right", "primary")
            yield Choice("Stop 1", "stop-left")
            yield Choice("Stop 2", "stop-right")
            yield Choice("Copy 1", "copy-left")
            yield Choice("Copy 2", "copy-right")
            yield Choice("Leave", "leave")
        yield Line(KEYS.replace("·", "-") if self._ascii_only else KEYS, classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self._show_front()
        if any(column.finished is None for column in self._columns.values()):
            self._timer = self.set_interval(1.0, self._tick)
        self._allow()

    # -- what is told

    def feed(self, side: Side, text: str, *, reasoning: bool = False) -> None:
        """More of one answer."""
        for answer in self._sides(side):
            answer.feed(text, reasoning=reasoning)

    def restate(self, column: Column) -> None:
        """It stands otherwise now."""
        for answer in self._sides(column.side):
            answer.restate()

    def finish(self, column: Column) -> None:
        """One answer has ended."""
        for answer in self._sides(column.side):
            answer.finish()
        self._allow()

    def ended(self) -> None:
        """Nothing streams any more."""
        if self._timer is not None:
            self._timer.stop()

    def _tick(self) -> None:
        for column in self._columns.values():
            if column.finished is None:
                self.restate(column)

    def _allow(self) -> None:
        """Only what streams can be stopped."""
        for side, column in self._columns.items():
            for choice in self.query(f"#stop-{side}"):
                choice.disabled = column.finished is not None

    def _side(self, side: Side) -> Answer:
        return self.query_one(f"#{side}", Answer)

    def _sides(self, side: Side) -> Iterator[Answer]:
        """The side, or nothing while the screen is being built or taken down."""
        return self.query(f"#{side}").results(Answer)

    # -- what a person does

    @property
    def _sophia(self) -> SophiaApp:
        return cast("SophiaApp", self.app)

    def action_turn(self, side: Side | None = None) -> None:
        """Goes to the other side, or to this one."""
        self.front = side or ("right" if self.front == "left" else "left")
        self._show_front()
        self.call_after_refresh(self._side(self.front).transcript.focus)

    def _show_front(self) -> None:
        for side in self._columns:
            self._side(side).set_class(side == self.front, "-front")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click on a side goes there."""
        for side in self._columns:
            if event.widget is self._side(side).transcript and side != self.front:
                self.front = side
                self._show_front()

    def action_keep(self, side: Side) -> None:
        """Leaves, and goes on with a side."""
        self.dismiss(side)

    def action_stop(self, side: Side | None = None) -> None:
        """Stops one side."""
        if self._columns[side or self.front].finished is None:
            self._sophia.dispatcher.start("compare.stop", side or self.front)

    def action_copy(self, side: Side | None = None) -> None:
        """Copies one side."""
        self._sophia.dispatcher.start("compare.copy", side or self.front)

    def action_interrupt(self) -> None:
        """Copies what is selected, else stops both."""
        if selected := self.get_selected_text():
            self._sophia.dispatcher.copy(selected, "selection")
        elif any(column.finished is None for column in self._columns.values()):
            self._sophia.dispatcher.start("compare.stop", "both")

    @on(Choice.Pressed)
    def _pressed(self, event: Choice.Pressed) -> None:
        event.stop()
        what, _, side = (event.button.id or "").partition("-")
        if what == "leave":
            self.action_leave()
        else:
            getattr(self, f"action_{what}")(side)

    @on(Transcript.CopyRequested)
    def _block_copied(self, event: Transcript.CopyRequested) -> None:
        event.stop()
        self._sophia.dispatcher.copy(event.text, event.what)

    @on(Transcript.LinkClicked)
    def _link_clicked(self, event: Transcript.LinkClicked) -> None:
        event.stop()
        self._sophia.dispatcher.copy(event.url, "address of the link")
