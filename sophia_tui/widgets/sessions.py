"""The sidebar: every session, and a filter that also searches what was said in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Static

from sophia_core.sanitize import one_line
from sophia_tui.widgets.session_rows import HitRow, Key, Row, SessionRow, SessionRows, key_of

__all__ = ["HitRow", "SessionList", "SessionRow"]

SEARCH_DELAY = 0.15
"""Seconds from the last key in the filter to `SearchRequested`."""
ARCHIVED = "is:archived"
"""What the filter has to say to list the archive."""
NO_SESSIONS = "No sessions yet. Ask something below."


class NewButton(Static):
    """The plus sign beside the filter."""

    def on_click(self) -> None:
        self.post_message(SessionList.NewRequested())


class SessionList(Vertical):
    """Sessions to open, and a filter above them. Titles match at once; hits come from the owner."""

    HELP = (
        "Enter opens, / filters and searches, n begins a new session, r renames, p pins, a archives, m moves to a"
        " folder, t tags, d deletes, u takes that back, A shows the archive, Esc returns to the prompt."
    )
    DEFAULT_CSS = """
    SessionList {
        width: 30;
        background: $surface;
        & > Horizontal { height: 1; }
        & Input { width: 1fr; background: $boost; }
        & #note { height: auto; color: $text-muted; padding: 0 1; display: none; }
        & #note.-said { display: block; }
        & NewButton { width: 3; content-align: center middle; color: $text-accent; text-style: bold; pointer: pointer; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", show=False),
        Binding("escape", "dismiss", "Back to the prompt", show=False),
        Binding("d,delete", "delete", "Delete", show=False),
        Binding("r", "rename", "Rename", show=False),
        Binding("n", "new", "New session", show=False),
        Binding("p", "pin", "Pin or unpin", show=False),
        Binding("a", "archive", "Archive, or take out of the archive", show=False),
        Binding("A", "archived", "The archive, and back", show=False),
        Binding("u", "undo", "Take the last change back", show=False),
        Binding("m", "organise('session.move')", "Move to a folder", show=False),
        Binding("t", "organise('session.tag')", "Tag", show=False),
        Binding("down", "list", "To the list", show=False),
    ]

    class Wish(Message):
        """Something that the reader wants of the owner."""

    @dataclass
    class Opened(Wish):
        """Open this session, at this message if one is named."""

        session_id: str
        message_id: str | None = None

    @dataclass
    class SearchRequested(Wish):
        """Look for this text in all messages and call `show_hits`; empty: there is nothing to look for any more."""

        query: str

    @dataclass
    class RenameRequested(Wish):
        """Ask for a new title for this session."""

        session_id: str

    @dataclass
    class DeleteRequested(Wish):
        """Ask whether this session shall go."""

        session_id: str

    @dataclass
    class OrganiseRequested(Wish):
        """Run this command on this session, after asking for its text where there is something to ask."""

        session_id: str
        command: str

    class MoreRequested(Wish):
        """Older sessions are wanted: call `show` with more of them."""

    class UndoRequested(Wish):
        """Take back what was changed last."""

    class NewRequested(Wish):
        """Begin a new session."""

    class Dismissed(Message):
        """The reader is done here: give the focus back to the prompt."""

    def __init__(
        self,
        *,
        search_delay: float = SEARCH_DELAY,
        ascii_only: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._search_delay = search_delay
        self._timer: Timer | None = None
        self._sessions: tuple[SessionRow, ...] = ()
        self._hits: tuple[HitRow, ...] | None = None
        self._titled: tuple[SessionRow, ...] = ()
        self._current: str | None = None
        self._more = False
        self._list = SessionRows(star="^" if ascii_only else "★")
        self._filter = Input(placeholder="/ Filter and search", compact=True, select_on_focus=False)
        self._filter.cursor_blink = False

    def compose(self) -> ComposeResult:
        """The filter with the plus sign, and the list below."""
        with Horizontal():
            yield self._filter
            yield NewButton("+")
        yield Static(id="note", markup=False)
        yield self._list

    @property
    def query_text(self) -> str:
        """What is in the filter."""
        return self._filter.value.strip()

    @property
    def selected(self) -> Row | None:
        """The row that keys act on."""
        return self._list.selected

    def show(self, rows: Sequence[SessionRow], *, more: bool = False) -> None:
        """Lists these sessions, newest first as given. Selection and scroll stay; while the reader is elsewhere the
        selection goes to another current session when there is one. `more`: there are older ones, too."""
        self._sessions, self._more = tuple(rows), more
        current = next((row.id for row in self._sessions if row.current), None)
        follow = current != self._current and (self._current is None or not self.has_focus_within)
        self._current = current
        self._refresh_rows(select=(current, None) if follow and current else None)

    def show_hits(self, hits: Sequence[HitRow], titled: Sequence[SessionRow] = (), *, note: str = "") -> None:
        """Lists the messages found, below the titles that match and those found besides (`titled`); ignored once the
        filter is empty again. `note` says what could not be looked at."""
        if self.query_text:
            self._hits, self._titled = tuple(hits), tuple(titled)
            self._say(note)
            self._refresh_rows()

    def _say(self, note: str) -> None:
        line = self.query_one("#note", Static)
        line.update(Content(note))
        line.set_class(bool(note), "-said")

    def focus_list(self) -> None:
        """Gives the keys to the list."""
        self._list.focus()

    def _refresh_rows(self, select: Key | None = None) -> None:
        query = self.query_text.casefold()
        if not query:
            self._list.show(self._sessions, empty=NO_SESSIONS, select=select, more=self._more)
            return
        here = [row for row in self._sessions if query in row.title.casefold()]
        known = {row.id for row in here}
        titled: list[Row] = [*here, *(row for row in self._titled if row.id not in known)]
        searching = "Searching…" if self._hits is None else f"Nothing found for “{one_line(self.query_text, 60)}”."
        self._list.show([*titled, *(self._hits or ())], empty=searching, select=select)

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if not self.query_text:
            self._hits, self._titled = None, ()
            self._say("")
        self._refresh_rows()
        self._list.action_select(0)
        if self.query_text:
            self._timer = self.set_timer(self._search_delay, self._search)
        else:
            self._search()

    def _search(self) -> None:
        self._timer = None
        self.post_message(self.SearchRequested(self.query_text))

    @on(Input.Submitted)
    def _filter_entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._list.action_open()

    @on(SessionRows.Chosen)
    def _row_chosen(self, event: SessionRows.Chosen) -> None:
        event.stop()
        session_id, message_id = key_of(event.row)
        self.post_message(self.Opened(session_id, message_id))

    @on(SessionRows.EndNeared)
    def _end_neared(self, event: SessionRows.EndNeared) -> None:
        event.stop()
        self.post_message(self.MoreRequested())

    def action_filter(self) -> None:
        """Goes to the filter."""
        self._filter.focus()

    def action_list(self) -> None:
        """Goes from the filter to the list."""
        self._list.focus()

    def action_dismiss(self) -> None:
        """Says that the reader is done here."""
        self.post_message(self.Dismissed())

    def action_new(self) -> None:
        """Asks for a new session."""
        self.post_message(self.NewRequested())

    def action_delete(self) -> None:
        """Asks to delete what is selected."""
        if (row := self.selected) is not None:
            self.post_message(self.DeleteRequested(key_of(row)[0]))

    def action_rename(self) -> None:
        """Asks to rename what is selected."""
        if (row := self.selected) is not None:
            self.post_message(self.RenameRequested(key_of(row)[0]))

    def action_pin(self) -> None:
        """Asks to pin what is selected, or to unpin it."""
        if isinstance(row := self.selected, SessionRow):
            self.post_message(self.OrganiseRequested(row.id, "session.unpin" if row.pinned else "session.pin"))

    def action_archive(self) -> None:
        """Asks to archive what is selected, or to take it out of the archive."""
        if (row := self.selected) is not None:
            archived = isinstance(row, SessionRow) and row.archived
            name = "session.unarchive" if archived else "session.archive"
            self.post_message(self.OrganiseRequested(key_of(row)[0], name))

    def action_archived(self) -> None:
        """Lists what is in the archive, or everything else again."""
        self._filter.value = "" if self.query_text == ARCHIVED else ARCHIVED

    def action_undo(self) -> None:
        """Asks to take the last change back."""
        self.post_message(self.UndoRequested())

    def action_organise(self, command: str) -> None:
        """Asks to run a command on what is selected."""
        if (row := self.selected) is not None:
            self.post_message(self.OrganiseRequested(key_of(row)[0], command))
