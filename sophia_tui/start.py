"""Starting the app on this terminal, and closing everything however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from sophia_core.first_look import AUTO, first_look
from sophia_tui.app import SophiaApp
from sophia_tui.driver import HUNG_UP, LinkDriver
from sophia_tui.ground import is_light
from sophia_tui.returning import keep_place
from sophia_tui.terminal import takes_mouse, tell_alt_enter

if TYPE_CHECKING:
    from backend_client.chaos_profile import ChaosProfile
    from backend_client.transport import Transport
    from sophia_core.settings import Loaded


def run(chaos: ChaosProfile | None = None) -> int:
    """Runs the app until the person leaves; returns the exit code. `chaos` puts faults in front of every server."""
    return asyncio.run(_run(chaos))


def _load() -> Loaded:
    from sophia_core.settings import load_settings

    return load_settings()


async def close(app: SophiaApp) -> None:
    """Keeps the draft and what is streaming, and closes everything."""
    if not app.ready.is_set():
        return
    if app.unsent is not None:
        await app.runtime.drafts.save(*app.unsent)
    app.linking.remember()
    if app.return_value == HUNG_UP:
        await keep_place(app)
    await app.runtime.close()


def _rehearsal(chaos: ChaosProfile | None) -> Transport | None:
    if chaos is None:
        return None
    from backend_client.chaos import ChaosTransport
    from backend_client.transport import HttpTransport

    return ChaosTransport(HttpTransport(), chaos)


async def _run(chaos: ChaosProfile | None) -> int:
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    tell_alt_enter()
    look = first_look()
    if look.theme == AUTO:
        look = replace(look, light=is_light(os.environ))
    app = SophiaApp(look, _load, transport=_rehearsal(chaos))
    app.rehearsing = chaos is not None
    app.driver_class = LinkDriver
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A closed terminal or a shutdown is a way to leave like any other: what is streaming is kept.
        loop.add_signal_handler(number, app.exit, 128 + number)
    try:
        result = await app.run_async(mouse=takes_mouse(look.mouse, os.environ))
    finally:
        await close(app)
        if app.ready.is_set() and (lost := app.runtime.vault.unwritten):
            words = "The last answer" if lost == 1 else f"The last {lost} answers"
            print(f"sophia: {words} could not be written. Is the disk full?", file=sys.stderr)
    return int(app.return_code or 0) if result is None else result
