"""The conversation as one widget that draws lines, never a tree of widgets: entries in, messages out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.message import Message

from .copying import code_blocks
from .entry import Aside, Entry
from .ink import Copy, Toggle
from .palette import COMPONENTS, CSS, safe_link
from .splitter import split
from .viewport import SLICE, Viewport

CUT_AT_ONCE = 6_000
"""Characters of an answer that are cut again on the spot when it is finished."""


class Transcript(Viewport, can_focus=True):
    """Shows a conversation and follows it while it grows.

    Feed it entries and text; it posts messages when the reader selects, copies or follows something.
    """

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENTS
    DEFAULT_CSS = CSS
    HELP = "The conversation. Arrows and Page Up/Down scroll; End follows the newest text."

    @dataclass
    class Selected(Message):
        """The cursor is on another entry."""

        entry_id: str

    @dataclass
    class CopyRequested(Message):
        """Something is to be put on the clipboard; `what` says in a word what it is."""

        text: str
        what: str

    @dataclass
    class LinkClicked(Message):
        """A link was clicked."""

        url: str

    @dataclass
    class EditRequested(Message):
        """A question is to be edited and sent again."""

        entry_id: str

    # -- content

    @property
    def entries(self) -> list[Entry]:
        """All entries with the text they have so far."""
        self._drain()
        return [view.current for view in self._flow.views]

    def show(self, entries: Sequence[Entry]) -> None:
        """Replace everything and go to the end. Only what is near the viewport is laid out.

        An entry whose status is ``streaming`` can be fed at once.
        """
        self._pending.clear()
        self._refiner.forget()
        self._cursor.clear()
        self._flow.show(entries)
        for view in self._flow.views:
            if view.entry.status == "streaming":
                view.begin()
        self._rest()
        self.following, self.unseen = True, False
        self._arrange()

    def exchange(self, entries: Sequence[Entry]) -> None:
        """Replace everything; what the reader looks at stays where it is, if it is among the new entries."""
        self._drain()
        place = None if self.following else self._flow.place(self.scroll_offset.y)
        read = self._flow.views[place[0]].entry.id if place else None
        self.show(entries)
        number = next((n for n, entry in enumerate(entries) if entry.id == read), None)
        if place and number is not None:
            self._scroll(self._flow.row_of((number, place[1])))

    def prepend(self, entries: Sequence[Entry]) -> None:
        """Add what was said before everything that is here; what the reader looks at stays where it is."""
        if not entries:
            return
        self._drain()
        flow, y = self._flow, self.scroll_offset.y
        before = flow.height
        flow.prepend(entries)
        flow.touched()
        moved = flow.height - before
        self._cursor.shift(len(entries))
        self._shift_selection(len(entries))
        if not self.following:
            self._set_extent(max(flow.height, y + moved + self.size.height), y + moved)
        self._arrange()

    def append(self, entry: Entry) -> None:
        """Add a finished entry at the end."""
        self._drain()
        self._flow.append(entry)
        self._arrange(grown=(entry.id,))

    def begin(self, entry: Entry) -> None:
        """Add an entry whose text will arrive by `feed`; one that is there already begins anew in its place."""
        self._drain()
        with self._steady():
            self._flow.replace(entry).begin()
        self._arrange(grown=(entry.id,))

    def note(self, entry_id: str, text: str) -> None:
        """Say something below an open entry until its text comes; empty: nothing."""
        view = self._flow.view(entry_id)
        if view is not None and entry_id not in self._pending:
            with self._steady():
                view.note(text)
            self._arrange(grown=(entry_id,))

    def feed(self, entry_id: str, text: str) -> None:
        """More text for an open entry; it is drawn with the next frame."""
        self._pending.setdefault(entry_id, ([], []))[0].append(text)
        self._request_frame()

    def feed_reasoning(self, entry_id: str, text: str) -> None:
        """More reasoning for an open entry."""
        self._pending.setdefault(entry_id, ([], []))[1].append(text)
        self._request_frame()

    def finish(
        self,
        entry_id: str,
        *,
        text: str | None = None,
        status: str = "complete",
        footer: str = "",
        label: str | None = None,
    ) -> None:
        """Close a streaming entry and draw it at once. `text`, when given, is what the entry really says."""
        view = self._flow.view(entry_id)
        if view is None:
            return
        late = self._waiting(entry_id)
        said = view.text + late if text is None else text
        behind = len(late) > SLICE
        if behind:
            self._pending[entry_id][0].clear()
        self._drain()
        entry = replace(view.entry, text=said, status=status, footer=footer, label=label or view.entry.label)
        with self._steady():
            if behind:
                view.overtake(entry)
            else:
                view.finish(entry)
            if len(said) <= CUT_AT_ONCE:
                view.take_blocks(said, *split(said))
            else:
                self._cut_later(view)
        self._rest()
        self._arrange(grown=(entry.id,))

    def update(self, entry: Entry) -> None:
        """Replace what a known entry says."""
        view = self._flow.view(entry.id)
        if view is None:
            return
        self._drain()
        with self._steady():
            view.entry = entry
            view.refit()
            view.prepare()
        self._arrange(grown=(entry.id,))

    # -- the cursor

    @property
    def selected_entry(self) -> Entry | None:
        """The entry under the cursor."""
        number = self._cursor.entry
        return self._flow.views[number].current if 0 <= number < len(self._flow.views) else None

    def select_next(self) -> None:
        """Move the cursor one entry down; after the last one there is none, and the view follows again."""
        if self._cursor.entry < 0:
            return
        if self._cursor.entry + 1 >= len(self._flow.views):
            self.clear_cursor()
            self.follow()
        else:
            self._select(self._cursor.entry + 1)

    def select_previous(self) -> None:
        """Move the cursor one entry up, beginning with the last."""
        number = self._cursor.entry if self._cursor.entry >= 0 else len(self._flow.views)
        self._select(max(0, number - 1))

    def select(self, entry_id: str) -> None:
        """Move the cursor to an entry and show it; nothing happens when it is not here."""
        self._select(next((n for n, view in enumerate(self._flow.views) if view.entry.id == entry_id), -1))

    def has(self, entry_id: str) -> bool:
        """Whether there is such an entry."""
        return self._flow.view(entry_id) is not None

    def clear_cursor(self) -> None:
        """No entry is selected."""
        self._cursor.clear()
        self._repaint()

    def _select(self, number: int) -> None:
        if not 0 <= number < len(self._flow.views):
            return
        self._cursor.at(number)
        self._flow.views[number].prepare()
        self._flow.touched()
        self._reveal(self._flow.tops[number], min(3, self._flow.views[number].height))
        self.post_message(self.Selected(self._flow.views[number].entry.id))

    def _reveal(self, top: int, rows: int) -> None:
        if top < self.scroll_offset.y or top + rows > self.scroll_offset.y + self.size.height:
            self._scroll(top)
        self._repaint()

    def select_next_code(self) -> tuple[str, str] | None:
        """Move the cursor to the next code block: its language and source, or None where there is none."""
        return self._select_code(1)

    def select_previous_code(self) -> tuple[str, str] | None:
        """Move the cursor to the code block before, beginning with the newest."""
        return self._select_code(-1)

    def _select_code(self, step: int) -> tuple[str, str] | None:
        self._drain()
        code = self._cursor.move(self._flow, step)
        if code is None:
            return None
        row = self._cursor.row(self._flow, code)
        if row is not None:
            self._reveal(row, 3)
        self.post_message(self.Selected(self._flow.views[self._cursor.entry].entry.id))
        return code.language, code.source

    def selected_code(self) -> tuple[str, str] | None:
        """Language and source of the code block under the cursor; without one, the first of the selected entry."""
        code = self._cursor.current(self._flow)
        return None if code is None else (code.language, code.source)

    def code_blocks(self, entry_id: str) -> list[tuple[str, str]]:
        """Language and exact source of every code block of an entry, nested ones too."""
        self._drain()
        view = self._flow.view(entry_id)
        return [] if view is None else [(code.language, code.source) for code in code_blocks(view.text)]

    def last_code(self) -> tuple[str, str] | None:
        """The newest code block of the conversation."""
        self._drain()
        for number in range(len(self._flow.views) - 1, -1, -1):
            if found := self._cursor.codes(self._flow, number):
                return found[-1].language, found[-1].source
        return None

    def toggle_reasoning(self, entry_id: str) -> None:
        """Open or close the reasoning of an entry."""
        view = self._flow.view(entry_id)
        if view is not None:
            view.toggle_reasoning()
            self._arrange()

    def toggle(self, entry_id: str, what: str) -> None:
        """Open or close an aside or a figure of an entry."""
        if (view := self._flow.view(entry_id)) is not None:
            with self._steady():
                view.toggle(what)
            self._arrange()

    def put_asides(self, entry_id: str, asides: tuple[Aside, ...]) -> None:
        """What stands beside an entry's text is otherwise now; the reader is not moved."""
        if (view := self._flow.view(entry_id)) is not None and view.entry.asides != asides:
            with self._steady():
                view.put_asides(asides)
            self._arrange(grown=(entry_id,))

    def unfold(self) -> None:
        """Open everything beside the selected or the last entry that has something; close it when all is open."""
        views = [view for view in self._flow.views if view.entry.asides]
        chosen = self._flow.views[self._cursor.entry] if self._cursor.entry >= 0 else None
        view = chosen if chosen is not None and chosen.entry.asides else views[-1] if views else None
        if view is not None:
            keys = {f"aside {n}" for n, aside in enumerate(view.entry.asides) if aside.text.strip()}
            for key in keys if keys <= view.unfolded else keys - view.unfolded:
                view.toggle(key)
            self._arrange()

    def request_edit(self) -> None:
        """Ask the owner to edit the selected question."""
        entry = self.selected_entry
        if entry is not None and entry.role == "user":
            self.post_message(self.EditRequested(entry.id))

    # -- events

    def on_click(self, event: events.Click) -> None:
        """Copy, open or close what was clicked, or move the cursor there."""
        offset = event.get_content_offset(self)
        if offset is None or not 0 <= offset.y < len(self._rows):
            return
        row = self._rows[offset.y]
        ink = row.ink_at(offset.x)
        if row.number < 0:
            if self.unseen and ink is not None and ink.role == "hint":
                self.follow()
        elif ink is not None and isinstance(ink.action, Copy):
            fence = row.part.block.fence if row.part is not None and row.part.block is not None else None
            self.post_message(self.CopyRequested(fence.source if fence else ink.action.text, ink.action.what))
        elif ink is not None and isinstance(ink.action, Toggle):
            if ink.action.what:
                self.toggle(ink.action.entry_id, ink.action.what)
            else:
                self.toggle_reasoning(ink.action.entry_id)
        elif ink is not None and ink.link and safe_link(ink.link):
            self.post_message(self.LinkClicked(ink.link))
        elif row.number != self._cursor.entry and not self.screen.selections:
            self._cursor.at(row.number)
            self._repaint()
            self.post_message(self.Selected(self._flow.views[row.number].entry.id))
