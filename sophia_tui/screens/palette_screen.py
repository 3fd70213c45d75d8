"""The command palette: everything that can be done and every session, found by a few letters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.worker import Worker, WorkerState

from sophia_tui.palette import Entry, PaletteChoice, Row, find, session_entries
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import SHOWN, Finder, fit

LoadSessions = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
NAME_WIDTH = 22
AT_ONCE = 200
"""Sessions made into rows before keys are looked at again."""


class PaletteScreen(Finder[PaletteChoice]):
    """What was chosen, None when the person left. `load_sessions` gives (id, title), newest first; it is awaited in a
    worker, so commands can be chosen before it is done."""

    DEFAULT_CSS = """
    PaletteScreen {
        align: center top;
        Box { width: 100; margin: 1 0 0 0; padding: 0 1; }
        #about { margin: 1 0 0 0; height: 2; color: $text-muted; }
        &.-short Box { margin: 0; }
        &.-short #about { margin: 0; height: 1; }
        &.-narrow.-short #about { display: none; }
    }
    """

    AROUND = (9, 2)

    def __init__(self, commands: Sequence[Entry], load_sessions: LoadSessions | None = None) -> None:
        super().__init__()
        self._commands, self._load = commands, load_sessions
        self._sessions: list[Entry] = []
        self._found: list[Row] = []
        self._loading: Worker[list[Entry]] | None = None

    def compose_box(self) -> ComposeResult:
        yield from self.compose_finder("Type a command, what it does, or a session's title")
        yield Line(" ", id="about")

    def on_mount(self) -> None:
        super().on_mount()
        self.show_rows()
        if self._load is not None:
            self._loading = self.run_worker(self._load_sessions(self._load), exit_on_error=False)

    @staticmethod
    async def _load_sessions(load: LoadSessions) -> list[Entry]:
        sessions = await load()
        entries: list[Entry] = []
        for start in range(0, len(sessions), AT_ONCE):
            entries += session_entries(sessions[start : start + AT_ONCE])
            await asyncio.sleep(0)
        return entries

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Lists the sessions once they are there; without them the palette still has its commands."""
        if event.worker is not self._loading:
            return
        if event.state is WorkerState.SUCCESS:
            self._sessions = event.worker.result or []
            self.refit()
        elif event.state is WorkerState.ERROR:
            self._about("Sessions cannot be listed now; commands can.")

    def total(self) -> int:
        return len(self._commands) + len(self._sessions)

    def find(self, query: str) -> int:
        self._found = find(query, self._commands, self._sessions, SHOWN)
        return len(self._found)

    def row(self, index: int, width: int) -> Content:
        return _draw(self._found[index], width)

    def rest(self, index: int | None) -> None:
        if index is None:
            self._about("Nothing fits. Esc leaves.")
            return
        entry = self._found[index].entry
        self._about(f"Cannot run now: {entry.disabled}" if entry.disabled else entry.help, entry.detail)

    def _about(self, *lines: str) -> None:
        self.query_one("#about", Line).say("\n".join(filter(None, lines)) or " ")

    def choose(self, index: int) -> None:
        entry = self._found[index].entry
        if entry.disabled:
            self.rest(index)
            self.app.bell()
        else:
            self.dismiss(entry.choice)


def _draw(row: Row, width: int) -> Content:
    """Name, help and keys on one line of this many cells; what cannot run is dim and says why."""
    entry = row.entry
    left = Content(entry.title)
    for at in row.offsets:
        left = left.stylize("bold underline", at, at + 1)
    if entry.choice.kind == "session":
        return fit(left, width - 8) + Content.styled(" session", "dim")
    keys = Content.styled(f" {entry.keys}", "bold") if entry.keys and width > 30 else Content("")
    help = Content.styled(f" {entry.disabled or entry.help}", "dim")
    line = fit(fit(left, max(NAME_WIDTH, left.cell_length)) + help, width - keys.cell_length) + keys
    return line.stylize("dim italic") if entry.disabled else line
