"""The terminal app: it composes panes, hands command lines to the core, and shows what the core tells."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Event, InputEvent, Key
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import ContentSwitcher, TextArea

from sophia_tui.arguments import Arguments
from sophia_tui.attaching import Attaching
from sophia_tui.begin import begin
from sophia_tui.bindings import WORTH_KNOWING, all_declarations, default_bindings, key_hints
from sophia_tui.completions import complete
from sophia_tui.dialogs import Dialogs
from sophia_tui.dispatcher import Dispatcher
from sophia_tui.drawing import CalmScreen, ThriftyApp
from sophia_tui.guiding import Guiding
from sophia_tui.keyboard import Keyboard
from sophia_tui.linking import Linking
from sophia_tui.locking import Curtain
from sophia_tui.looks import Looks
from sophia_tui.macro_guide import MacroGuide
from sophia_tui.panes.chat import ChatPane
from sophia_tui.panes.coming import PANES, pane_of
from sophia_tui.session_feed import SessionFeed
from sophia_tui.terminal import frames_per_second, speaks_utf8
from sophia_tui.voice_feed import VoiceFeed
from sophia_tui.widgets.completion import Completion
from sophia_tui.widgets.panebar import PaneBar
from sophia_tui.widgets.prompt import Prompt
from sophia_tui.widgets.sessions import SessionList
from sophia_tui.widgets.status import StatusBar

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.first_look import FirstLook
    from sophia_core.keymap import Keymap
    from sophia_core.runtime import Runtime
    from sophia_core.settings import Loaded


class MainScreen(CalmScreen):
    """Where everything stands; keys go to the prompt from the first moment."""

    AUTO_FOCUS = "#prompt"


class SophiaApp(ThriftyApp):
    """SOPHIA on a terminal."""

    CSS_PATH = "sophia.tcss"
    TITLE = "SOPHIA"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*default_bindings()]

    switcher = query_one("#panes", ContentSwitcher)
    chat = query_one("#chat", ChatPane)
    panebar = query_one(PaneBar)
    status = query_one(StatusBar)

    def __init__(self, look: FirstLook, load: Callable[[], Loaded], *, transport: Transport | None = None) -> None:
        """`look` is enough for the first paint; `load` gives all settings, in a thread, right after it."""
        self.looks = Looks(look)
        super().__init__()
        self.looks.prepare(self)
        self._look, self.load, self._transport = look, load, transport
        self.loaded: Loaded
        self.runtime: Runtime
        self.ready = asyncio.Event()
        """Set once the settings are read and there is a runtime; until then one can type, and what is sent waits."""
        self.specs = all_declarations()
        self.keyboard, self.arguments = Keyboard(self), Arguments(self)
        self.ascii_only = look.ascii_only or not speaks_utf8(os.environ)
        self.set_class(self.ascii_only, "-ascii")
        self.dispatcher = Dispatcher(self)
        self.feed, self.dialogs, self.guiding = SessionFeed(self), Dialogs(self), Guiding(self)
        self.macro_guide = MacroGuide(self)
        self.curtain, self.attaching, self.linking = Curtain(self), Attaching(self), Linking(self)
        self.voice = VoiceFeed(self)
        self.warmed = False
        self.rehearsing = False
        self.unsent: tuple[str | None, str] | None = None

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(id="_default")

    def compose(self) -> ComposeResult:
        yield PaneBar(PANES)
        with ContentSwitcher(id="panes", initial="chat"):
            yield ChatPane(
                sidebar=self._look.sidebar,
                fps=self._look.frames_per_second or frames_per_second(os.environ, still=self._look.reduced_motion),
                keys=key_hints(self.keys, WORTH_KNOWING),
                ascii_only=self.ascii_only,
            )
        yield StatusBar(ascii_only=self.ascii_only)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return self.looks.variable_defaults(self)

    def on_mount(self) -> None:
        self.looks.apply(self)
        self.chat.prompt.complete = self._complete
        self.watch(self.chat.prompt, "mode", self._mode_changed, init=False)
        self.watch(self.chat.transcript, "unseen", self._unseen_changed, init=False)
        self.call_after_refresh(self.run_worker, begin(self, self.load, self._transport), name="begin")

    def _complete(self, typed: str) -> Sequence[Completion]:
        return complete(typed, self) if self.ready.is_set() else ()

    @property
    def keys(self) -> Keymap:
        """Which keys run which commands."""
        return self.keyboard.keymap

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands on keys belong to the main screen: a dialog keeps its own keys, but for those declared for it."""
        return action != "dispatch" or self.keyboard.works(str(parameters[0]))

    def action_dispatch(self, name: str) -> None:
        """Runs a command."""
        self.dispatcher.start(name)

    async def on_event(self, event: Event) -> None:
        """Somebody is here: the store is not locked for idleness, and a key may be a command's."""
        if isinstance(event, InputEvent) and self.ready.is_set():
            self.runtime.idle_lock.touch()
        if isinstance(event, Key) and not event.is_forwarded and self.keyboard.take(event.key):
            return
        await super().on_event(event)

    def exit(self, *args: Any, **kwargs: Any) -> None:
        """Leaves, with what is typed and not sent."""
        if self.is_running and self.query("#chat"):
            self.unsent = (self.feed.draft_of, self.chat.prompt.draft)
        super().exit(*args, **kwargs)

    def learn_keys(self) -> None:
        """Works the keys out from the person's own and from the commands there are now."""
        self.keyboard.learn(self.loaded.settings.keys)
        self.chat.prompt.use_keys(self.keyboard.preset)

    def show_pane(self, name: str) -> None:
        """Shows one of the four panes; an unvisited one is built now."""
        if not self.switcher.query(f"#{name}"):
            self.switcher.mount(pane_of(self, name))
        self.switcher.current = self.panebar.current = name
        if name == "chat":
            self.chat.focus_prompt()
        else:
            self.set_focus(None)

    @on(PaneBar.Chosen)
    def _pane_chosen(self, event: PaneBar.Chosen) -> None:
        self.show_pane(event.pane)

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        self.dispatcher.submit(event.text)

    @on(TextArea.Changed, "#prompt")
    def _typing(self) -> None:
        """A question is coming: what it needs is imported beside the typing, not before it and not after it."""
        if self.ready.is_set() and not self.warmed and self.query("#chat"):
            self.warmed = True
            self.run_worker(self.runtime.client.warm(), name="warm")
            self.chat.transcript.warm()

    @on(Prompt.DraftChanged)
    def _draft_changed(self, event: Prompt.DraftChanged) -> None:
        self.feed.keep_draft(event.text)

    @on(ChatPane.CopyRequested)
    def _copy(self, event: ChatPane.CopyRequested) -> None:
        self.dispatcher.copy(event.text, event.what)

    def _mode_changed(self, mode: str) -> None:
        self.status.values = replace(self.status.values, mode=mode)

    def _unseen_changed(self, unseen: bool) -> None:
        self.status.values = replace(self.status.values, following=not unseen, unseen=int(unseen))

    @on(StatusBar.Clicked)
    def _status_clicked(self, event: StatusBar.Clicked) -> None:
        self.dispatcher.status_part(event.part, event.key)

    @on(SessionList.Wish)
    def _session_wish(self, event: SessionList.Wish) -> None:
        self.feed.arranging.heard(event)
