"""What was said before the end of a long conversation: brought in behind the reader's back, newest first.

The end of a session is on the screen in the same time whatever its length. What came before it follows in pieces that
hold nobody up, and the reader stays where he is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_store import Message
    from sophia_tui.app import SophiaApp

    Shown = list[tuple[Message, tuple[int, int] | None]]

AT_ONCE = 120
"""Messages that are read before anything is shown: more than any screen holds."""
PIECE = 250
"""Messages that are brought in at a time."""


async def end_of(app: SophiaApp, session_id: str) -> Shown:
    """The messages at the end of the session."""
    return await app.runtime.sessions.shown_until(session_id, None, AT_ONCE)


async def bring_in(
    app: SophiaApp, session_id: str, shown: Sequence[tuple[Message, object]], arrived: Callable[[], None]
) -> None:
    """Adds what comes before these messages, unless the reader goes elsewhere meanwhile; `arrived` hears of each."""
    leaf = shown[0][0].parent_id if len(shown) >= AT_ONCE else None
    chat = app.chat
    while leaf is not None:
        expected = _first(app)
        piece = await app.runtime.sessions.shown_until(session_id, leaf, PIECE)
        if not piece or chat.session_id != session_id or _first(app) != expected:
            return
        chat.lead_in(piece)
        app.feed.gauge.add_earlier([message for message, _ in piece])
        arrived()
        leaf = piece[0][0].parent_id
        await asyncio.sleep(0)  # a key that was pressed comes first


def _first(app: SophiaApp) -> str | None:
    return next((entry.id for entry in app.chat.transcript.entries if entry.role != "notice"), None)
