"""What can be done with what has the focus now: its own keys, and how to go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from textual.binding import Binding

from sophia_core.keymap import show_key

if TYPE_CHECKING:
    from textual.widget import Widget

    from sophia_tui.app import SophiaApp

AREAS: Final = {
    "Prompt": "the prompt",
    "SessionList": "the list of sessions",
    "Transcript": "the conversation",
    "Welcome": "the welcome",
    "SettingsScreen": "the settings",
    "PaletteScreen": "the palette",
    "Pick": "a choice",
    "HelpScreen": "the help",
}
"""What the places are called, by the class of the widget."""
NOTES: Final = {
    "Prompt": (
        ("Enter", "sends what is typed"),
        ("/", "begins a command; Tab completes it"),
        ("↑ ↓", "what was typed before, in an empty prompt"),
    ),
    "SessionList": (("Enter", "opens the session"), ("↑ ↓", "move")),
    "Welcome": (("1 … 9", "take a sample"), ("Enter", "takes the one with the focus")),
}
"""Keys that are no binding of ours."""
NEXT: Final = (
    ("view.help", "everything there is"),
    ("view.palette", "find a command or a session"),
    ("view.sessions", "show or hide the sessions"),
    ("chat.stop", "stop the answer"),
    ("view.back", "back to the prompt"),
)


def sections(app: SophiaApp) -> dict[str, list[tuple[str, str]]]:
    """Headings and (key, what it does) lines for the place where the keys go now."""
    found: dict[str, list[tuple[str, str]]] = {}
    for widget in _ours(app.focused or app.screen):
        kind = type(widget).__name__
        rows = [*NOTES.get(kind, ()), *_keys(widget, ascii_only=app.ascii_only)]
        if rows:
            found[f"Here: {AREAS.get(kind, kind)}"] = rows
    known = [(name, what) for name, what in NEXT if app.keys.keys(name)]
    shown = [(show_key(app.keys.keys(name)[0], ascii_only=app.ascii_only), what) for name, what in known]
    found["From anywhere"] = [*shown, ("/tour", "learn by doing: chatting, macros, searching")]
    return found


def _ours(widget: Widget) -> Iterator[Widget]:
    """What has the focus and what it stands in, as far as it has a name for people."""
    for each in (widget, *widget.ancestors):
        if type(each).__name__ in AREAS:
            yield each  # type: ignore[misc]


def _keys(widget: Widget, *, ascii_only: bool) -> list[tuple[str, str]]:
    own = (each for each in vars(type(widget)).get("BINDINGS", ()) if isinstance(each, Binding) and each.description)
    return [(" ".join(_shown(key, ascii_only) for key in each.key.split(",")), each.description) for each in own]


def _shown(key: str, ascii_only: bool) -> str:
    large = len(key) == 1 and key.isupper()
    return show_key(f"shift+{key.lower()}" if large else key, ascii_only=ascii_only)
