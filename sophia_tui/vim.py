"""The two modes of the prompt that hands trained on vim expect: what each key of the normal mode does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EDITS: Final[Mapping[str, tuple[str, ...]]] = {
    "h": ("cursor_left",),
    "l": ("cursor_right",),
    "w": ("cursor_word_right",),
    "b": ("cursor_word_left",),
    "e": ("cursor_word_right",),
    "0": ("cursor_line_start",),
    "circumflex_accent": ("cursor_line_start",),
    "dollar_sign": ("cursor_line_end",),
    "x": ("delete_right",),
    "X": ("delete_left",),
    "D": ("delete_to_end_of_line",),
    "d d": ("delete_line",),
    "d w": ("delete_word_right",),
    "d b": ("delete_word_left",),
    "u": ("undo",),
    "U": ("redo",),
    "p": ("paste",),
}
"""Keys that change the text or move in it, and stay in the normal mode."""
INSERTS: Final[Mapping[str, tuple[str, ...]]] = {
    "i": (),
    "I": ("cursor_line_start",),
    "a": ("cursor_right",),
    "A": ("cursor_line_end",),
    "o": ("cursor_line_end", "new_line"),
    "O": ("cursor_line_start", "new_line", "cursor_up"),
    "C": ("delete_to_end_of_line",),
    "c c": ("delete_line",),
    "c w": ("delete_word_right",),
    "colon": ("begin_command",),
}
"""Keys that go on to typing."""
COMMANDS: Final[Mapping[str, str]] = {
    "g g": "view.top",
    "G": "view.end",
    "ctrl+d": "view.page_down",
    "ctrl+u": "view.page_up",
    "slash": "view.find",
    "y y": "copy.message",
    "y c": "copy.code",
    "left_square_bracket": "message.previous",
    "right_square_bracket": "message.next",
    "g t": "session.new",
    "space": "view.palette",
    "Z Z": "app.quit",
}
"""Keys that run a command."""
LINES: Final = {"j": ("cursor_down", "view.line_down"), "k": ("cursor_up", "view.line_up")}
"""Keys that move in a text of several lines, else in the conversation."""
BEGUN: Final = frozenset(key.split()[0] for key in (*EDITS, *INSERTS, *COMMANDS) if " " in key)


class Modal:
    """Which mode there is, and what was begun in it. Actions are those of the prompt; `app.dispatch` runs a command."""

    def __init__(self) -> None:
        self.normal = False
        self._begun = ""

    def press(self, key: str, *, several_lines: bool) -> tuple[str, ...] | None:
        """What a key does now; None when it is typed, or is not one of ours."""
        if not self.normal:
            if key != "escape":
                return None
            self.normal = True
            return ("cursor_left",)
        begun, self._begun = self._begun, ""
        pressed = f"{begun} {key}".strip()
        if not begun and key in BEGUN:
            self._begun = key
            return ()
        if pressed in INSERTS:
            self.normal = False
            return INSERTS[pressed]
        if pressed in COMMANDS:
            return (f"app.dispatch({COMMANDS[pressed]!r})",)
        if pressed in LINES:
            moves, scrolls = LINES[pressed]
            return (moves,) if several_lines else (f"app.dispatch({scrolls!r})",)
        if pressed in EDITS:
            return EDITS[pressed]
        return () if begun or _types(key) else None


def _types(key: str) -> bool:
    """Whether the key would type a character: in the normal mode it does nothing."""
    return len(key) == 1 or (key.isidentifier() and "_" in key) or key in ("comma", "minus", "plus", "asterisk", "at")
