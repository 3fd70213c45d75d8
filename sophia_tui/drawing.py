"""What goes to the terminal: nothing while it takes nothing, and nothing that it shows already.

Textual draws anew whatever may have changed: a panel that opens draws the conversation beside it once more, a longer
prompt the whole screen. What was written where is kept here, row by row, and only the pieces that differ are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any
from weakref import finalize

from rich.control import Control
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate  # as `App._display` is given them
from textual.app import App
from textual.css.query import NoMatches
from textual.events import Event, InputEvent
from textual.geometry import Region
from textual.reactive import Reactive
from textual.screen import Screen
from textual.strip import Strip

from sophia_tui.letting_go import let_go

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from textual.widget import Widget
    from textual.worker import Worker

Piece = tuple[int, int, int, str]
"""Row, first column, the column behind the last, and what is written there."""


class Shown:
    """What stands on the terminal, as far as it is known."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, tuple[int, str]]] = {}

    def forget(self) -> None:
        """The terminal may show anything now."""
        self._rows.clear()

    def put(self, piece: Piece) -> bool:
        """Notes what is to be written; False where that stands there already."""
        y, x, end, text = piece
        row = self._rows.setdefault(y, {})
        if row.get(x) == (end, text):
            return False
        for other in [start for start, (stop, _) in row.items() if start < end and stop > x]:
            del row[other]
        row[x] = (end, text)
        return True


class Differing(CompositorUpdate):
    """An update of which only what differs is written."""

    def __init__(self, update: ChopsUpdate | LayoutUpdate, shown: Shown) -> None:
        self._update, self._shown = update, shown

    def render_segments(self, console: Console) -> str:
        """As Textual's own, without what stands there already."""
        pieces = _of_layout if isinstance(self._update, LayoutUpdate) else _of_chops
        return "".join(
            f"{Control.move_to(piece[1], piece[0]).segment.text}{piece[3]}"
            for piece in pieces(self._update, console)
            if self._shown.put(piece)
        )


def _of_layout(update: Any, console: Console) -> Iterator[Piece]:
    left, end = update.region.x, update.region.right
    for y, line in enumerate(update.strips, update.region.y):
        yield y, left, end, "".join([strip.render(console) for strip in line])


def _of_chops(update: Any, console: Console) -> Iterator[Piece]:
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > last or end <= first:
                continue
            whole = last > x >= first and end <= last
            shown: Strip = strip if whole else strip.crop(0, min(end, last) - x)
            yield y, x, x + shown.cell_length, shown.render(console)


def _regions(update: ChopsUpdate | LayoutUpdate) -> list[Region]:
    if isinstance(update, LayoutUpdate):
        return [update.region]
    return [Region(first, y, last - first, 1) for y, first, last in update.spans]


class CalmScreen(Screen[None]):
    """Keys that go elsewhere do not draw everything anew: what gains or loses them is drawn by itself."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class ThriftyApp(App[int]):
    """An app that can be told to draw nothing for a while; what was missed is drawn afterwards, in one frame."""

    _held: ExitStack | None = None

    def __init__(self) -> None:
        let_go()
        self.shown = Shown()
        self._missed: list[Region] = []
        super().__init__()

    async def on_event(self, event: Event) -> None:
        """A key that comes when the last screen has gone is nobody's any more."""
        if self.screen_stack or not isinstance(event, InputEvent):
            await super().on_event(event)

    def _handle_exception(self, error: Exception) -> None:
        """Parts that are being taken down no longer find one another: nothing is wrong with that."""
        if not (self._exit and isinstance(error, NoMatches)):
            super()._handle_exception(error)

    def run_worker(self, work: Any, *args: Any, **kwargs: Any) -> Worker[Any]:
        """As Textual's own; a coroutine that is not wanted any more before it began is closed, not complained about."""
        worker = super().run_worker(work, *args, **kwargs)
        if iscoroutine(work):
            finalize(worker, work.close).atexit = False
        return worker

    def hold(self) -> None:
        """Draws nothing until `release`."""
        if self._held is None:
            self._held = ExitStack()
            self._held.enter_context(self.batch_update())

    def release(self) -> None:
        """Draws again, first of all what changed meanwhile."""
        held, self._held = self._held, None
        if held is None:
            return
        held.close()
        if self.screen_stack:
            missed, self._missed = self._missed, []
            if missed:
                self.screen.refresh(*missed)
            self.screen.check_idle()

    def redraw(self) -> None:
        """Draws everything, whatever the terminal shows."""
        self.shown.forget()
        self.screen.refresh()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        update: Any = renderable
        if isinstance(update, ChopsUpdate | LayoutUpdate):
            if self._batch_count:  # Textual draws this to nowhere
                self._missed += _regions(update)
            else:
                update = Differing(update, self.shown)
        super()._display(screen, update)
