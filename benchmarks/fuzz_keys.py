"""A hundred thousand keys, clicks, pastes and sizes without any sense, into the real app: it stays up and usable.

    python -m benchmarks.fuzz_keys [--events 100000] [--seed 1] [--visit 2000]

Each visit is a fresh home and a seed of its own, so that what a visit finds is found again by its seed. Headless,
on the real store, with a server that does anything; nothing outside the visit's folder is reached. Exit code 1 when the
app fell over, something was raised that nobody heard, or somebody could not ask a question afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

from textual import events
from textual._xterm_parser import XTermParser
from textual.geometry import Size
from textual.message import Message
from textual.worker import WorkerCancelled, WorkerFailed

from benchmarks.fuzz_backend import Moody
from benchmarks.fuzz_people import Deed, Person
from sophia_core.events import Event, TextDelta, TurnStarted
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.screens.unlock import Unlock
from tests.quiet import quiet, watched_threads

ENV: Final = {"SOPHIA_BASE_URL": "http://scripted/v1", "SOPHIA_MODEL": "scripted"}
AT_ONCE: Final = (1, 4, 20)
"""Deeds between two looks at whether everything stands: some come faster than they can be dealt with."""
REMEMBERED: Final = 60
PATIENCE_S: Final = 60.0
"""A busy machine is slow; only what never comes is an error."""
STUCK_S: Final = 240.0
"""So long nobody does anything: a visit takes a few seconds, so something waits for what never comes."""
ESCAPES: Final = 12
NOT_TYPED: Final = frozenset({"app.quit", "keys.rotate", "backup.restore", "store.repair", "memory.index"})
"""They end the visit, or take long; keys and the palette reach them all the same."""
MEASURED: Final = "".join(
    f'[[metrics.targets]]\nname = "{kind}"\nurl = "http://{kind}.scripted/metrics"\nkind = "{kind}"\n'
    for kind in ("vllm", "dcgm")
)
LIKED: Final = (
    "/trace", "/trace last", "/trace.list slowest", "/metrics.view slow", "/metrics.view plot", "/metrics.view next",
    "/plot next", "/metrics.range next", "/metrics.zoom in", "/metrics.table next", "/alerts", "/cost model",
    "/alerts.test screen", "/slo", "/healing", "/cost.budgets", "/metrics.find", "/ping", "ping",
)  # fmt: skip
"""What is measured has many faces, and most need somebody who knows what to ask for."""


@dataclass(slots=True)
class Found:
    """What came of a visit."""

    events: int = 0
    opened: int = 0
    checked: int = 0
    """How often a question was asked afterwards, and answered."""
    locked_out: int = 0
    """How often it could not be, because a passphrase was set that nobody knows."""
    ran: Counter[str] = field(default_factory=Counter)
    screens: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Sums up."""
        self.events, self.opened = self.events + other.events, self.opened + other.opened
        self.checked, self.locked_out = self.checked + other.checked, self.locked_out + other.locked_out
        self.ran += other.ran
        self.screens += other.screens
        self.wrong += other.wrong


class Visit:
    """One app, and somebody at it."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.seed = home, seed
        self.found = Found()
        self.server = Moody(seed)
        self.person = Person(seed, ())
        self.done: deque[Deed] = deque(maxlen=REMEMBERED)
        self._asked = 0
        self._heard: list[Event] = []
        self._told: set[str] = set()

    async def last(self, count: int) -> Found:
        """Does so much, in as many sittings as it takes: somebody may leave the app, and comes back."""
        asyncio.get_running_loop().set_exception_handler(self._unheard)
        while self.found.events < count and not self.found.wrong:
            await self._sitting(count)
        if not (self.found.checked or self.found.locked_out or self.found.wrong):
            await self._sitting(count)  # the app was left just now: who comes back can ask
        return self.found

    async def _sitting(self, count: int) -> None:
        """From opening the app to leaving it."""
        self.found.opened += 1
        try:
            async with self._open() as app:
                await self._sit(app, count)
        except Exception:  # whatever it is, it is what was looked for
            self._wrong(traceback.format_exc(limit=-12))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[SophiaApp]:
        loaded = load_settings({**ENV, "SOPHIA_HOME": str(self.home)})
        app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=self.server)
        try:
            async with app.run_test(size=self.person.size):
                await app.ready.wait()
                yield app
        finally:
            if app.ready.is_set():
                await app.runtime.close()

    async def _sit(self, app: SophiaApp, count: int) -> None:
        parser = XTermParser()
        names = [spec.name for spec in app.specs if spec.name not in NOT_TYPED]
        names += [spec.slash for spec in app.specs if spec.slash and spec.name not in NOT_TYPED]
        self.person.lines, self.person.likes = names, LIKED
        app.runtime.registry.after.append(lambda chosen, values, error: self.found.ran.update([chosen.name]))
        while self.found.events < count and self._stands(app):
            for _ in range(self.person.draw.choice(AT_ONCE)):
                self.person.keys = [key for keys in app.keys.bindings.values() for key in keys]
                for deed in self.person.next():
                    self._do(app, parser, deed)
            with suppress(Exception):  # between two screens
                self.found.screens.update([type(app.screen).__name__])
            await quiet(app)
        if self._stands(app):
            await self._check(app)

    async def watched(self, count: int) -> Found:
        """As `last`, but for a visit in which something waits for ever: that is told, and the visit ends."""
        visit, before = asyncio.create_task(self.last(count)), -1
        while self.found.events > before or self.found.events == 0:
            before = self.found.events
            done, _ = await asyncio.wait([visit], timeout=STUCK_S)
            if done:
                return visit.result()
        self._wrong(f"nothing went on\n{_waiting()}")
        visit.cancel()
        await asyncio.wait([visit], timeout=PATIENCE_S)
        return self.found

    def _stands(self, app: SophiaApp) -> bool:
        if app._exception is not None:
            self._wrong("".join(traceback.format_exception(app._exception, limit=-12)))
        return app._exception is None and app._running and not app._exit

    def _do(self, app: SophiaApp, parser: XTermParser, deed: Deed) -> None:
        self.found.events += 1
        self.done.append(deed)
        driver: Any = app._driver
        if isinstance(deed, tuple):
            driver._size = Size(*deed)
            app.post_message(events.Resize(Size(*deed), Size(*deed)))
            return
        for message in self._read(parser, deed):
            driver.process_message(message)

    def _read(self, parser: XTermParser, deed: str) -> Iterator[Message]:
        if deed:  # nothing would be the end of all input
            yield from parser.feed(deed)
        if deed.endswith(("\x1b", "\x1b[", "\x1bO")):  # as after the pause in which nothing more came
            with mock.patch("textual._parser.get_time", lambda: time.monotonic() + 10):
                yield from parser.tick()

    async def _check(self, app: SophiaApp) -> None:
        """Somebody with a plan can ask a question now, and is answered."""
        self.server.calm = True
        try:
            async with asyncio.timeout(PATIENCE_S):
                if not await self._to_the_prompt(app):
                    self.found.locked_out += 1
                    return
                await self._ask(app)
            self.found.checked += 1
        except TimeoutError:
            heard = [each for each in self._heard if not isinstance(each, TextDelta)]
            self._wrong(f"nobody could ask: {self._scene(app)}\nheard: {heard[-8:]}")
        finally:
            self.server.calm = False

    async def _to_the_prompt(self, app: SophiaApp) -> bool:
        for _ in range(ESCAPES):
            if isinstance(app.screen, Unlock):
                return False
            if len(app.screen_stack) == 1 and not app.runtime.chat.busy and not app.keyboard.pending:
                break
            self._key(app, "escape")
            await quiet(app)
        await app.runtime.chat.idle()
        if app.runtime.vault.state == "locked":
            return False
        self._key(app, "f2")
        app.dispatcher.start("view.chat")
        await self._settled(app)
        return True

    async def _settled(self, app: SophiaApp) -> None:
        """What was begun is done: a session that opens only now would put its own draft over what is typed."""
        await quiet(app)
        busy = [each for each in app.workers if each.group != "unlock" and each.name != "begin"]
        with suppress(TimeoutError, WorkerCancelled, WorkerFailed):
            await asyncio.wait_for(app.workers.wait_for_complete(busy), PATIENCE_S / 3)
        await quiet(app)

    async def _ask(self, app: SophiaApp) -> None:
        self._asked += 1
        question = f"ping{self._asked}x{self.seed}"
        heard = self._heard = []
        stop = app.runtime.bus.subscribe(heard.append)
        while app.chat.prompt.text != question:
            if len(app.screen_stack) > 1:  # asked for before, and there only now
                self._key(app, "escape")
                await quiet(app)
            app.chat.prompt.load_text("")
            if app.chat.prompt.mode.lower() == "normal":
                self._key(app, "i", "i")
            for letter in question:
                self._key(app, letter, letter)
            await self._settled(app)
        self._key(app, "enter")
        while not any(isinstance(each, TurnStarted) and question in each.question for each in heard):
            await quiet(app)
            await asyncio.sleep(0.01)
        await app.runtime.chat.idle()
        stop()

    def _key(self, app: SophiaApp, key: str, character: str | None = None) -> None:
        assert app._driver is not None
        app._driver.process_message(events.Key(key, character))

    def _scene(self, app: SophiaApp) -> str:
        prompt, vault = app.chat.prompt, app.runtime.vault.state
        return (
            f"{app.screen_stack} focused={app.focused} mode={prompt.mode} pane={app.switcher.current}"
            f" text={prompt.text!r} busy={app.runtime.chat.busy} store={vault} pending={app.keyboard.pending!r}"
            f" said={[each.text for each in app.dispatcher._toasts]}"
        )

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        told = "".join(traceback.format_exception(error, limit=-12)) if error else ""
        self._wrong(f"unheard: {context.get('message')} {context.get('task') or context.get('future')}\n{told}")

    def _wrong(self, what: str) -> None:
        if len(self.found.wrong) < 3 and what not in self._told:
            self._told.add(what)
            last = "\n".join(repr(each)[:120] for each in self.done)
            self.found.wrong.append(f"seed {self.seed}, after {self.found.events}\n{what}\nlast:\n{last}")


def _waiting() -> str:
    """What every task waits for."""
    told = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(limit=4, file=told)
    return told.getvalue()


async def _nothing(*_: object, **__: object) -> Any:
    raise FileNotFoundError("no programs here")


@contextmanager
def apart(home: Path) -> Iterator[None]:
    """Nothing outside `home` is reached: no program runs, no name is looked up, no browser or editor opens."""
    work, before = home / "work", Path.cwd()
    work.mkdir(parents=True, exist_ok=True)
    (work / "note.txt").write_text("a note\n")
    (home / "config.toml").write_text(MEASURED)
    env = {"HOME": str(home), "SOPHIA_NO_KEYRING": "1", "TERM": "xterm-256color", "PATH": "", "EDITOR": ""}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, env))
        for dropped in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX", "SSH_AUTH_SOCK", "VISUAL"):
            os.environ.pop(dropped, None)
        stack.enter_context(mock.patch("asyncio.create_subprocess_exec", _nothing))
        stack.enter_context(mock.patch("subprocess.run", side_effect=FileNotFoundError("no programs here")))
        stack.enter_context(mock.patch("webbrowser.open", lambda *_: False))
        stack.enter_context(mock.patch("asyncio.base_events.BaseEventLoop.getaddrinfo", _nothing))
        stack.enter_context(watched_threads())
        os.chdir(work)
        try:
            yield
        finally:
            os.chdir(before)


async def fuzz(home: Path, count: int, seed: int) -> Found:
    """One visit of `count` events in a home of its own."""
    with apart(home):
        return await Visit(home, seed).watched(count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--visit", type=int, default=2000, metavar="EVENTS", help="how much one visit is")
    asked = parser.parse_args()
    total, began, seed = Found(), time.monotonic(), asked.seed
    while total.events < asked.events:
        home = Path(tempfile.mkdtemp(prefix="sophia-fuzz-"))
        try:
            found = asyncio.run(fuzz(home, min(asked.visit, asked.events - total.events), seed))
        finally:
            shutil.rmtree(home, ignore_errors=True)
        total.add(found)
        for wrong in found.wrong:
            print(f"\n!! {wrong}", flush=True)
        print(f"seed {seed}: {found.events} events, {found.opened} sittings, {found.checked} checked", flush=True)
        seed += 1
    print(
        f"{total.events:,} events in {time.monotonic() - began:.0f} s: {len(total.wrong)} wrong, {total.checked} times"
        f" asked afterwards, {total.locked_out} locked out, {len(total.ran)} different commands ran"
    )
    print("screens:", dict(total.screens.most_common()))
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
