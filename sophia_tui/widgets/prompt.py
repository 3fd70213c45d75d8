"""Where questions and command lines are typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import TextArea

from sophia_core.sanitize import sanitize
from sophia_tui.vim import Modal
from sophia_tui.widgets.completion import Completion, CompletionPopup

if TYPE_CHECKING:
    from sophia_tui.presets import Preset

PLACEHOLDER = "Ask SOPHIA · Enter sends, Ctrl+J new line, / for commands"
PASTE_LIMIT = 1_000_000
"""Bytes of UTF-8 that one paste may bring."""
LONG_LINE = 10_000
"""Characters; a longer line is not wrapped, which would cost too much at each key."""
DRAFT_DELAY = 0.4
"""Seconds from a change to `DraftChanged`."""
REPEAT = 0.5
"""Seconds in which a second Enter on the same text is the same Enter."""


@dataclass(slots=True)
class _Walk:
    """A walk through earlier prompts, and what was being typed when it began."""

    draft: str
    entries: tuple[str, ...]
    index: int = -1

    @property
    def text(self) -> str:
        return self.draft if self.index < 0 else self.entries[self.index]


def _has_long_line(text: str) -> bool:
    return len(text) > LONG_LINE and any(len(line) > LONG_LINE for line in text.split("\n"))


class Prompt(TextArea):
    """A prompt that grows with its text. The text stays until the owner says `accepted()`."""

    HELP = (
        "Type a question. Enter sends, Ctrl+J makes a new line, / begins a command, Up and Down walk earlier prompts."
    )
    DEFAULT_CSS = """
    Prompt {
        height: auto;
        min-height: 1;
        max-height: 33vh;
        /* No frame: its rows would be sent to the terminal again with each key. */
        border: none;
        border-left: outer $border-blurred;
        padding: 0 1;
        background: $surface;
        scrollbar-size: 0 0;
        &:focus { border: none; border-left: outer $border; }
        & .text-area--placeholder { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", "New line", show=False),
        Binding("tab", "accept_completion", "Complete", show=False),
        Binding("escape", "close_completion", "Close the list", show=False),
    ]

    _text: str | None = None

    available: reactive[bool] = reactive(True, init=False)
    """Whether typing is possible now."""
    reason: reactive[str] = reactive("Locked…", init=False)
    """What the empty prompt says while it is not."""

    mode: reactive[str] = reactive("", init=False)
    """Which mode the keys have, where the preset has modes."""

    @dataclass
    class Submitted(Message):
        """A text was sent. It stays in the prompt until `accepted()`."""

        prompt: Prompt
        text: str

        @property
        def control(self) -> Prompt:
            """The prompt it came from."""
            return self.prompt

    @dataclass
    class DraftChanged(Message):
        """The unsent text is another one; sent a moment after typing, at blur and when it is accepted."""

        prompt: Prompt
        text: str

        @property
        def control(self) -> Prompt:
            """The prompt it came from."""
            return self.prompt

    def __init__(
        self,
        *,
        recent: Sequence[str] = (),
        complete: Callable[[str], Sequence[Completion]] | None = None,
        draft_delay: float = DRAFT_DELAY,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(placeholder=PLACEHOLDER, highlight_cursor_line=False, id=id, classes=classes)
        self.recent: Sequence[str] = recent
        """Earlier prompts, newest first. (`history` is the editor's own undo history.)"""
        self.complete = complete
        """What to offer for a line that begins with `/`, best first; called at each key."""
        self.take_paste: Callable[[str], bool] | None = None
        """Takes what a terminal pastes where it is no text, such as dropped files; says whether it did."""
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._draft_delay = draft_delay
        self._draft_timer: Timer | None = None
        self._draft_told = ""
        self._walk: _Walk | None = None
        self._popup: CompletionPopup | None = None
        self._by_owner = False
        self._preset_keys: Mapping[str, str] = {}
        self._modal: Modal | None = None
        self._submitted: str | None = None
        self._submitted_at = 0.0

    def on_unmount(self) -> None:
        """Takes its list along."""
        if self._popup is not None and self._popup.is_attached:
            self._popup.remove()

    # What the owner does

    @property
    def text(self) -> str:
        """All that is typed; the editor asks for it with every row it draws, so it is kept."""
        if self._text is None:
            self._text = self.document.text
        return self._text

    @text.setter
    def text(self, value: str) -> None:
        self.load_text(value)

    @property
    def draft(self) -> str:
        """The text in hand, also while an earlier prompt is looked at."""
        return self._walk.draft if self._walk else self.text

    @property
    def popup_open(self) -> bool:
        """Whether the list of commands is shown; Esc then belongs to it."""
        return self._popup is not None and self._popup.is_open

    def accepted(self, text: str | None = None) -> None:
        """Says that `text` (else what was submitted last) is safe: it is remembered, and leaves the prompt if it was
        sent from here. What was typed since stays."""
        pending = self._submitted
        sent = pending if text is None else text
        if sent is None:
            return
        self.recent = (sent, *(each for each in self.recent if each != sent))
        if pending is None or pending.strip() != sent.strip():
            return
        self._submitted = None
        typed = self.text.lstrip()
        if typed.startswith(sent.strip()):
            rest = typed[len(sent.strip()) :].lstrip("\n")
            self.load_text(rest if rest.strip() else "")
        self._draft_told = pending
        self.flush_draft()

    def put(self, text: str) -> None:
        """Replaces the text, for an earlier question to edit; undo brings back what was there."""
        self._walk = None
        self._write(sanitize(text))
        self._schedule_draft()

    def load_text(self, text: str) -> None:
        """Starts over with this text and no undo, for a draft that comes from the store."""
        self._walk = self._text = None
        safe = sanitize(text)
        self.soft_wrap = not _has_long_line(safe)
        with self._owner():
            super().load_text(safe)
        self.move_cursor(self.document.end)
        self._draft_told = self.text

    def flush_draft(self) -> None:
        """Posts `DraftChanged` now if the draft is not the one last told."""
        if self._draft_timer is not None:
            self._draft_timer.stop()
            self._draft_timer = None
        if self.draft != self._draft_told:
            self._draft_told = self.draft
            self.post_message(self.DraftChanged(self, self._draft_told))

    def watch_available(self) -> None:
        """Shows whether typing is possible."""
        self.read_only = not self.available
        self.placeholder = PLACEHOLDER if self.available else self.reason
        self._close_popup()

    def watch_reason(self) -> None:
        """Shows why typing is not possible."""
        if not self.available:
            self.placeholder = self.reason

    def render_line(self, y: int) -> Strip:
        """A line of it, or of what stands in for it; nothing where there is no room for a letter."""
        return super().render_line(y) if self.content_size.width > 0 else Strip.blank(self.size.width)

    # Editing

    async def on_key(self, event: events.Key) -> None:
        """Enter sends. Editing keys act here and now: by way of the app's bindings they could be overtaken by the
        letters typed after them."""
        if await self._pressed(event.key):
            pass
        elif event.key == "enter":
            if self.available:
                self._enter(event.time)
        elif (action := _EDITING.get(event.key)) is None or not await self.app.run_action(action, self):
            return
        event.stop()
        event.prevent_default()

    def use_keys(self, preset: Preset) -> None:
        """Takes the keys of a preset beside its own; the normal mode begins only when somebody asks for it."""
        self._preset_keys = preset.editing
        if not preset.modal:
            self._modal = None
        elif self._modal is None:
            self._modal = Modal()
        self._tell_mode()

    async def _pressed(self, key: str) -> bool:
        """Whether a key belonged to the preset; the list of commands goes first."""
        actions: tuple[str, ...] | None = (self._preset_keys[key],) if key in self._preset_keys else None
        if self._modal is not None and not (self.popup_open and key == "escape"):
            actions = self._modal.press(key, several_lines="\n" in self.text)
        for action in actions or ():
            await self.app.run_action(action, self)
        self._tell_mode()
        return actions is not None

    def _tell_mode(self) -> None:
        mode = "" if self._modal is None else "NORMAL" if self._modal.normal else "INSERT"
        if mode != self.mode:
            self.mode = mode

    def action_begin_command(self) -> None:
        """Begins a command line."""
        self.put("/")
        self._show_completions()

    def _enter(self, time: float) -> None:
        text = self.text
        if self.popup_open and not self._is_complete(text):
            self.action_accept_completion()
        elif text.strip() and not (text == self._submitted and time - self._submitted_at < REPEAT):
            self._submitted, self._submitted_at = text, time
            self._close_popup()
            self.post_message(self.Submitted(self, text))

    def action_new_line(self) -> None:
        """Breaks the line at the cursor."""
        self._insert("\n")

    def on_paste(self, event: events.Paste) -> None:
        """Takes a paste as text, never as keys."""
        event.stop()
        event.prevent_default()
        if self.take_paste is None or not self.take_paste(event.text):
            self._paste(event.text)

    def paste(self, text: str) -> None:
        """Takes this text as if it were pasted."""
        self._paste(text)

    def action_paste(self) -> None:
        """Pastes what was copied inside the app."""
        self._paste(self.app.clipboard)

    def _paste(self, text: str) -> None:
        size = len(text.encode(errors="surrogatepass")) if len(text) <= PASTE_LIMIT else len(text)
        if size > PASTE_LIMIT:
            self.notify(
                f"The paste has {size / 1e6:.1f} MB; the prompt takes {PASTE_LIMIT / 1e6:.0f} MB. Nothing was pasted.",
                severity="warning",
            )
            return
        self.history.checkpoint()
        self._insert(sanitize(text.replace("\r\n", "\n").replace("\r", "\n")))
        self.history.checkpoint()

    def _insert(self, text: str) -> None:
        if self.available:
            if _has_long_line(text):
                self.soft_wrap = False
            end = self.replace(text, *self.selection, maintain_selection_offset=False).end_location
            self.move_cursor(end)

    def _write(self, text: str) -> None:
        """Replaces everything as one step that can be undone."""
        self.soft_wrap = not _has_long_line(text)
        with self._owner():
            self.history.checkpoint()
            self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
            self.history.checkpoint()
        self.move_cursor(self.document.end)

    @contextmanager
    def _owner(self) -> Iterator[None]:
        """Changes made inside are not typing: they offer no commands and make no draft."""
        self._by_owner = True
        try:
            yield
        finally:
            self._by_owner = False
            self._close_popup()

    def update_suggestion(self) -> None:
        """Called by the editor right after each change of the text."""
        self._text = None
        if not self._by_owner:
            self._walk = None
            self._show_completions()
            self._schedule_draft()

    def _schedule_draft(self) -> None:
        if self._draft_timer is None and self.is_mounted:
            self._draft_timer = self.set_timer(self._draft_delay, self.flush_draft)

    def on_blur(self) -> None:
        """Leaves nothing open and nothing untold."""
        self._close_popup()
        self.flush_draft()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Lets keys through to others where the prompt has no use for them."""
        if action in ("accept_completion", "close_completion"):
            return self.popup_open
        if action in ("cursor_page_up", "cursor_page_down"):
            return self.virtual_size.height > self.size.height
        return super().check_action(action, parameters)

    # Earlier prompts

    def action_cursor_up(self, select: bool = False) -> None:
        """One row up, and from the first row to the prompt before."""
        if not select and self.popup_open and self._popup:
            self._popup.move(-1)
        elif select or not self.navigator.is_first_wrapped_line(self.cursor_location) or not self._walk_by(1):
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """One row down, and from the last row to the prompt after."""
        if not select and self.popup_open and self._popup:
            self._popup.move(1)
        elif select or not self.navigator.is_last_wrapped_line(self.cursor_location) or not self._walk_by(-1):
            super().action_cursor_down(select)

    def _walk_by(self, step: int) -> bool:
        """Shows the next older (1) or newer (-1) prompt that begins like the draft; False when there is none."""
        if not self.available:
            return False
        walk = self._walk or self._new_walk()
        index = walk.index + step
        if not -1 <= index < len(walk.entries):
            return False
        walk.index = index
        self._write(walk.text)
        if step > 0:
            self.move_cursor(self.navigator.get_location_end((0, 0)))
        self._walk = walk if index >= 0 else None
        return True

    def _new_walk(self) -> _Walk:
        draft = self.text
        found = dict.fromkeys(sanitize(each) for each in self.recent)
        return _Walk(draft, tuple(each for each in found if each.startswith(draft) and each != draft))

    # Commands

    def offer(self) -> None:
        """Looks again at what may follow: something was read meanwhile."""
        if self.has_focus and self.is_attached:
            self._show_completions()

    def _show_completions(self) -> None:
        if not self.is_attached:
            return  # the app is being left, and keys are still on their way
        line = self.document.get_line(0)
        wanted = self.complete is not None and self.document.line_count == 1 and line.startswith("/")
        matches = self.complete(line) if wanted and self.complete and self.has_focus else ()
        if not matches:
            self._close_popup()
            return
        if self._popup is None:
            self._popup = CompletionPopup(self._accept)
            self.screen.mount(self._popup)
            self.screen.screen_layout_refresh_signal.subscribe(self, self._place_popup)
        self._popup.open(matches, self.region)

    def _place_popup(self, _: object = None) -> None:
        if self._popup is not None and self._popup.is_open:
            self._popup.open(self._popup.matches, self.region)

    def _close_popup(self) -> None:
        if self._popup is not None and self._popup.is_open:
            self._popup.close()

    def _is_complete(self, text: str) -> bool:
        """Whether Enter should send the line rather than take what is chosen in the list."""
        if self._popup is None or (chosen := self._popup.chosen) is None:
            return True
        line = text.strip()
        if chosen.argument:
            return not self._popup.moved or line == chosen.text
        if chosen is not self._popup.matches[0]:
            return line in (chosen.text, chosen.also)
        return " " in line or any(line in (each.text, each.also) for each in self._popup.matches)

    def _accept(self, chosen: Completion) -> None:
        goes_on = chosen.detail or (chosen.argument and not chosen.more)
        self._write(f"{chosen.text} " if goes_on else chosen.text)
        self._schedule_draft()
        self._show_completions()

    def action_accept_completion(self) -> None:
        """Takes the command that is chosen in the list."""
        if self._popup is not None and (chosen := self._popup.chosen) is not None:
            self._accept(chosen)

    def action_close_completion(self) -> None:
        """Closes the list and nothing else."""
        self._close_popup()

    def action_cursor_right(self, select: bool = False) -> None:
        """One character on; at the end of a command line it takes what is chosen in the list."""
        if not select and self.popup_open and self.cursor_at_end_of_text:
            self.action_accept_completion()
        else:
            super().action_cursor_right(select)


_EDITING = {
    key: binding.action
    for binding in (*TextArea.BINDINGS, *Prompt.BINDINGS)
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}
"""What each editing key does."""
