"""Where the words in the corner lie: where nothing is that a person presses, types into or reads next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from textual.css.query import NoMatches
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets._toast import Toast, ToastRack  # Textual exports it from nowhere else

from sophia_tui.screens.dialog import Dialog
from sophia_tui.transcript.viewport import Viewport

if TYPE_CHECKING:
    from textual.timer import Timer

    from sophia_tui.app import SophiaApp

PRESSED: Final = 1000
"""What a row counts that is pressed or typed into, one that is read, one of a list, one of a long text."""
READ: Final = 30
LISTED: Final = 3
TEXT: Final = 2
LATER: Final = 8
"""How much more the last row of a long text counts than its first: it is read last."""
NEVER: Final = frozenset(
    {
        "Attachments",
        "Coach",
        "CompletionPopup",
        "MicrophoneSign",
        "NewButton",
        "PaneBar",
        "Standing",
        "StatusBar",
        "WhichKey",
    }
)
"""What is pressed, chosen from or read at once, though it is no button and no field."""
WORTH_MOVING: Final = 12
"""Words that can be read are only moved away from where they are for so much."""
AGAIN_S: Final = 0.15
"""So often it is looked whether something came to stand below them, while there are any."""
GUESS: Final = 3
"""Rows of words that are not drawn yet."""
WIDEST: Final = 60
MOST_ROOM: Final = 3
"""A dialog that fills the screen makes room for words that take no more than such a part of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows that something else stands in, and how bad it would be to lie over one of them."""

    first: int
    rows: int
    weight: int


def place(height: int, tall: int, taken: Iterable[Taken], now: int | None = None) -> int:
    """The row that so many rows of words begin at: where they do least harm, as far down as there is such a place.

    Where they are `now` they stay, unless it would be much better elsewhere.
    """
    rows = [0] * height
    for each in taken:
        for y in range(max(0, each.first), min(height, each.first + each.rows)):
            rows[y] += each.weight
    last = max(0, height - tall)
    sums = [0, *accumulate(rows)]
    harm = [sums[min(height, top + tall)] - sums[top] for top in range(last + 1)]
    best = min(reversed(range(last + 1)), key=harm.__getitem__)
    stays = now is not None and 0 <= now <= last and harm[now] - harm[best] < WORTH_MOVING
    return now if now is not None and stays else best


def lies_over(top: int, tall: int, taken: Iterable[Taken]) -> bool:
    """Whether words of so many rows hide anything where they begin at this one."""
    return any(each.first < top + tall and top < each.first + each.rows for each in taken)


def taken_in(screen: Screen[object], left: int) -> Iterator[Taken]:
    """What stands to the right of a column of the screen."""
    for widget in screen.walk_children(Widget):
        if isinstance(widget, ToastRack | Toast) or not widget.display or widget.region.right <= left:
            continue
        if (region := _seen(screen, widget)) is not None:
            yield from _taken(widget, region, left)


def _seen(screen: Screen[object], widget: Widget) -> Region | None:
    """The part of a widget that is on the screen."""
    region = widget.region.intersection(screen.region)
    for each in widget.ancestors:
        if isinstance(each, Widget) and each is not screen:
            region = region.intersection(each.region)
    return region if region.area else None


def _taken(widget: Widget, region: Region, left: int) -> Iterator[Taken]:
    if isinstance(widget, Button | Input | TextArea) or type(widget).__name__ in NEVER:
        yield Taken(region.y, region.height, PRESSED)
    elif isinstance(widget, Viewport):
        yield from _written(widget, region, left)
    elif isinstance(widget, OptionList):
        yield Taken(region.y, region.height, LISTED)
        if widget.highlighted is not None:
            yield Taken(region.y + widget.highlighted - widget.scroll_offset.y, 1, PRESSED)
    elif isinstance(widget, Static) and not widget.children:
        yield Taken(region.y, region.height, READ)
    elif widget.can_focus:
        yield Taken(region.y, region.height, PRESSED if widget.has_focus and region.height <= 2 else TEXT)


def _written(text: Viewport, region: Region, left: int) -> Iterator[Taken]:
    """The rows of a conversation that have something on them there; the last ones are read next."""
    beside = max(0, left - region.x)
    for y in range(region.height):
        if text.render_line(y).text[beside:].strip():
            yield Taken(region.y + y, 1, TEXT + LATER * (y + 1) // region.height)


class Corner:
    """Keeps the words in the corner out of the way, for as long as there are any."""

    def __init__(self, app: SophiaApp, any_left: Callable[[], bool]) -> None:
        self._app, self._any_left = app, any_left
        self._timer: Timer | None = None

    def shown(self) -> None:
        """There are words now, or others."""
        self.lift()
        self._app.call_after_refresh(self.lift)
        if self._timer is None:
            self._timer = self._app.set_interval(AGAIN_S, self._again)

    def _again(self) -> None:
        """What lies below them may have changed; once they are gone there is nothing to do."""
        if self._any_left() or self._app.screen.query(Toast):
            self.lift()
        elif self._timer is not None:
            self._timer.stop()
            self._timer = None
            for screen in self._app.screen_stack:
                if isinstance(screen, Dialog):
                    screen.make_room(0)

    def lift(self) -> None:
        """Moves them to where they do least harm on the screen that is seen now."""
        screen = self._app.screen
        try:
            rack = screen.get_child_by_type(ToastRack)
        except NoMatches:
            return
        toasts = [each.region for each in rack.query(Toast) if each.region.area]
        if not toasts:
            self._ahead(rack)
            return
        top, bottom = min(each.y for each in toasts), max(each.bottom for each in toasts)
        height, left = screen.size.height, min(each.x for each in toasts)
        tall, taken = bottom - top, list(taken_in(screen, left))
        best = place(height, tall, taken, now=top)
        if isinstance(screen, Dialog) and (screen.room or lies_over(best, tall, taken)):
            room = tall if tall * MOST_ROOM <= height else 0
            screen.make_room(room)
            best = height - tall if room else best
        if best != top:
            _put(rack, height - best - tall)

    def _ahead(self, rack: ToastRack) -> None:
        """Where words that are not drawn yet will do little harm."""
        screen = self._app.screen
        width, height = screen.size
        tall = min(GUESS, height)
        best = place(height, tall, taken_in(screen, max(0, width - WIDEST)))
        _put(rack, height - best - tall)


def _put(rack: ToastRack, rows: int) -> None:
    if rack.styles.margin.bottom != rows:
        rack.styles.margin = (0, 0, max(0, rows), 0)
