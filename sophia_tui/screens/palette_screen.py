"""The command palette: everything that can be done and every session, found by a few letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.worker import Worker, WorkerState

from sophia_tui.palette import Entry, PaletteChoice, Row, find, session_entries
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import SHOWN, Finder, fit

FindSessions = Callable[[str], Awaitable[Sequence[tuple[str, str]]]]
NAME_WIDTH = 22


class PaletteScreen(Finder[PaletteChoice]):
    """What was chosen, None when the person left. `find_sessions` gives (id, title) for what is typed, the best or
    newest first; it is awaited in a worker, so commands can be chosen before it is done."""

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

    def __init__(self, commands: Sequence[Entry], find_sessions: FindSessions | None = None) -> None:
        super().__init__()
        self._commands, self._find_sessions = commands, find_sessions
        self._sessions: list[Entry] = []
        self._found: list[Row] = []
        self._typed: str | None = None
        """What sessions were last looked for with, and below, what the last answer was to."""
        self._answered: str | None = None
        self._looking: Worker[list[Entry]] | None = None

    def compose_box(self) -> ComposeResult:
        yield from self.compose_finder("Type a command, what it does, or a session's title")
        yield Line(" ", id="about")

    def _look(self, query: str) -> None:
        if self._find_sessions is not None and query != self._typed:
            self._typed = query
            work = self._sessions_for(self._find_sessions, query)
            self._looking = self.run_worker(work, group="look", exclusive=True, exit_on_error=False)

    @staticmethod
    async def _sessions_for(find_sessions: FindSessions, query: str) -> list[Entry]:
        return session_entries(await find_sessions(query))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Lists the sessions once they are there; without them the palette still has its commands."""
        if event.worker is not self._looking:
            return
        if event.state is WorkerState.SUCCESS:
            self._sessions, self._answered = event.worker.result or [], self._typed
            self.refit()
        elif event.state is WorkerState.ERROR:
            self._about("Sessions cannot be listed now; commands can.")

    def total(self) -> int:
        return len(self._commands) + len(self._sessions)

    def find(self, query: str) -> int:
        self._look(query)
        self._found = find(query, self._commands, self._sessions, SHOWN, answered=self._answered == query)
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
