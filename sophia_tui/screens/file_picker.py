"""Choosing a file to attach, seeing what is in it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input

from sophia_core.attach.reading import sized
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Line
from sophia_tui.screens.finder import SHOWN, Finder, Rows, fit
from sophia_tui.screens.fuzzy import best
from sophia_tui.widgets.preview import Preview

MOST: Final = 5_000
"""Names of one folder that are listed."""
WIDE: Final = 100
"""Columns from which there is room for a preview beside the list."""


@dataclass(frozen=True, slots=True)
class Found:
    """One name in a folder."""

    name: str
    folder: bool
    size: int = 0


class FilePicker(Finder[Path]):
    """The file chosen; None when the person left. It begins in `folder`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "up", "Up", show=False, priority=True),
        Binding("alt+h", "hidden", "Hidden files", show=False),
    ]
    DEFAULT_CSS = """
    FilePicker Box { width: 74; }
    FilePicker.-wide Box { width: 130; }
    FilePicker #beside { height: auto; width: 100%; }
    FilePicker Rows { width: 1fr; }
    FilePicker Preview { width: 1fr; margin: 1 0 0 2; display: none; }
    FilePicker.-wide Preview { display: block; }
    """
    AROUND = (11, 3)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._all: list[Found] = []
        self._shown: list[Found] = []
        self._found: list[Found] = []
        self._hidden = False
        self._problem = ""

    def compose_box(self) -> ComposeResult:
        yield Line("Attach a file", classes="title")
        yield Line(str(self.folder), id="folder", classes="note")
        yield Input(id="query", placeholder="Type to filter, or a path")
        with Horizontal(id="beside"):
            yield Rows(id="rows", markup=False)
            yield Preview(id="preview", ascii_only=self.app.has_class("-ascii"))
        yield Line(id="nothing", classes="note")
        yield Line("Enter attaches or opens, ← goes up, Alt+H shows hidden files, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self._open(self.folder)

    def _open(self, folder: Path, cursor: str = "") -> None:
        self.run_worker(self._read(folder, cursor), group="folder", exclusive=True)

    async def _read(self, folder: Path, cursor: str) -> None:
        """Lists a folder off the loop: it may be on a slow disk, or far away."""
        found, problem = await asyncio.to_thread(_listed, folder)
        if problem and self._all:
            self.query_one("#nothing", Line).say(problem)
            return
        self.folder, self._all, self._problem = folder, found, problem
        self.query_one("#folder", Line).say(one_line(str(folder), 200))
        with self.prevent(Input.Changed):
            self.query_one("#query", Input).value = ""
        self._sift()
        self.refit()
        at = next((at for at, each in enumerate(self._shown) if each.name == cursor), 0)
        self.call_after_refresh(lambda: self.show_rows(cursor=at))

    def _sift(self) -> None:
        self._shown = [each for each in self._all if self._hidden or not each.name.startswith(".") or each.name == ".."]

    def refit(self) -> None:
        """Makes room for the preview where there is any."""
        self.set_class(self.size.width >= WIDE and self.size.height >= 16, "-wide")
        super().refit()
        self.query_one(Preview).styles.height = self.query_one(Rows).styles.height

    def total(self) -> int:
        return self.TALLEST if self.has_class("-wide") else len(self._shown)

    def find(self, query: str) -> int:
        typed = query.strip()
        if typed.startswith(("/", "~")):
            self._found = [Found(typed, typed.endswith("/"))]
        elif typed:
            names = [each.name for each in self._shown]
            self._found = [self._shown[match.index] for match in best(typed, names, SHOWN)]
        else:
            self._found = self._shown
        more = len(self._found) - SHOWN
        note = self._problem or (f"{more:,} more: type to find them." if more > 0 else "")
        self.query_one("#nothing", Line).say(note if self._found else note or "Nothing fits.")
        return len(self._found)

    def row(self, index: int, width: int) -> Content:
        each = self._found[index]
        name = one_line(each.name, 200) + ("/" if each.folder and not each.name.endswith("/") else "")
        size = "" if each.folder or not each.size else sized(each.size)
        room = max(4, width - len(size) - 1)
        return fit(Content.assemble(fit(Content(name), room), " ", (size, "dim")), width)

    def rest(self, index: int | None) -> None:
        preview = self.query_one(Preview)
        chosen = self._found[index] if index is not None and index < len(self._found) else None
        shown = chosen is not None and not chosen.folder and self.has_class("-wide")
        preview.show_path(self._place(chosen) if chosen is not None and shown else None)

    def choose(self, index: int) -> None:
        chosen = self._found[index]
        place = self._place(chosen)
        if chosen.folder:
            up = chosen.name == ".."
            self._open(place, cursor=self.folder.name if up else "")
        else:
            self.run_worker(self._take(place), group="folder", exclusive=True)

    async def _take(self, place: Path) -> None:
        """A path that was typed may be a folder without saying so."""
        if await asyncio.to_thread(os.path.isdir, place):
            await self._read(place, "")
        else:
            self.dismiss(place)

    def _place(self, each: Found) -> Path:
        if each.name == "..":
            return self.folder.parent
        return Path(os.path.expanduser(each.name)) if each.name.startswith(("/", "~")) else self.folder / each.name

    def action_up(self) -> None:
        """Goes to the folder above; in a typed filter the cursor moves instead."""
        field = self.query_one("#query", Input)
        if field.value:
            field.action_cursor_left()
        else:
            self._open(self.folder.parent, cursor=self.folder.name)

    def action_hidden(self) -> None:
        """Shows or hides names that begin with a dot."""
        self._hidden = not self._hidden
        self._sift()
        self.show_rows()


def _listed(folder: Path) -> tuple[list[Found], str]:
    """The names in a folder, folders first, and what is wrong."""
    found: list[Found] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                    size = 0 if is_folder else entry.stat().st_size
                except OSError:
                    is_folder, size = False, 0
                found.append(Found(entry.name, is_folder, size))
                if len(found) >= MOST:
                    break
    except OSError as error:
        return [Found("..", folder=True)], f"This folder cannot be read: {(error.strerror or str(error)).lower()}."
    found.sort(key=lambda each: (not each.folder, each.name.lower()))
    return [Found("..", folder=True), *found], f"Only {MOST:,} names are listed." if len(found) >= MOST else ""
