"""What happens right after the first paint: settings, runtime, store, the other themes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sophia_core.runtime import Runtime
from sophia_tui.asking import Asking
from sophia_tui.commands import SCREEN_OWNERS
from sophia_tui.faces import faces_of
from sophia_tui.listener import Listener
from sophia_tui.returning import come_back
from sophia_tui.status_feed import at_first
from sophia_tui.transcript import calm_collector
from sophia_tui.unhurried import let_the_app_go_first

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.settings import Loaded
    from sophia_tui.app import SophiaApp


async def begin(app: SophiaApp, load: Callable[[], Loaded], transport: Transport | None) -> None:
    """Reads the settings in a thread, connects the app to a runtime, and starts it. One can type all the while."""
    app.loaded = await asyncio.to_thread(load)
    _connect(app, Runtime(app.loaded, transport=transport))
    if app.rehearsing:
        app.panebar.rehearsing = True
        app.chat.standing.say("chaos", "A rehearsal: faults are injected in front of every server.", "warning")
    await app.runtime.start()
    if app.runtime.vault.recovered and app.runtime.current.session_id is None:
        app.dispatcher.start("session.latest")
    elif app.runtime.current.session_id is None:
        await come_back(app)
    await app.looks.load_rest(app)
    await app.macro_guide.refresh()
    await app.dispatcher.recall()
    app.dialogs.tell_mistakes()
    app.looks.attend(app)
    app.runtime.attend()
    app.runtime.chat.offer_continue = False  # the line under the answer offers it, and a word would lie over the text
    calm_collector()
    let_the_app_go_first()


def _connect(app: SophiaApp, runtime: Runtime) -> None:
    app.runtime = runtime
    for owner in SCREEN_OWNERS:
        runtime.registry.collect(owner(app))
    runtime.vault.asker = Asking(app)
    runtime.vault.unwritten_yet.append(app.curtain.keep_draft)
    runtime.login.guide = app.guiding
    app.macro_guide.attend()
    app.chat.turns.faces = faces_of(runtime.personas)
    app.attaching.attend()
    app.feed.comparing.attend()
    app.linking.attend()
    app.voice.attend()
    app.learn_keys()
    app.status.values = replace(at_first(runtime, app.keys), mode=app.chat.prompt.mode)
    runtime.bus.subscribe(Listener(app).heard)
    app.ready.set()
