"""What every dialog shares: a box in the middle that still works on 20 by 5 cells, plain text only, Esc leaves."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from sophia_core.sanitize import sanitize
from sophia_tui.widgets.microphone import MicrophoneSign

Result = TypeVar("Result")


def plain(text: str) -> Content:
    """Text from anywhere as content that is neither markup nor anything a terminal obeys."""
    return Content(sanitize(text))


class Choice(Button, inherit_css=False):
    """A button one line high, so that a dialog's choices fit beside each other at 80 columns."""

    DEFAULT_CSS = """
    Choice {
        width: auto;
        height: 1;
        padding: 0 1;
        margin: 0 1 0 0;
        text-align: center;
        background: $panel;
        color: $foreground;
        pointer: pointer;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &:hover { text-style: underline; }
        &.-error { color: $text-error; }
        &.-primary { color: $text-primary; }
        &:disabled { color: $text-disabled; }
        &:focus {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: bold;
        }
        &.-error:focus { background: $error; color: $button-color-foreground; }
        &:ansi { text-style: bold; }
        &:ansi:focus { text-style: bold reverse; }
    }
    """

    def __init__(self, label: str, id: str, variant: str = "default") -> None:
        """`variant` is "default", "primary" for what most people want, or "error" for what destroys something."""
        super().__init__(plain(label), id=id, compact=True)
        self.set_class(variant == "primary", "-primary")
        self.set_class(variant == "error", "-error")


class Choices(Horizontal):
    """A row of choices; the arrow keys move along it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]


class Line(Static):
    """A line of plain text that takes no room while it is empty."""

    DEFAULT_CSS = "Line.-empty { display: none; }"

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(plain(text), id=id, classes=classes, markup=False)
        self.set_class(not text, "-empty")

    def say(self, text: str) -> None:
        """Shows this text, or nothing."""
        self.update(plain(text))
        self.set_class(not text, "-empty")


class SecretInput(Input):
    """A masked field that never gives its text to the clipboard."""

    LONGEST = 1024

    def __init__(self, id: str, placeholder: str = "") -> None:
        super().__init__(id=id, placeholder=placeholder, password=True, max_length=self.LONGEST)

    def action_copy(self) -> None:
        """Copies nothing: a secret stays in its field."""

    def action_cut(self) -> None:
        """Cuts nothing: a secret stays in its field."""


class Box(VerticalScroll, can_focus=False):
    """The dialog's frame; it scrolls when the terminal is too small for it."""


class Dialog(ModalScreen[Result]):
    """A modal screen whose box shrinks to the terminal. Subclasses give `compose_box`; Esc dismisses with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-roomy")]  # noqa: RUF012 - Textual's own declaration
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 60%;
        Box {
            width: 74;
            max-width: 96%;
            height: auto;
            max-height: 100%;
            background: $surface;
            border: round $border;
            padding: 1 2;
        }
        .title { text-style: bold; color: $text-primary; width: 100%; }
        .text { width: 100%; margin: 1 0 0 0; }
        .label { width: 100%; margin: 1 0 0 0; color: $text-muted; }
        .note { width: 100%; color: $text-muted; }
        .trouble { width: 100%; color: $text-error; }
        .keys { width: 100%; margin: 1 0 0 0; color: $text-muted; }
        Choices { width: 100%; height: auto; margin: 1 0 0 0; }
        Input { background: $panel; border: none; border-left: outer $border-blurred; height: 1; padding: 0 1; }
        Input:focus { border: none; border-left: outer $border; background-tint: $foreground 8%; }
        &.-narrow Box, &.-short Box { width: 100%; max-width: 100%; padding: 0 1; }
        &.-short Box { border: none; height: 100%; }
        &.-short .keys, &.-narrow .keys { display: none; }
        &.-short .text, &.-short .label, &.-short Choices { margin: 0; }
        &.-narrow Choices { layout: vertical; }
        &.-ascii Box { border: ascii $border; }
        &.-ascii Input { border: none; }
        &.-ascii.-short Box { border: none; }
    }
    """

    room = 0
    """Rows at the bottom of the screen that the words in the corner lie in."""
    _left_with: tuple[Result | None] | None = None
    """What it came to while another dialog lay above it."""

    def compose(self) -> ComposeResult:
        """The box with what the subclass puts in it."""
        self._take_size()
        yield MicrophoneSign()
        with Box(id="box"):
            yield from self.compose_box()

    def _take_size(self) -> None:
        """Takes the classes that the terminal's size will give it before there is anything that they would restyle."""
        width, height = self.app.size
        for size, points in ((width, self.HORIZONTAL_BREAKPOINTS), (height, self.VERTICAL_BREAKPOINTS)):
            self.add_class([name for least, name in points if size >= least][-1])

    def compose_box(self) -> ComposeResult:
        """What stands in the box, from top to bottom."""
        yield from ()

    def on_mount(self) -> None:
        """Follows the app where the locale has no line-drawing characters, or nothing may blink."""
        self.set_class(self.app.has_class("-ascii"), "-ascii")
        if self.app.has_class("-still"):
            for field in self.query(Input):
                field.cursor_blink = False

    def make_room(self, rows: int) -> None:
        """Leaves so many rows at the bottom of the screen to the words in the corner; 0: none any more."""
        if rows == self.room or not (boxes := self.query("#box")):
            return
        self.room = rows
        styles = boxes.first().styles
        styles.clear_rule("margin")
        if rows:
            top, right, bottom, left = styles.margin
            styles.margin = (top, right, max(bottom, rows), left)
        boxes.first().refresh(layout=True)  # a rule that is taken away does not ask for it
        self.room_changed()

    def room_changed(self) -> None:
        """Hears that there is more or less room for the box than there was."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Leaves, once: a second Esc that was on its way already does not close what lies below. Below another
        dialog it waits until it would be seen: Textual takes away whatever lies on top."""
        if self.is_active and len(self.app.screen_stack) > 1:
            leaving = super().dismiss(result)
            self._forget_drawn()
            return leaving
        if self in self.app.screen_stack:
            self._left_with = (result,)
        return AwaitComplete()

    def _forget_drawn(self) -> None:
        """Lets go of what was drawn: Textual keeps the caches of a thousand widgets that are gone."""
        for widget in self.walk_children(with_self=True):
            if isinstance(widget, Widget):
                widget._styles_cache.clear()

    def on_resize(self, event: events.Resize) -> None:
        """Nothing is laid out again for the size that everything has: the first one only says what is known."""
        if all(each._size == event.size for each in self.app.screen_stack):  # not `size`: that is the terminal's
            event.prevent_default()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """What is over goes as soon as it would be seen. What was made just now has its styles already."""
        if not self.stack_updates:
            event.refresh_styles = False
        if self._left_with is not None:
            (result,), self._left_with = self._left_with, None
            self.dismiss(result)

    async def _dispatch_message(self, message: Message) -> None:
        """One that was left before it stood, with or without the whole app, still hears of it, and is empty then."""
        try:
            await super()._dispatch_message(message)
        except NoMatches:
            if self.query("#box") and self in self.app.screen_stack and not self.app._exit:
                raise

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are for what stands, but for Esc: one that was left before it stood never gets its box."""
        standing = any(each.id == "box" and each.children for each in self.children)
        return (standing or action == "leave") and super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Leaves without an answer."""
        self.dismiss(None)
