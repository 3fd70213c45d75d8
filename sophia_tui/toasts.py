"""Where the words in the corner lie: above everything that is written in or told below the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.css.query import NoMatches
from textual.widgets._toast import ToastRack  # Textual exports it from nowhere else

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

BELOW = ("#standing", "#coach", "#attachments", "#prompt")
MOST = 2
"""As a part of the screen's rows: no more than half of them are kept free."""


def lift(app: SophiaApp) -> None:
    """Moves them above what is shown there now; the app calls it whenever one of these may have another size."""
    if len(app.screen_stack) != 1:
        return
    try:
        rack = app.screen.get_child_by_type(ToastRack)
    except NoMatches:
        return
    shown = [each.region for name in BELOW for each in app.chat.query(name) if each.display and each.region.height]
    if shown:
        rows = min(app.size.height // MOST, app.size.height - min(region.y for region in shown))
        if rack.styles.margin.bottom != rows:
            rack.styles.margin = (0, 0, rows, 0)
