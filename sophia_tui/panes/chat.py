"""The chat pane: sessions on the left, the conversation, the prompt."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.getters import query_one
from textual.message import Message as TextualMessage

from sophia_core.chat.history import title_of
from sophia_core.events import (
    EmbeddedProgressed,
    Event,
    ReasoningDelta,
    SessionChanged,
    TextDelta,
    ToolCalled,
    TourEnded,
    TourStepped,
    TurnFinished,
    TurnStarted,
)
from sophia_core.sanitize import one_line, sanitize
from sophia_tui.faces import marked, speaking
from sophia_tui.footers import asides_of, entry_of, footer_of_turn
from sophia_tui.listing import listing
from sophia_tui.screens.welcome import Welcome
from sophia_tui.terminal import takes_links
from sophia_tui.transcript import Entry, Transcript
from sophia_tui.turns import TurnView
from sophia_tui.widgets.attachments import Attachments
from sophia_tui.widgets.coach import Coach
from sophia_tui.widgets.prompt import Prompt
from sophia_tui.widgets.sessions import SessionList
from sophia_tui.widgets.standing import Standing

if TYPE_CHECKING:
    from local_store import Message

SIDEBAR_FROM_COLUMNS = 100
SIDEBAR, WIDEST_SIDEBAR = 30, 44
"""Columns of the list of sessions: a fifth of the screen between these."""
TRIMMED = "what is above is not sent · /untrim"
BESIDE_TEXT = 6
"""Cells beside the lines of a list: margins, scroll bar and indentation."""


class ChatPane(Horizontal):
    """Shows what events tell and asks the app for everything else."""

    @dataclass
    class CopyRequested(TextualMessage):
        """The person wants this text in the clipboard."""

        text: str
        what: str

    sessions = query_one("#sessions", SessionList)
    transcript = query_one("#transcript", Transcript)
    prompt = query_one("#prompt", Prompt)
    attachments = query_one("#attachments", Attachments)
    standing = query_one("#standing", Standing)
    welcome = query_one("#welcome", Welcome)
    coach = query_one("#coach", Coach)

    def __init__(
        self, *, sidebar: bool, fps: int, keys: Sequence[tuple[str, str]] = (), ascii_only: bool = False
    ) -> None:
        """`fps` is how often an answer is drawn while it streams; `keys` are the pairs that the welcome shows."""
        super().__init__(id="chat")
        self._fps, self._keys, self._ascii_only = fps, keys, ascii_only
        self._sidebar: bool | None = None if sidebar else False
        """None follows the width; a person's choice stays."""
        self.session_id: str | None = None
        self.editing: str | None = None
        """The question being asked again in other words."""
        self.asked_again: str | None = None
        """The edited question as it was sent."""
        self._before_editing = ""
        self.sent_from: str | None = None
        """The first message that models are sent; None: all are."""

    def compose(self) -> ComposeResult:
        yield SessionList(id="sessions", ascii_only=self._ascii_only)
        with Vertical(id="conversation"):
            yield Welcome(self._keys, id="welcome")
            yield Transcript(id="transcript", fps=self._fps, ascii_only=self._ascii_only, links=takes_links(os.environ))
            yield Standing(id="standing")
            yield Coach(id="coach")
            yield Attachments(id="attachments", ascii_only=self._ascii_only)
            yield Prompt(id="prompt")

    def on_mount(self) -> None:
        self.turns = TurnView(self.transcript, time.monotonic)
        self._show_welcome()
        self.prompt.focus()

    def on_resize(self) -> None:
        self._fit_sidebar()

    def _fit_sidebar(self) -> None:
        wide = self.app.size.width >= SIDEBAR_FROM_COLUMNS
        self.sessions.display = wide if self._sidebar is None else self._sidebar
        self.sessions.styles.width = min(WIDEST_SIDEBAR, max(SIDEBAR, self.app.size.width // 5))

    def toggle_sidebar(self) -> None:
        """Shows or hides the sessions, whatever the width."""
        self._sidebar = not self.sessions.display
        self._fit_sidebar()
        if not self.sessions.display:
            self.prompt.focus()

    def find(self) -> None:
        """Goes to the filter of the session list."""
        self._sidebar = True
        self._fit_sidebar()
        self.sessions.action_filter()

    def focus_prompt(self) -> None:
        self.prompt.focus()

    def on_key(self, event: events.Key) -> None:
        """Whoever types after a click into the conversation means the prompt; in vim's keys a letter is a command."""
        if event.is_printable and event.character and self.transcript.has_focus and self.prompt.mode == "":
            event.stop()
            self.prompt.focus()
            self.prompt.insert(event.character)

    def heard(self, event: Event) -> None:
        """Every event of the app comes through here."""
        match event:
            case TextDelta():
                self.turns.text(event)
            case ReasoningDelta():
                self.turns.reasoning(event)
            case ToolCalled():
                self.turns.called(event)
            case TurnStarted():
                self._turn_started(event)
            case TurnFinished():
                self.turns.finished(event)
            case EmbeddedProgressed():
                self._model_progressed(event)
            case TourStepped():
                self.coach.tell(event.lesson, event.number, event.steps, event.text)
            case TourEnded():
                self.coach.rest()
            case SessionChanged():
                if event.session_id != self.session_id:
                    self.give_up_editing()
                self.session_id = event.session_id

    def _model_progressed(self, event: EmbeddedProgressed) -> None:
        if self.welcome.display:
            if event.stage == "ready":
                self.welcome.say_model("The model is ready.")
            else:
                self.welcome.say_model(one_line(event.detail, 120), event.fraction)

    def _turn_started(self, event: TurnStarted) -> None:
        if event.delivered:  # it waited in the outbox: the person may be elsewhere, and is not to be moved
            self.turns.started(event, shown=event.session_id == self.session_id)
            return
        self.session_id = event.session_id
        self.turns.started(event, shown=True)
        self._show_welcome()
        self.prompt.accepted(event.question)
        if self.editing and event.question == self.asked_again:
            self.stop_editing()

    def show_session(self, session_id: str | None, shown: list[tuple[Message, tuple[int, int] | None]]) -> None:
        """Rebuilds the conversation from the store; the running turn is laid over what the store knows of it."""
        self.session_id = session_id
        self.transcript.show(self._entries(shown))
        self.transcript.follow()
        self._show_welcome()

    def lead_in(self, shown: list[tuple[Message, tuple[int, int] | None]]) -> None:
        """Adds what was said before everything that is shown; the reader is not moved."""
        self.transcript.prepend(self._entries(shown))

    def exchange(self, shown: list[tuple[Message, tuple[int, int] | None]]) -> None:
        """Shows another branch of the same session, without moving what is being read and is in both."""
        self.transcript.exchange(self._entries(shown))
        self._show_welcome()

    def add(self, messages: Sequence[Message]) -> None:
        """Adds what another process said at the end; the reader is not moved, only told."""
        for message in messages:
            entry = self._entry(message, None, sanitize(message.text), sanitize(message.reasoning))
            if entry.status == "streaming":
                self.transcript.begin(entry)
            else:
                self.transcript.append(entry)
        self._show_welcome()

    def _entries(self, shown: list[tuple[Message, tuple[int, int] | None]]) -> list[Entry]:
        last = self.turns.last
        entries = []
        for message, branch in shown:
            live = self.turns.of(message.id)
            if live and not live.quiet:
                entries.append(live.entry(branch))
                continue
            entry = self._entry(message, branch, sanitize(message.text), sanitize(message.reasoning))
            if message.id == self.sent_from:
                entry = replace(entry, above=TRIMMED)
            if last and message.id == last.answer_id and message.status == "streaming":
                entry = replace(
                    entry, text=sanitize(last.text), status=last.status, footer=footer_of_turn(last, last.status)
                )
            entries.append(entry)
        return marked(entries)

    def _entry(self, message: Message, branch: tuple[int, int] | None, text: str, reasoning: str) -> Entry:
        entry = entry_of(message, branch, text, reasoning)
        if (footer := self.turns.footer(entry.id, entry.status)) is not None:
            entry = replace(entry, footer=footer)
        return speaking(entry, self.turns.faces(message.persona)) if message.role == "assistant" else entry

    def restate(self, shown: list[tuple[Message, tuple[int, int] | None]]) -> None:
        """Corrects how the answers shown stand, each in its place; nothing is moved to another part of the text."""
        live, known = self.turns.live, {entry.id: entry for entry in self.transcript.entries}
        for message, branch in shown:
            before = known.get(message.id)
            if before is not None and message.parts:
                self.transcript.put_asides(message.id, asides_of(message.parts))
            if before is None or message.role != "assistant" or (live and message.id == live.started.answer_id):
                continue
            now = self._entry(message, branch, before.text, before.reasoning)
            if now.status != before.status and {now.status, before.status} & {"queued", "dead"}:
                self.transcript.update(now)

    def say(self, title: str, records: list[object]) -> None:
        """Shows a command's answer inside the conversation; it is not part of it."""
        lines = listing(records, self.query_one("#conversation").size.width - BESIDE_TEXT)
        text = "\n".join([title, *(f"  {line}" for line in lines)]) if lines else f"{title}: nothing"
        self.transcript.append(Entry(id=f"notice-{time.monotonic_ns()}", role="notice", text=sanitize(text)))
        self.transcript.follow()
        self._show_welcome()

    def _show_welcome(self) -> None:
        empty = not self.transcript.entries
        self.welcome.display = empty
        self.transcript.display = not empty

    def edit_question(self) -> None:
        """Takes the selected or last question into the prompt."""
        questions = [entry for entry in self.transcript.entries if entry.role == "user"]
        chosen = self.transcript.selected_entry
        entry = chosen if chosen and chosen.role == "user" else (questions[-1] if questions else None)
        if entry:
            if self.editing is None:
                self._before_editing = self.prompt.draft
            self.editing = entry.id
            self.prompt.put(entry.text)
            self.prompt.focus()
            self.standing.say(
                "editing", f"Asking again: “{title_of(entry.text, 40)}” · Enter sends, Esc gives up", "info"
            )

    def stop_editing(self) -> None:
        """The edited question is sent, or is no longer the one being edited."""
        self.editing = self.asked_again = None
        self.standing.clear("editing")

    def give_up_editing(self) -> bool:
        """Brings back what was in the prompt before; False when no question was being edited."""
        if self.editing is None:
            return False
        self.stop_editing()
        self.prompt.put(self._before_editing)
        return True

    def toggle_reasoning(self) -> None:
        """Of the selected answer, or the last."""
        if entry := self._answer():
            self.transcript.toggle_reasoning(entry.id)

    def copy_message(self) -> None:
        entry = self.transcript.selected_entry or self._answer()
        if entry:
            self.post_message(self.CopyRequested(entry.text, "question" if entry.role == "user" else "answer"))

    def copy_code(self) -> None:
        code = self.transcript.selected_code() or self.transcript.last_code()
        self.post_message(self.CopyRequested(code[1] if code else "", "code block"))

    def _answer(self) -> Entry | None:
        chosen = self.transcript.selected_entry
        if chosen and chosen.role == "assistant":
            return chosen
        return next((e for e in reversed(self.transcript.entries) if e.role == "assistant"), None)

    @on(Welcome.Chosen)
    def _sample_chosen(self, event: Welcome.Chosen) -> None:
        self.prompt.put(event.text)
        self.prompt.focus()

    @on(Welcome.Typed)
    def _typed_beside_the_prompt(self, event: Welcome.Typed) -> None:
        self.prompt.put(self.prompt.text + event.text)
        self.prompt.focus()

    @on(SessionList.Dismissed)
    def _list_left(self) -> None:
        self.prompt.focus()

    @on(Transcript.CopyRequested)
    def _block_copied(self, event: Transcript.CopyRequested) -> None:
        self.post_message(self.CopyRequested(event.text, event.what))

    @on(Transcript.LinkClicked)
    def _link_clicked(self, event: Transcript.LinkClicked) -> None:
        """The terminal itself opens links; a plain click copies the address: nothing is opened behind one's back."""
        self.post_message(self.CopyRequested(event.url, "address of the link"))

    @on(Transcript.EditRequested)
    def _edit_asked(self, event: Transcript.EditRequested) -> None:
        self.edit_question()
