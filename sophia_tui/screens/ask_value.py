"""Asking for one parameter of a command or a macro, with what may stand there below the field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from sophia_core.sanitize import one_line, sanitize
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import Finder, Rows, fit

if TYPE_CHECKING:
    from sophia_tui.arguments import Offer

Find = Callable[[str], Awaitable["Sequence[Offer]"]]


class AskValue(Finder[str]):
    """What was chosen or typed; None when the person left. Where only what is offered will do, Enter takes the best
    offer; else it takes what was typed, and Tab completes it."""

    AUTO_FOCUS = "#query"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", show=False)]
    DEFAULT_CSS = """
    AskValue #query { margin: 1 0 0 0; }
    AskValue.-short #query { margin: 0; }
    """
    AROUND = (13, 3)
    TALLEST = 12

    def __init__(
        self, title: str, find: Find, *, initial: str = "", strict: bool = False, detail: str = "", into: bool = False
    ) -> None:
        """`into`: choosing something that ends in `/` goes into that folder instead of leaving with it."""
        super().__init__()
        self.question, self.detail = title, detail
        self._find, self._initial, self._strict, self._into = find, sanitize(initial), strict, into
        self._offers: Sequence[Offer] = ()
        self._listed: Sequence[Offer] = ()
        """Those on the screen: newer ones may have been found since."""
        self._typed: str | None = None
        self._moved = False

    def compose_box(self) -> ComposeResult:
        yield Line(self.question, classes="title")
        yield Line(self.detail, classes="text")
        yield from self.compose_finder("")
        yield Line(id="nothing", classes="note")
        keys = "Enter chooses, arrows move" if self._strict else "Enter accepts, arrows move, Tab completes"
        yield Line(f"{keys}, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#query", Input).value = self._initial
        self.show_rows()

    def total(self) -> int:
        return len(self._offers)

    def find(self, query: str) -> int:
        self._look(query)
        self._listed = self._offers
        return len(self._listed)

    def show_rows(self, *, cursor: int = 0) -> None:
        """Draws the offers; where anything may be typed, none is chosen before the arrows were used."""
        super().show_rows(cursor=cursor)
        rows = self.query_one(Rows)
        rows.display = bool(self._offers)
        if not self._strict and not self._moved:
            rows.highlighted = None

    def _look(self, typed: str) -> None:
        if typed != self._typed:
            self._typed, self._moved = typed, False
            self.run_worker(self._read(typed), group="offers", exclusive=True)

    async def _read(self, typed: str) -> None:
        self._offers = await self._find(typed)
        if self.query("#nothing"):  # else it has been left, or does not stand yet
            nothing = "Nothing fits." if self._strict and not self._offers else ""
            self.query_one("#nothing", Line).say(nothing)
            self.refit()

    def row(self, index: int, width: int) -> Content:
        offer = self._listed[index]
        return fit(Content.assemble(one_line(offer.shown), (f"  {one_line(offer.detail)}", "dim")), width)

    def action_move(self, how: str) -> None:
        self._moved = True
        super().action_move(how)

    def action_complete(self) -> None:
        """Puts the offer under the cursor, else the first, into the field."""
        if self._listed:
            rows = self.query_one(Rows)
            self._fill(self._listed[rows.highlighted or 0].value)

    def _fill(self, value: str) -> None:
        field = self.query_one("#query", Input)
        field.value = value
        field.cursor_position = len(value)

    def accept(self, typed: str) -> None:
        """Leaves with what was typed, where that will do."""
        if self._strict:
            self.app.bell()
        else:
            self.dismiss(typed)

    def choose(self, index: int) -> None:
        value = self._listed[index].value
        if self._into and value.endswith("/"):
            self._fill(value)
        else:
            self.dismiss(value)
