"""The terminal, driven so that a slow one, or one that takes nothing, holds nobody up.

Textual's own driver waits where more than thirty writes lie: the whole app stands still with a terminal that does. Here
a thread of its own has what waits, the app is told to draw nothing meanwhile, and a terminal that is gone ends the app.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, Final

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size

from sophia_core.terminal_link import QUESTION
from sophia_tui.drawing import ThriftyApp
from sophia_tui.ground import AGAIN, ATTRIBUTES, FOLLOW, LEAVE, Hearing
from sophia_tui.link import MOST_ASKED, Gate, Link, now, of_this_process
from sophia_tui.thrift import fills, thrifty
from sophia_tui.writer import Writer

if TYPE_CHECKING:
    from textual.app import App
    from textual.message import Message

HUNG_UP: Final = 128 + signal.SIGHUP
KEYS_S: Final = 0.1
"""How often the thread that reads looks whether it is to stop, and whether an Esc was only that."""
RESIZE_S: Final = 0.08
"""No more than one size in this time is laid out; the last one always is."""
ATTRIBUTES_S: Final = 0.5
PARTING_S: Final = 0.5
"""How long an answer is waited for before the terminal is given back, lest it be typed into what comes next."""


class LinkDriver(LinuxDriver):
    """Textual's driver for Linux and macOS, with a writer, a link and a gate."""

    link: Link
    _out: Writer | None = None

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._fills = fills(os.environ)
        self.link = of_this_process()
        self._thrifty = app if isinstance(app, ThriftyApp) else None
        self.gate = Gate(self.link, self._hold, self._release, now)
        self._patience: asyncio.TimerHandle | None = None
        self._resizing: asyncio.TimerHandle | None = None
        self.on_ground: Callable[[bool], None] | None = None
        """Hears whether the terminal's ground is light, whenever that is known anew; None: nobody wants to know."""
        self._attributes: asyncio.Future[str] | None = None
        self._idle = Flag()
        """No answer is underway: the terminal can be given back."""
        self._idle.set()
        self.answered = asyncio.Event()
        """The same, for the loop."""
        self.answered.set()

    # -- writing

    def write(self, data: str) -> None:
        """Takes text for the terminal; returns at once."""
        if self._out is not None and data:
            before = self._out.given
            self._out.write(thrifty(data, erase=self._fills))
            self.link.wrote(self._out.given - before)

    def flush(self) -> None:
        """A frame has ended."""
        if self._out is None:
            return
        self.link.frames += 1
        if self.link.asks:
            self.ask()
        self.gate.look(self._out.backlog)

    def ask(self) -> None:
        """Asks the terminal to say when it has come this far."""
        if len(self.link.asked) < MOST_ASKED and self._out is not None and self.input_tty:
            self._idle.clear()
            self.answered.clear()
            self.write(QUESTION.decode())
            self.link.asking(now())
            if self._patience is None:
                self._wait()

    def _wait(self) -> None:
        """For the oldest answer that is underway."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self.link.asked:
            self._patience = self._loop.call_later(self.link.patience_s, self._lost_patience)

    def _lost_patience(self) -> None:
        self._patience = None
        self.link.late()
        self.answered.set()
        self._look()

    def _answered(self, at: float) -> None:
        self.link.answered(at)
        self._wait()
        self.answered.set()
        if not self.link.asked:
            self._idle.set()
        self._look()

    def _look(self) -> None:
        if self._out is not None:
            self.gate.look(self._out.backlog)

    def ask_ground(self) -> None:
        """Asks what colour the ground has, and whoever comes after it waits for that answer too; nobody else does."""
        if self.on_ground is not None and self._out is not None and self.input_tty:
            self.write(AGAIN + FOLLOW)
            self.ask()

    async def attributes(self) -> frozenset[str]:
        """What the terminal says that it can; nothing where it does not tell in time."""
        if self._out is None or not self.input_tty:
            return frozenset()
        self._attributes = asyncio.get_running_loop().create_future()
        self.write(ATTRIBUTES)
        self.ask()
        with suppress(TimeoutError):
            async with asyncio.timeout(ATTRIBUTES_S + (self.link.round_trip_s or 0.0)):
                return frozenset((await self._attributes).split(";")[1:])
        return frozenset()

    def _told(self, attributes: str) -> None:
        if self._attributes is not None and not self._attributes.done():
            self._attributes.set_result(attributes)

    def _ground(self, light: bool) -> None:
        if self.on_ground is not None:
            self._from_thread(partial(self.on_ground, light))()

    def _hold(self) -> None:
        if self._thrifty is not None:
            self._thrifty.hold()

    def _release(self) -> None:
        if self._thrifty is not None:
            self._thrifty.release()

    def _forget(self) -> None:
        """What the terminal shows is not known any more."""
        if self._thrifty is not None:
            self._thrifty.shown.forget()

    # -- sizes

    def _resized(self) -> None:
        """A new size: laid out at once, then no more than one in a while."""
        if not self._in_band_window_resize and self._resizing is None:
            self._tell_size()
            self._resizing = self._loop.call_later(RESIZE_S, self._resize_again, self._get_terminal_size())

    def _resize_again(self, told: tuple[int, int]) -> None:
        self._resizing = None
        if self._get_terminal_size() != told:
            self._resized()

    def _tell_size(self) -> None:
        size = Size(*self._get_terminal_size())
        self._forget()
        self._app.post_message(events.Resize(size, size))

    # -- the terminal is taken and given back

    def start_application_mode(self) -> None:
        """Takes the terminal."""
        descriptor = 2 if sys.__stderr__ is None else sys.__stderr__.fileno()  # where Textual's driver writes, too
        self._out = Writer(descriptor, self._from_thread(self._look), self._from_thread(self._gone))
        self._out.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual declares no type
        if self._writer_thread is not None:  # ours writes
            self._writer_thread.stop()
            self._writer_thread = None
        self._loop.add_signal_handler(signal.SIGWINCH, self._resized)
        self.ask_ground()
        self._forget()
        self.ask()

    def _from_thread(self, call: Callable[[], object]) -> Callable[[], None]:
        def pass_on() -> None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(call)

        return pass_on

    def stop_application_mode(self) -> None:
        """Gives the terminal back."""
        self.gate.open()
        self.write(LEAVE)
        self._idle.wait(min(PARTING_S, 3 * (self.link.round_trip_s or PARTING_S)))
        super().stop_application_mode()

    def close(self) -> None:
        """Writes the last of it."""
        if self._out is not None:
            self._out.stop()
            self._out = None
        self.link.forget()

    def process_message(self, message: Message) -> None:
        """Takes the answers out of what the terminal says; runs in the thread that reads."""
        if isinstance(message, events.CursorPosition) and self.link.asked:
            if len(self.link.asked) == 1:
                self._idle.set()
            at = now()
            self._from_thread(lambda: self._answered(at))()
            return
        if isinstance(message, events.Resize):
            self._from_thread(self._forget)()
        elif isinstance(message, events.AppFocus):
            self._from_thread(self.ask_ground)()
        super().process_message(message)

    # -- the end of the terminal

    def _gone(self) -> None:
        """The terminal was closed: a way to leave like any other, and what is streaming is kept."""
        self._app.exit(HUNG_UP)

    def run_input_thread(self) -> None:
        """Reads keys until it is told to stop, or nobody is at the other end."""
        try:
            self._read_keys()
        except OSError:
            self._from_thread(self._gone)()

    def _read_keys(self) -> None:
        parser, decode = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        hearing = Hearing(self._ground, lambda told: self._from_thread(partial(self._told, told))())
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], KEYS_S)[0]:
                data = os.read(self.fileno, 4096)
                if not data:
                    raise OSError("hung up")
                self._parse(parser, hearing.feed(decode(data)))
            else:
                self._parse(parser, hearing.rest())
            for message in parser.tick():
                self.process_message(message)

    def _parse(self, parser: XTermParser, text: str) -> None:
        if text:  # nothing at all would mean the end
            for message in parser.feed(text):
                self.process_message(message)
