"""Starting the app on this terminal, and closing everything however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from sophia_tui.app import SophiaApp
from sophia_tui.terminal import tell_alt_enter

if TYPE_CHECKING:
    from sophia_core.settings import Loaded


def run(loaded: Loaded) -> int:
    """Runs the app until the person leaves; returns the exit code."""
    return asyncio.run(_run(loaded))


async def close(app: SophiaApp) -> None:
    """Keeps the draft and what is streaming, and closes everything."""
    if app.unsent is not None:
        await app.runtime.drafts.save(*app.unsent)
    await app.runtime.close()


async def _run(loaded: Loaded) -> int:
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    tell_alt_enter()
    app = SophiaApp(loaded)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A closed terminal or a shutdown is a way to leave like any other: what is streaming is kept.
        loop.add_signal_handler(number, app.exit, 128 + number)
    try:
        result = await app.run_async(mouse=loaded.settings.screen.mouse)
    finally:
        await close(app)
        if lost := app.runtime.vault.unwritten:
            words = "The last answer" if lost == 1 else f"The last {lost} answers"
            print(f"sophia: {words} could not be written. Is the disk full?", file=sys.stderr)
    return int(app.return_code or 0) if result is None else result
