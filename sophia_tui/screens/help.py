"""Help, generated from the registry: every command with its key and its name in the prompt, and where things are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from sophia_core.commands import Declaration, usage
from sophia_core.keymap import Keymap, show_key
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Dialog, Line


@dataclass(frozen=True, slots=True)
class HelpRow:
    """One line of help: what to press or write, and what it does."""

    left: str
    middle: str
    text: str

    def fits(self, words: Sequence[str]) -> bool:
        """Whether every word stands somewhere in the line."""
        whole = f"{self.left} {self.middle} {self.text}".lower()
        return all(word in whole for word in words)


def help_groups(
    declarations: Sequence[Declaration],
    keymap: Keymap,
    sections: Mapping[str, Sequence[tuple[str, str]]],
    *,
    ascii_only: bool = False,
) -> dict[str, list[HelpRow]]:
    """The whole help by heading: commands by the first part of their names, then the sections as given."""
    groups: dict[str, list[HelpRow]] = {}
    for spec in declarations:
        keys = " ".join(show_key(key, ascii_only=ascii_only) for key in keymap.keys(spec.name))
        slash = f"/{spec.slash}" if spec.slash else f"/{spec.name}"
        words = usage(spec).removeprefix(f"Usage: {spec.name}")
        text = one_line(spec.help) + (f" ({spec.name})" if spec.slash else "")
        groups.setdefault(spec.name.partition(".")[0].capitalize(), []).append(HelpRow(keys, slash + words, text))
    for title, rows in sections.items():
        groups[one_line(title)] = [HelpRow("", one_line(left), one_line(text, 500)) for left, text in rows]
    return groups


class HelpScreen(Dialog[None]):
    """Everything that can be done. `sections` are further headings with (what, text) lines, such as how to write
    command lines and where files live."""

    AUTO_FOCUS = "#filter"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "scroll('scroll_down')", show=False),
        Binding("up", "scroll('scroll_up')", show=False),
        Binding("pagedown", "scroll('scroll_page_down')", show=False),
        Binding("pageup", "scroll('scroll_page_up')", show=False),
        Binding("ctrl+home", "scroll('scroll_home')", show=False),
        Binding("ctrl+end", "scroll('scroll_end')", show=False),
        Binding("enter", "leave", show=False),
    ]
    DEFAULT_CSS = """
    HelpScreen {
        Box { width: 110; height: 96%; padding: 0 1; }
        #page { height: 1fr; margin: 1 0 0 0; scrollbar-gutter: stable; }
        #text { width: 100%; height: auto; }
        &.-short #page { margin: 0; }
    }
    """

    def __init__(
        self,
        declarations: Sequence[Declaration],
        keymap: Keymap,
        sections: Mapping[str, Sequence[tuple[str, str]]],
        *,
        ascii_only: bool = False,
    ) -> None:
        super().__init__()
        self._groups = help_groups(declarations, keymap, sections, ascii_only=ascii_only)

    def compose_box(self) -> ComposeResult:
        yield Line("Help", classes="title")
        yield Input(id="filter", placeholder="Type to filter")
        with VerticalScroll(id="page", can_focus=False):
            yield Static(id="text", markup=False)
        yield Line("arrows and PgUp PgDn scroll, Esc leaves", classes="keys")

    @on(Input.Changed, "#filter")
    def filter(self) -> None:
        """Shows the lines that hold every word typed."""
        self._show()
        self.query_one("#page").scroll_home(animate=False)

    def on_resize(self, event: events.Resize) -> None:
        """A narrow screen gets the lines one under the other."""
        self._show()

    def _show(self) -> None:
        words = self.query_one("#filter", Input).value.lower().split()
        groups = {
            title: [row for row in rows if row.fits(words) or all(word in title.lower() for word in words)]
            for title, rows in self._groups.items()
        }
        self.query_one("#text", Static).update(_page(groups, narrow=self.size.width < 60))

    @on(Input.Submitted, "#filter")
    def action_leave(self) -> None:
        """Leaves."""
        self.dismiss(None)

    def action_scroll(self, how: str) -> None:
        """Scrolls the page while the filter keeps the keys."""
        getattr(self.query_one("#page"), how)(animate=False)


def _page(groups: Mapping[str, Sequence[HelpRow]], *, narrow: bool) -> Text | Table:
    shown = {title: rows for title, rows in groups.items() if rows}
    if not shown:
        return Text("Nothing is called that.", "dim")
    return _stacked(shown) if narrow else _columns(shown)


def _columns(groups: Mapping[str, Sequence[HelpRow]]) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=_widest((row.left for rows in groups.values() for row in rows), 12), no_wrap=True)
    table.add_column(width=_widest((row.middle for rows in groups.values() for row in rows), 26))
    table.add_column(ratio=1)
    for number, (title, rows) in enumerate(groups.items()):
        if number:
            table.add_row()
        heading = Text(title, "bold underline")
        table.add_row("", heading) if any(row.left for row in rows) else table.add_row("", "", heading)
        for row in rows:
            table.add_row(Text(row.left, "bold"), Text(row.middle, "bold"), Text(row.text))
    return table


def _stacked(groups: Mapping[str, Sequence[HelpRow]]) -> Text:
    text = Text()
    for number, (title, rows) in enumerate(groups.items()):
        text.append("\n" if number else "").append(f"{title}\n", "bold underline")
        for row in rows:
            text.append(" ".join(filter(None, (row.left, row.middle))) + "\n", "bold").append(f"  {row.text}\n")
    return text


def _widest(texts: Iterator[str], limit: int) -> int:
    return min(limit, max(map(len, texts), default=0))
