"""All settings in one list, from the settings model: value, where it comes from, what it means; Enter changes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from sophia_core.sanitize import one_line
from sophia_core.setting_values import SettingRow
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import SHOWN, Finder, fit
from sophia_tui.screens.fuzzy import best

Change = Callable[[SettingRow, bool], Awaitable[str]]
Read = Callable[[], Awaitable[Sequence[SettingRow]]]
NAME_WIDTH, VALUE_WIDTH = 30, 24


class SettingsScreen(Finder[None]):
    """`change` asks for a new value and writes it, or with True takes the setting out of the file; it returns what to
    say. `read` gives the settings as they are then."""

    DEFAULT_CSS = """
    SettingsScreen {
        align: center top;
        Box { width: 110; margin: 1 0 0 0; padding: 0 1; }
        #about { margin: 1 0 0 0; height: 4; color: $text-muted; }
        #said { height: auto; color: $text-accent; }
        &.-short Box { margin: 0; }
        &.-short #about { margin: 0; height: 2; }
        &.-narrow.-short #about { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+r", "reset", show=False)]
    AROUND = (14, 5)

    def __init__(self, rows: Sequence[SettingRow], read: Read, change: Change) -> None:
        super().__init__()
        self._rows, self._read, self._change = list(rows), read, change
        self._found: list[SettingRow] = []
        self._told = ""
        """The setting that was changed last: what was said of it goes when the cursor rests on another."""

    def compose_box(self) -> ComposeResult:
        yield Line("Settings", classes="title")
        yield from self.compose_finder("Type to filter: a name, a word of its meaning, a value")
        yield Line(" ", id="about")
        yield Line(id="said")
        yield Line("Enter changes, Ctrl+R takes the default again, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.show_rows()

    def total(self) -> int:
        return len(self._rows)

    def find(self, query: str) -> int:
        texts = [f"{row.name} {row.value} {row.help}" for row in self._rows]
        self._found = [self._rows[match.index] for match in best(query, texts)][:SHOWN]
        return len(self._found)

    def row(self, index: int, width: int) -> Content:
        each = self._found[index]
        name = fit(Content(each.name), min(NAME_WIDTH, max(10, width // 2)))
        changed = each.source != "default"
        value = Content.styled(one_line(each.value, 200) or "–", "bold" if changed else "")
        if width < 70:
            return fit(name + " " + value, width)
        return fit(name + " " + fit(value, VALUE_WIDTH) + Content.styled(f" {one_line(each.source, 60)}", "dim"), width)

    def rest(self, index: int | None) -> None:
        if index is None or self._found[index].name != self._told:
            self.query_one("#said", Line).say("")
        if index is None:
            self.query_one("#about", Line).say("Nothing is called that.")
            return
        each = self._found[index]
        may = f"One of {', '.join(each.choices)}" if each.choices else f"{each.type[:1].upper()}{each.type[1:]}"
        lines = [
            each.help,
            f"{may}; default: {each.default or 'empty'}.",
            f"Now {one_line(each.value, 120) or 'empty'}, from {each.source}.",
            each.fixed,
        ]
        self.query_one("#about", Line).say("\n".join(filter(None, lines)))

    def choose(self, index: int) -> None:
        self._alter(self._found[index], reset=False)

    def action_reset(self) -> None:
        """Takes the setting under the cursor out of the file."""
        if self._found:
            self._alter(self._found[self.cursor], reset=True)

    def _alter(self, row: SettingRow, *, reset: bool) -> None:
        if row.fixed:
            return  # the row says so already
        self.run_worker(self._altered(row, reset=reset), exclusive=True)

    async def _altered(self, row: SettingRow, *, reset: bool) -> None:
        said = await self._change(row, reset)
        self._told = row.name
        self._rows = list(await self._read())
        self.show_rows(cursor=self.cursor)
        self.query_one("#said", Line).say(said)
