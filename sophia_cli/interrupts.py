"""Signals end the work under way, not the process: what has arrived is kept, then the exit code tells."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sophia_cli.console import Console
from sophia_cli.exits import SIGNALLED, Quit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Callable[[], Coroutine[Any, Any, int]], console: Console) -> int:
    """Runs the work to its end and returns its exit code.

    The first signal, or a stdout nobody reads any more, cancels the work and waits for it; a second signal ends the
    process at once. A signal that was ignored when the process started (`nohup`, a background job) stays ignored.
    """
    return asyncio.run(_cancellable(work, console))


async def _cancellable(work: Callable[[], Coroutine[Any, Any, int]], console: Console) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    received: list[int] = []

    def cancel(number: int) -> None:
        if received:
            os._exit(SIGNALLED + number)
        received.append(number)
        task.cancel()

    def cancel_from_thread() -> None:
        with suppress(RuntimeError):  # the loop ended in this very moment, and the work with it
            loop.call_soon_threadsafe(task.cancel)

    console.on_failure = cancel_from_thread
    caught = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    for number in caught:
        loop.add_signal_handler(number, cancel, number)
    try:
        code = await task
    except asyncio.CancelledError:
        code = 0
    finally:
        console.on_failure = None
        for number in caught:
            loop.remove_signal_handler(number)
    return SIGNALLED + received[0] if received else code


@contextmanager
def answerable() -> Iterator[None]:
    """While a person is being asked something the loop stands still: a signal raises Quit here instead."""

    def leave(number: int, _: object) -> None:
        raise Quit(SIGNALLED + number)

    loops = signal.set_wakeup_fd(-1)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(loops)
