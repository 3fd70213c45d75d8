"""The board: cards in four columns, moved by keys and mouse; everything else that is wanted of them is a command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.errors import NoWidget
from textual.widgets import Input

from backend_client.errors import BackendError
from local_store.board import STATES, TaskState
from local_store.errors import StoreError
from sophia_core.board.rows import TaskRow
from sophia_core.board.view import Place, beside, columns_of, further, moved
from sophia_core.commands import CommandError
from sophia_core.sanitize import one_line
from sophia_tui.metrics.sheet import Sheet
from sophia_tui.screens.dialog import Dialog, Line
from sophia_tui.widgets.cards import Cards, Chosen, ColumnName, Dropped

WIDE: Final = 100
"""Columns of the terminal from which all four stand beside each other."""
EVERY_S: Final = 2.0
"""Between two looks at what other processes did."""
TITLE: Final = "The board"
EMPTY: Final = """\
There are no tasks yet. They come here in four ways:

n                      writes one
/board.take            puts the boxes or the list of the last answer here
/board.import FILE     takes over Markdown checkboxes, or issues as JSON
sophia board add …     from a shell

A task can be run as a plan with r; it goes to Review by itself once that has finished."""
KEYS: Final = (
    "Enter shows",
    "n new",
    "e edit",
    "r run",
    "m move",
    "/ filter",
    "d drop",
    "u undo",
    "R run with…",
    "Shift+arrows move at once",
)
CARRYING: Final = "Arrows move the task · Enter or m puts it down"
Load = Callable[[], Awaitable[Sequence[TaskRow]]]
Move = Callable[[str, Place], None]
Run = Callable[..., None]


class BoardScreen(Dialog[None]):
    """Shows the board until it is left."""

    AUTO_FOCUS = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-roomy"), (WIDE, "-wide")]  # noqa: RUF012 - Textual's own declaration
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", show=False),
        Binding("right,l", "turn(1)", show=False),
        Binding("tab", "turn(1)", show=False),
        Binding("shift+tab", "turn(-1)", show=False),
        Binding("shift+left,H", "shift(-1)", "Move to the column on the left", show=False),
        Binding("shift+right,L", "shift(1)", "Move to the column on the right", show=False),
        Binding("shift+up,K", "lift(-1)", "Move up", show=False),
        Binding("shift+down,J", "lift(1)", "Move down", show=False),
        Binding("m,space", "carry", "Move with the arrows", show=False),
        Binding("n", "new", "New task", show=False),
        Binding("e", "wish('board.write')", "Edit", show=False),
        Binding("r", "wish('board.run')", "Run as a plan", show=False),
        Binding("R", "wish('board.choose')", "Choose a plan and run it", show=False),
        Binding("d,delete", "wish('board.drop')", "Take off the board", show=False),
        Binding("u", "undo", "Take the last change back", show=False),
        Binding("slash", "filter", "Filter", show=False),
        *(Binding(str(at), f"front('{state}')", show=False) for at, state in enumerate(STATES, 1)),
    ]
    DEFAULT_CSS = """
    BoardScreen {
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
        #filter { display: none; }
        #filter.-open { display: block; }
        #names { height: 1; margin: 1 0 0 0; }
        #cards { height: 1fr; }
        #nothing { height: 1fr; padding: 1 1; display: none; }
        &.-empty #nothing { display: block; }
        &.-empty #cards { display: none; }
        Cards { background: $surface; display: none; }
        Cards.-front { display: block; }
        &.-wide Cards { display: block; }
        .keys { margin: 0; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &.-short #names { margin: 0; }
    }
    """

    def __init__(self, load: Load, move: Move, run: Run, *, ascii_only: bool = False) -> None:
        """`load` gives the tasks, `move` moves one, `run` runs a command by its name with what it is given."""
        super().__init__()
        self._load, self._move, self._run, self._ascii = load, move, run, ascii_only
        self.rows: list[TaskRow] | None = None
        """All tasks as they were read last; None before that."""
        self.front: TaskState = "backlog"
        """The column that the keys are for."""
        self.wanted = ""
        self.carried = ""
        """The id of the task that the arrow keys move."""
        self._found = columns_of(())
        self._said = TITLE

    def compose_box(self) -> ComposeResult:
        yield Line(TITLE, classes="title")
        yield Input(id="filter", placeholder="Words of the title, a label, a number")
        with Horizontal(id="names"):
            yield from (ColumnName(state) for state in STATES)
        with Horizontal(id="cards"):
            yield from (Cards(state, ascii_only=self._ascii) for state in STATES)
        yield Line(EMPTY.replace("…", "...") if self._ascii else EMPTY, id="nothing")
        yield Line(classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(EVERY_S, self.reload)
        self.reload()
        self.show()
        self.take_keys()

    def on_resize(self, event: events.Resize) -> None:
        """As many keys are named as there is room for."""
        self.call_after_refresh(self.show)

    # Reading

    def reload(self) -> None:
        """Reads the tasks again; what is on its way already is not waited for."""
        if self.is_current or self.rows is None:
            loading: Any = self._read  # not a coroutine: it may be replaced before it begins
            self.run_worker(loading, group="board", exclusive=True, exit_on_error=True)

    def reload_soon(self) -> None:
        """The board was changed: what is shown now may lie below another dialog."""
        loading: Any = self._read
        self.run_worker(loading, group="board", exclusive=True, exit_on_error=True)

    async def _read(self) -> None:
        try:
            rows = list(await self._load())
        except (StoreError, CommandError, BackendError, OSError) as error:
            self._say(" ".join(filter(None, (one_line(str(error)), getattr(error, "hint", "")))))
            return
        self._say(TITLE)
        if rows != self.rows:
            self.rows = rows
            self.show()

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            for title in self.query(".title").results(Line):
                title.say(words)

    # Showing

    @property
    def column(self) -> Cards:
        """The column that the keys are for."""
        return self.query_one(f"#cards-{self.front}", Cards)

    @property
    def chosen(self) -> TaskRow | None:
        """The task with the cursor."""
        return self.column.chosen

    def show(self, cursor: str = "") -> None:
        """Shows what is known, with the cursor on this task where there is one."""
        if not self.query("#cards"):
            return  # it has been left
        rows = self.rows or []
        self._found, whole = columns_of(rows, self.wanted), columns_of(rows)
        self.set_class(self.rows is not None and not rows, "-empty")
        for state in STATES:
            if self.rows is not None:
                self.query_one(f"#name-{state}", ColumnName).say(len(self._found[state]), len(whole[state]))
            self._show_column(state, cursor)
        self._show_front()
        self.query_one(".keys", Line).say(self._keys())

    def _show_column(self, state: TaskState, cursor: str) -> None:
        column = self.query_one(f"#cards-{state}", Cards)
        ids = [each.id for each in self._found[state]]
        before = column.chosen.id if column.chosen is not None else ""
        at = next((ids.index(each) for each in (cursor, self.carried, before) if each in ids), column.cursor)
        column.show_cards(self._found[state], at, carried=self.carried)

    def _show_front(self) -> None:
        for each in self.query("ColumnName, Cards"):
            each.set_class(getattr(each, "state", "") == self.front, "-front")

    def _keys(self) -> str:
        words, room = [*KEYS, "Esc leaves"], self.size.width - 2
        gap = " - " if self._ascii else " · "
        if self.carried:
            return CARRYING.replace(" · ", gap)
        if self.rows is not None and not self.rows:
            return gap.join(("n new", "u undo", "Esc leaves"))
        while len(words) > 2 and len(gap.join(words)) > room:
            del words[-2]
        text = gap.join(words)
        return text.replace("…", "...") if self._ascii else text

    def take_keys(self) -> None:
        """The keys are the column's."""
        if self.query("#cards"):
            self.column.focus(scroll_visible=False)

    # Going about

    def action_front(self, state: TaskState) -> None:
        """Goes to a column."""
        self.front = state
        self._show_front()
        self.call_after_refresh(self.take_keys)

    def action_turn(self, step: int) -> None:
        """Goes to the column beside, with the task that is carried."""
        if self.carried:
            self.action_shift(step)
        else:
            self.action_front(beside(self.front, step))

    @on(Chosen)
    def _column_chosen(self, event: Chosen) -> None:
        """A click on a column goes there; what is carried goes along."""
        if self.carried:
            self._to(self.carried, Place(event.state))
        else:
            self.action_front(event.state)

    def action_filter(self) -> None:
        """Asks for what is looked for."""
        field = self.query_one("#filter", Input)
        field.add_class("-open")
        field.focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.wanted = event.value
        self.show()

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        field = self.query_one("#filter", Input)
        field.set_class(bool(field.value.strip()), "-open")
        first = next((state for state in STATES if self._found[state]), self.front)
        self.action_front(self.front if self._found[self.front] else first)

    def action_leave(self) -> None:
        """Puts down what is carried, or forgets the filter, or leaves."""
        if self.carried:
            self.action_carry()
        elif self.query("#filter.-open"):
            field = self.query_one("#filter", Input)
            field.value = ""
            field.remove_class("-open")
            self.take_keys()
        else:
            self.dismiss(None)

    # Moving

    def action_carry(self) -> None:
        """Takes the task up, or puts it down: as long as it is carried, the arrows move it."""
        chosen = self.chosen
        self.carried = "" if self.carried or chosen is None else chosen.id
        self.show()

    def action_shift(self, step: int) -> None:
        """Moves the task to the column beside."""
        chosen, to = self.chosen, beside(self.front, step)
        if chosen is not None and to != self.front:
            self._to(chosen.id, Place(to))

    def action_lift(self, step: int) -> None:
        """Moves the task up or down in its column."""
        chosen = self.chosen
        place = further(self._found, self.front, self.column.cursor, step)
        if chosen is not None and place is not None:
            self._to(chosen.id, place)

    def _to(self, task_id: str, place: Place) -> None:
        """Moves a task: on the screen at once, in the store as soon as it can."""
        self.rows = moved(self.rows or [], task_id, place)
        self.front = place.state
        self.show(task_id)
        self.call_after_refresh(self.take_keys)
        self._move(task_id, place)

    @on(Dropped)
    def _dropped(self, event: Dropped) -> None:
        """A card was let go over a column, or over the name of one."""
        try:
            target, region = self.get_widget_at(event.x, event.y)
        except NoWidget:
            return
        if isinstance(target, ColumnName):
            self._to(event.task_id, Place(target.state))
        elif isinstance(target, Cards):
            below = target.card_at(event.y - region.y)
            if below is None or below.id != event.task_id:
                self._to(event.task_id, Place(target.state, below.id if below is not None else ""))

    # What is wanted of a task

    def action_new(self) -> None:
        """Writes a new task into this column."""
        self._run("board.write", "", self.front)

    def action_undo(self) -> None:
        """Takes the last change back."""
        self._run("change.undo")

    def action_wish(self, name: str) -> None:
        """Runs a command with the task under the cursor."""
        if (chosen := self.chosen) is not None:
            self._run(name, chosen.id)

    @on(Sheet.Entered)
    def _entered(self, event: Sheet.Entered) -> None:
        """Shows the task, or puts it down where it is carried."""
        event.stop()
        if self.carried:
            self.action_carry()
        else:
            self.action_wish("view.task")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a filter is typed, the keys are its own."""
        typing = isinstance(self.focused, Input)
        return (not typing or action == "leave") and super().check_action(action, parameters)
