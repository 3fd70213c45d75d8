"""What stays true until something is done about it: a line above the prompt, or a few where there is little room."""

from __future__ import annotations

from typing import Literal

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

Weight = Literal["work", "error", "warning", "info", "advice"]
"""`work` is what is being done, and soon over. `advice` is drawn as a warning, but it can wait: whatever else is said
goes before it."""
_ORDER: dict[Weight, int] = {"work": 0, "error": 1, "warning": 2, "info": 3, "advice": 4}
_COLOURS: dict[Weight, str] = {"error": "error", "warning": "warning", "advice": "warning"}


class Standing(Static):
    """Shows the weightiest of the things said; hidden when there is nothing to say."""

    DEFAULT_CSS = """
    Standing { height: auto; max-height: 3; padding: 0 1; display: none; color: $text-muted; }
    Standing.warning { color: $text-warning; }
    Standing.error { color: $text-error; }
    """

    _said: reactive[tuple[tuple[str, str, Weight], ...]] = reactive((), layout=True)

    def say(self, key: str, text: str, weight: Weight = "warning") -> None:
        """Says something under a key; the same key again replaces it."""
        self._said = (*(each for each in self._said if each[0] != key), (key, text, weight))

    def says(self, key: str) -> bool:
        """Whether something is said under the key."""
        return any(each[0] == key for each in self._said)

    def clear(self, key: str) -> None:
        """Takes back what was said under the key."""
        self._said = tuple(each for each in self._said if each[0] != key)

    def watch__said(self) -> None:
        self.display = bool(self._said)
        self.set_class(False, "warning", "error")
        if self._said:
            _, text, weight = min(
                reversed(self._said), key=lambda each: _ORDER[each[2]]
            )  # the newest of the weightiest
            more = len(self._said) - 1
            if colour := _COLOURS.get(weight):
                self.add_class(colour)
            self.update(Content(text + (f"  (+{more} more)" if more else "")))
