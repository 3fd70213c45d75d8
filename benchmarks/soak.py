"""An hour of somebody who uses everything, in one app: memory stays flat, nothing is left over, nothing is raised.

    python -m benchmarks.soak [--minutes 60]

Headless, on the real store, with scripted answers. One round asks, reads, resizes, changes sessions, looks through the
palette, searches, attaches, branches, changes the theme, locks and unlocks. What is left after each round (memory,
tasks, threads, open files, listeners, timers) is held to what was left after the first ones, and how long the loop was
blocked is told. Exit code 1 when something grows without end or is raised.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

from benchmarks import rank
from benchmarks.fuzz_backend import RICH
from benchmarks.fuzz_keys import ENV, apart
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.screens.unlock import Unlock
from tests.quiet import quiet, use_for_pauses
from tests.scripted import PlayedReply, ScriptedReply, ScriptedTransport, chat, delta, usage

PASSPHRASE: Final = "correct horse"  # noqa: S105  # of a home that is thrown away
SIZES: Final = ((80, 24), (200, 50), (40, 12), (120, 40))
WARM: Final = 3
"""Rounds before anything is held to anything: caches fill."""
PROBE_S: Final = 0.005
"""How often it is looked how late the loop is."""
SETTLED: Final = 12
"""Rounds before memory is: every theme was seen by then, and the allocator has kept the room that a round takes."""
HELD: Final = 8
"""So many rounds after that tell a slope from chance."""
GROWTH_MB_PER_ROUND: Final = 0.2
"""What a round may leave behind: it keeps two sessions more in the list, and their words in the store's pages (0.02 to
0.13 MB, less the longer it runs)."""
PATIENCE_S: Final = 240.0


class Answers(ScriptedTransport):
    """Answers at length, in many pieces."""

    async def open(self, call: Any) -> PlayedReply:
        """One answer, never the end of the script."""
        self.calls.clear()
        self.replies.clear()
        words = [delta(content=f"word{number} ") for number in range(40)]
        self.script = [ScriptedReply((*words, delta(content=RICH), delta("stop"), usage(7, 60)))]
        if call.method == "GET":
            self.script = [chat("unused")]
        return await super().open(call)


@dataclass(frozen=True, slots=True)
class Left:
    """What is there after a round."""

    rss_mb: float
    tasks: int
    threads: int
    files: int
    listeners: int
    widgets: int
    objects: int


@dataclass(slots=True)
class Told:
    """What came of it."""

    rounds: list[Left] = field(default_factory=list)
    late: Counter[int] = field(default_factory=Counter)
    """How often the loop was so many tenths of a millisecond late: an hour of moments would be a leak of its own."""
    wrong: list[str] = field(default_factory=list)

    @property
    def slope_mb(self) -> float:
        """What a round adds, by the least squares over those after memory has settled."""
        values = [each.rss_mb for each in self.rounds[SETTLED:]]
        count = len(values)
        if count < 2:
            return 0.0
        middle, mean = (count - 1) / 2, sum(values) / count
        spread = sum((at - middle) ** 2 for at in range(count))
        return sum((at - middle) * (value - mean) for at, value in enumerate(values)) / spread

    def judge(self) -> None:
        """Notes what grows that must not."""
        steady = self.rounds[WARM:]
        if len(steady) < 2:
            return
        first, last = steady[0], steady[-1]
        for name in ("tasks", "threads", "files", "listeners", "widgets"):
            before, after = getattr(first, name), getattr(last, name)
            if after > before + 2:
                self.wrong.append(f"{name} grew from {before} to {after} in {len(steady) - 1} rounds")
        if len(self.rounds) >= SETTLED + HELD and self.slope_mb > GROWTH_MB_PER_ROUND:
            self.wrong.append(f"memory grew by {self.slope_mb:.2f} MB in each round")


class Soak:
    """One app, and somebody who uses everything."""

    def __init__(self, app: SophiaApp, pilot: Pilot[int], told: Told) -> None:
        self.app, self.pilot, self.told = app, pilot, told
        self.number = 0

    async def round(self) -> None:
        """Everything once."""
        self.number += 1
        for step in (
            self.ask, self.branch, self.resize, self.another_session, self.look_around, self.search, self.attach,
            self.theme, self.panes, self.lock,
        ):  # fmt: skip
            async with asyncio.timeout(PATIENCE_S):
                await step()
        self.told.rounds.append(self.left())

    async def settle(self) -> None:
        """Until what was begun is done."""
        await quiet(self.app)
        while busy := [w for w in self.app.workers if w.group != "unlock" and w.name != "begin" and not w.is_finished]:
            with suppress(WorkerCancelled):
                await self.app.workers.wait_for_complete(busy)
            await quiet(self.app)

    async def run(self, line: str) -> None:
        """A line as it is typed."""
        self.app.chat.prompt.put(line)
        await self.pilot.press("enter")
        await self.settle()

    async def ask(self) -> None:
        """Types letter by letter, and sends."""
        self.app.chat.prompt.put("")
        await self.pilot.press(*"why ", *str(self.number), "enter")
        await self.settle()

    async def branch(self) -> None:
        """Another answer, another question, and back."""
        await self.pilot.press("ctrl+r")
        await self.settle()
        await self.pilot.press("ctrl+g")
        await self.settle()
        await self.run(f"asked otherwise {self.number}")
        self.app.dispatcher.start("branch.previous")
        await self.settle()

    async def resize(self) -> None:
        """Every size, while reading."""
        for width, height in SIZES:
            await self.pilot.resize_terminal(width, height)
            await self.pilot.press("pageup", "pagedown")

    async def another_session(self) -> None:
        """A new one, and the one before."""
        await self.pilot.press("ctrl+n")
        await self.settle()
        await self.ask()
        rows = await self.app.runtime.sessions.list(limit=2)
        await self.app.runtime.run("session.open", rows[-1].id)
        await self.settle()
        await self.app.runtime.run("session.open", rows[0].id)  # a short one: the long ones stay in the store
        await self.settle()

    async def look_around(self) -> None:
        """Palette, help, lists."""
        for key in ("ctrl+p", "f1", "ctrl+t"):
            await self.pilot.press(key)
            await self.pilot.press(*"the", "down", "up", "escape")
            await self.settle()

    async def search(self) -> None:
        """Where something was said."""
        await self.pilot.press("ctrl+f", *"word1")
        await self.settle()
        await self.pilot.press("escape", "escape")
        await self.settle()
        self.app.chat.focus_prompt()

    async def attach(self) -> None:
        """A file, sent along, and one taken away."""
        await self.run("/attach note.txt")
        await self.ask()
        await self.run("/attach note.txt")
        self.app.dispatcher.start("attach.remove")
        await self.settle()

    async def theme(self) -> None:
        """Another look."""
        names = sorted(self.app.looks.themes)
        await self.run(f"/theme {names[self.number % len(names)]}")

    async def panes(self) -> None:
        """All four."""
        for key in ("f3", "f4", "f5", "f2"):
            await self.pilot.press(key)
            await self.settle()

    async def lock(self) -> None:
        """Locks, and opens again."""
        await self.app.runtime.run("store.lock")
        while not isinstance(self.app.screen, Unlock):
            await quiet(self.app)
            await asyncio.sleep(0.01)
        self.app.screen.query(Input).first().value = PASSPHRASE
        await self.pilot.press("enter")
        while isinstance(self.app.screen, Unlock):
            await quiet(self.app)
            await asyncio.sleep(0.01)
        await self.settle()

    def left(self) -> Left:
        """What there is now."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
        files = Path("/proc/self/fd")
        return Left(
            rss_mb=pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            tasks=len([each for each in asyncio.all_tasks() if not each.done()]),
            threads=threading.active_count(),
            files=len(list(files.iterdir())) if files.exists() else 0,
            listeners=len(self.app.runtime.bus._listeners),
            widgets=len([each for screen in self.app.screen_stack for each in screen.walk_children()]),
            objects=len(gc.get_objects()),
        )


async def _probe(told: Told) -> None:
    """How late the loop is, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PROBE_S
        await asyncio.sleep(PROBE_S)
        told.late[round((loop.time() - due) * 10_000)] += 1


@asynccontextmanager
async def _app(home: Path) -> AsyncIterator[tuple[SophiaApp, Pilot[int]]]:
    loaded = load_settings({**ENV, "SOPHIA_HOME": str(home), "SOPHIA_PASSPHRASE": PASSPHRASE})
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=Answers())
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.ready.wait()
            await app.runtime.vault.settled()
            yield app, pilot
    finally:
        await app.runtime.close()


async def soak(home: Path, seconds: float, most: int = 1_000_000) -> Told:
    """Rounds for so long, or so many."""
    told, until = Told(), time.monotonic() + seconds

    def unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        told.wrong.append(f"unheard: {context.get('message')} {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(unheard)
    with apart(home):
        try:
            async with _app(home) as (app, pilot):
                probe = asyncio.create_task(_probe(told))
                person = Soak(app, pilot, told)
                while time.monotonic() < until and len(told.rounds) < most:
                    await person.round()
                probe.cancel()
        except Exception:  # whatever it is, it is what was looked for
            told.wrong.append(traceback.format_exc(limit=-12))
    told.judge()
    return told


@contextmanager
def patched_pauses() -> Iterator[None]:
    """As the tests wait."""
    from pytest import MonkeyPatch

    with MonkeyPatch.context() as patch:
        use_for_pauses(patch)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="sophia-soak-"))
    try:
        with patched_pauses():
            told = asyncio.run(soak(home, asked.minutes * 60))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    for at, each in enumerate(told.rounds):
        if at % max(1, len(told.rounds) // 12) == 0 or at == len(told.rounds) - 1:
            print(f"round {at + 1}: {each}")
    late = list(told.late.elements())
    p50, p95 = rank(late, 0.5) / 10, rank(late, 0.95) / 10
    growth = f"{told.slope_mb:+.3f} MB a round" if len(told.rounds) >= SETTLED + HELD else "too few to tell of memory"
    print(f"{len(told.rounds)} rounds, {growth}, loop late by p50 {p50:.1f} p95 {p95:.1f} ms")
    print("\n".join(told.wrong) or "nothing was raised, nothing is left over")
    return 1 if told.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
