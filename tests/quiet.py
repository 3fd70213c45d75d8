"""Waiting until an app has nothing left to do, on however busy a machine.

Textual's own pause waits until the process uses little of the processor. A process that is not given the processor
uses little of it, too: on a busy machine that pause ends while messages still wait, and what a test looks at next
depends on the load. Here it is looked at what is left to do: turns of the loop, threads somebody waits for, timers
that are about to fire, and a screen that is to be drawn.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import base_events
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from textual._context import active_app
from textual.app import ScreenStackError

from local_store.writer import Writer

if TYPE_CHECKING:
    import pytest
    from textual.app import App

SOON_S = 0.02
"""Timers that fire within this are waited for: frames, and what is put off to the next one."""
LONGEST_CPU_S = 2.0
"""An app that never rests, such as one in which something streams without end, is given up on after so much work."""
LONGEST_THREAD_S = 5.0
"""A thread that something else holds up, such as a test that stands on a lock, is not waited for any longer."""
TURNS = 3
"""So often in a row the loop has nothing to do: what a socket or a thread has for it comes with its next turn."""

in_threads: WeakSet[asyncio.Future[Any]] = WeakSet()
"""What somebody waits for and a thread works on."""


async def quiet(app: App[Any] | None = None) -> None:
    """Waits until nothing is left to do for now."""
    until = asyncio.get_running_loop().time() + SOON_S
    patience = _Patience()
    while patience.left():
        await _loop_rests(until, patience)
        if not await _drawn(app):
            return


class _Patience:
    """How long somebody waits for an app that finds no rest: by its own work, not by the clock."""

    def __init__(self) -> None:
        self._cpu, self._threads_s = time.process_time(), LONGEST_THREAD_S

    def left(self) -> bool:
        return time.process_time() - self._cpu < LONGEST_CPU_S

    async def threads(self) -> bool:
        """Waits for one thread; False when none is worked in, or not to be waited for any longer."""
        here = asyncio.get_running_loop()
        waited = [each for each in in_threads if not each.done() and each.get_loop() is here]
        if not waited or self._threads_s <= 0:
            return False
        began = time.monotonic()
        await asyncio.wait(waited, timeout=self._threads_s, return_when=asyncio.FIRST_COMPLETED)
        self._threads_s -= time.monotonic() - began
        return True


async def _loop_rests(until: float, patience: _Patience) -> None:
    """Waits until the loop has nothing to do now and, of its timers, nothing before `until`."""
    loop: Any = asyncio.get_running_loop()
    rested = 0
    while rested < TURNS and patience.left():
        await asyncio.sleep(0)
        rested = 0 if loop._ready else rested + 1
        if rested < TURNS or await patience.threads():
            continue
        due = [each.when() for each in loop._scheduled if not each.cancelled() and each.when() <= until]
        if due:
            await asyncio.sleep(max(0.0, min(due) - loop.time()))
            rested = 0


async def _drawn(app: App[Any] | None) -> bool:
    """Draws what is to be drawn; False when nothing was, so that nothing can come of it either."""
    with suppress(LookupError, ScreenStackError):
        app = app or active_app.get()
        screen = app.screen
        wanted = (screen._layout_required, screen._repaint_required, screen._dirty_widgets, screen._callbacks)
        if app.is_running and screen.is_current and not app._batch_count and any(wanted):
            screen._on_timer_update()
            return True
    return False


@contextmanager
def watched_threads() -> Iterator[None]:
    """Notes what is worked on in threads, for `quiet`."""
    run, submit, exchange = base_events.BaseEventLoop.run_in_executor, Writer.submit, Writer.exchange

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            future = call(*args, **kwargs)
            in_threads.add(future)
            return future

        return noting

    loops: Any = base_events.BaseEventLoop
    loops.run_in_executor = noted(run)
    Writer.submit, Writer.exchange = noted(submit), noted(exchange)  # type: ignore[method-assign]
    try:
        yield
    finally:
        loops.run_in_executor = run
        Writer.submit, Writer.exchange = submit, exchange  # type: ignore[method-assign]


def use_for_pauses(patch: pytest.MonkeyPatch) -> None:
    """Lets every pause of a pilot, and every key it presses, wait for the app instead of for the processor."""

    async def wait(min_sleep: float = 0, max_sleep: float = 1) -> None:
        await quiet()

    patch.setattr("textual.pilot.wait_for_idle", wait)
    patch.setattr("textual.app.wait_for_idle", wait)
