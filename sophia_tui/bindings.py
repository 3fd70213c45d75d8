"""Which commands there are and which keys they have: everything about keys is derived from the declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from textual.binding import Binding

from sophia_core.commands import Declaration, declarations
from sophia_core.keymap import RESERVED, Keymap, effective_keymap, show_key
from sophia_core.runtime import COMMAND_OWNERS
from sophia_tui.commands import SCREEN_OWNERS
from sophia_tui.presets import SETTING, preset_of, with_preset

TAKEN = {key: why for key, why in RESERVED.items() if key != "ctrl+c"}
"""Keys no command may take. Ctrl+C is a command of ours, so that it can copy, stop or say how to leave."""
WORTH_KNOWING = (
    ("view.palette", "commands"),
    ("view.help", "help"),
    ("theme.choose", "themes"),
    ("app.quit", "leave"),
)
"""What the welcome shows."""


def all_declarations() -> list[Declaration]:
    """Every command of the app, in the order they were declared."""
    return [spec for owner in (*COMMAND_OWNERS, *SCREEN_OWNERS) for _, spec in declarations(owner)]


def default_bindings() -> list[Binding]:
    """Esc, which closes what is open first, and the keys that Textual's own app would take for itself.

    All others are the keyboard's: Textual knows no keys one after the other, and drops the loser of two silently.
    """
    return [
        Binding("escape", "dispatch('view.back')", "Back", id="view.back", show=False),
        Binding("ctrl+q,ctrl+c", "bell", "Nothing", show=False),
        Binding("question_mark", "dispatch('help.here')", "Help", id="help.here", show=False),  # where nobody types
    ]


def keymap_of(own: Mapping[str, str], specs: Sequence[Declaration]) -> Keymap:
    """The keys in force, and what is wrong with the person's own ones."""
    preset, problems = preset_of(own)
    chosen = {name: keys for name, keys in own.items() if name != SETTING}
    found = effective_keymap(with_preset(specs, preset), chosen, TAKEN)
    return replace(found, problems=(*problems, *found.problems))


def key_hints(keymap: Keymap, wanted: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Keys and what they do, for those of the commands that have one."""
    return tuple((show_key(keymap.bindings[name][0]), what) for name, what in wanted if keymap.bindings.get(name))
